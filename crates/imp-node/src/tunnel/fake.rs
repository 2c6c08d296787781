//! A machine whose tunnels are notes, for tests. Its interfaces come from a maker of devices, as a rule also one of tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use imp_core::vpn::reach::split_private;
use ipnet::IpNet;

use super::{TakenDown, Tunnel, TunnelError, TunnelHost, TunnelSpec};
use crate::wireguard::{DeviceMaker, DevicePeer, DeviceSpec};

/// A machine with tunnels. Clones are the same machine.
#[derive(Clone, Debug)]
pub struct FakeTunnels {
    maker: Arc<dyn DeviceMaker>,
    machine: Arc<Mutex<Machine>>,
}

#[derive(Debug, Default)]
struct Machine {
    up: BTreeMap<String, Tunnel>,
    left: Vec<TakenDown>,
    clean_ups: usize,
    refusal: Option<String>,
}

impl FakeTunnels {
    /// A machine without tunnels.
    pub fn new(maker: Arc<dyn DeviceMaker>) -> Self {
        Self { maker, machine: Arc::default() }
    }

    /// The tunnels that are up, by the names of their interfaces.
    pub fn up_now(&self) -> Vec<Tunnel> {
        self.lock().up.values().cloned().collect()
    }

    /// How often [`TunnelHost::clean_up`] was called.
    pub fn clean_ups(&self) -> usize {
        self.lock().clean_ups
    }

    /// Has [`TunnelHost::up`] and [`TunnelHost::down`] fail with this message from now on, or not.
    pub fn refuse(&self, message: Option<&str>) {
        self.lock().refusal = message.map(str::to_owned);
    }

    /// Forgets what is up, as the death of the process would: [`TunnelHost::clean_up`] finds it.
    pub fn crash(&self) {
        let mut machine = self.lock();
        let up = std::mem::take(&mut machine.up);
        machine.left.extend(up.into_keys().map(|interface| TakenDown { interface, dns_left: None }));
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self) -> Result<(), TunnelError> {
        match &self.lock().refusal {
            None => Ok(()),
            Some(message) => {
                Err(TunnelError::Routing { what: "set routes".to_owned(), message: message.clone() })
            }
        }
    }
}

#[async_trait]
impl TunnelHost for FakeTunnels {
    async fn up(&self, spec: TunnelSpec) -> Result<Tunnel, TunnelError> {
        self.refused()?;
        let interface = {
            let machine = self.lock();
            (0..).map(|number| format!("impt{number}")).find(|name| !machine.up.contains_key(name))
        };
        let interface = interface.unwrap_or_default();
        let TunnelSpec { config, private_key, allow_private, set_dns } = spec;
        let (routes, left_out) =
            if allow_private { (config.allowed.clone(), Vec::new()) } else { split_private(&config.allowed) };
        let device = self
            .maker
            .open(DeviceSpec {
                name: interface.clone(),
                private_key,
                listen_port: 0,
                addresses: vec![IpNet::V4(config.address())],
                mtu: config.mtu,
                fwmark: None,
            })
            .await?;
        let peer = DevicePeer {
            key: config.server_key,
            psk: config.psk.clone(),
            allowed: routes.clone(),
            endpoint: Some(config.server),
            keepalive_secs: None,
        };
        device.put_peers(&[peer]).await?;
        let dns = set_dns.then_some(config.dns);
        let tunnel = Tunnel { interface: interface.clone(), routes, left_out, dns, device };
        self.lock().up.insert(interface, tunnel.clone());
        Ok(tunnel)
    }

    async fn down(&self, interface: &str) -> Result<Option<TakenDown>, TunnelError> {
        self.refused()?;
        let Some(tunnel) = self.lock().up.remove(interface) else { return Ok(None) };
        tunnel.device.close().await;
        Ok(Some(TakenDown { interface: tunnel.interface, dns_left: None }))
    }

    async fn clean_up(&self) -> Result<Vec<TakenDown>, TunnelError> {
        let mut machine = self.lock();
        machine.clean_ups += 1;
        Ok(std::mem::take(&mut machine.left))
    }

    fn missing(&self) -> Option<String> {
        self.maker.missing()
    }
}
