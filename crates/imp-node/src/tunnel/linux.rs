//! The machine that this process runs on.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use imp_core::vpn::{Config, KEEPALIVE_SECS, PrivateKey};
use ipnet::IpNet;
use tokio::sync::Mutex;

use super::dns::Dns;
use super::note::{MAX_TUNNELS, Note, Notes};
use super::plan::Plan;
use super::{TakenDown, Tunnel, TunnelError, TunnelHost, TunnelSpec, routing, walls};
use crate::host::{netlink, routes};
use crate::wireguard::{DeviceMaker, DevicePeer, DeviceSpec, TunnelDevice};

/// This machine: its routes, its rules and its DNS.
#[derive(Debug)]
pub struct LinuxTunnels {
    maker: Arc<dyn DeviceMaker>,
    notes: Notes,
    dns: Dns,
    /// The interfaces of the tunnels that are up. Held during each change: one at a time.
    up: Mutex<BTreeMap<u32, Arc<dyn TunnelDevice>>>,
}

impl LinuxTunnels {
    /// Interfaces come from `maker`; notes on what is changed are kept in `folder`, which is made when the first one is;
    /// `resolv_conf` is the file that names the DNS servers of this machine.
    pub fn new(maker: Arc<dyn DeviceMaker>, folder: &Path, resolv_conf: &Path) -> Self {
        Self { maker, notes: Notes::new(folder), dns: Dns::new(resolv_conf), up: Mutex::default() }
    }

    /// A number for a tunnel that can be beside those that are up.
    async fn choose(&self, plan: &Plan, wants_dns: bool) -> Result<Note, TunnelError> {
        let notes = self.notes.all().await?;
        if plan.takes_all
            && let Some(other) = notes.iter().find(|note| note.takes_all)
        {
            return Err(TunnelError::AllTrafficTaken { interface: other.interface() });
        }
        if wants_dns && let Some(other) = notes.iter().find(|note| note.dns.is_some()) {
            return Err(TunnelError::DnsTaken { interface: other.interface() });
        }
        for number in (0..MAX_TUNNELS).filter(|number| notes.iter().all(|note| note.number != *number)) {
            let note = Note { number, takes_all: plan.takes_all, dns: None, index: None };
            let is_free = netlink::with_kernel(async |kernel| routing::is_free(&kernel, &note).await).await;
            if is_free.map_err(|error| reading(&error))? {
                return Ok(note);
            }
        }
        Err(TunnelError::TooMany(MAX_TUNNELS))
    }

    async fn open(
        &self,
        note: &Note,
        config: &Config,
        private_key: PrivateKey,
    ) -> Result<Arc<dyn TunnelDevice>, TunnelError> {
        let spec = DeviceSpec {
            name: note.interface(),
            private_key,
            listen_port: 0,
            addresses: vec![IpNet::V4(config.address())],
            mtu: config.mtu,
            fwmark: Some(note.table()),
        };
        Ok(self.maker.open(spec).await?)
    }

    /// Notes which interface was made.
    async fn note_index(&self, note: &mut Note) -> Result<(), TunnelError> {
        note.index = index_of(&note.interface()).await?;
        self.notes.keep(note).await
    }

    /// Has packets go through an interface.
    async fn connect(
        &self,
        device: &dyn TunnelDevice,
        note: &Note,
        plan: &Plan,
        config: &Config,
    ) -> Result<(), TunnelError> {
        let seller = DevicePeer {
            key: config.server_key,
            psk: config.psk.clone(),
            allowed: plan.all().into_iter().map(IpNet::V4).collect(),
            endpoint: Some(config.server),
            keepalive_secs: Some(KEEPALIVE_SECS),
        };
        device.put_peers(&[seller]).await?;
        netlink::with_kernel(async |kernel| Ok(routing::set(&kernel, note, plan).await))
            .await
            .map_err(|error| reading(&error))??;
        match (plan.dns, &note.dns) {
            (Some(server), Some(change)) => self.dns.set(&note.interface(), server, change).await,
            _ => Ok(()),
        }
    }

    /// After an error: takes away what there is, and says what went wrong first.
    async fn undo(&self, note: &Note, device: Option<&dyn TunnelDevice>, error: TunnelError) -> TunnelError {
        if let Err(also) = self.clear(note, device).await {
            tracing::error!(interface = note.interface(), "a part of the tunnel is left: {also}");
        }
        error
    }

    /// Takes away all that a note tells of. The note stays if anything does.
    async fn clear(&self, note: &Note, device: Option<&dyn TunnelDevice>) -> Result<TakenDown, TunnelError> {
        let interface = note.interface();
        let dns = match &note.dns {
            Some(change) => self.dns.put_back(&interface, change).await,
            None => Ok(None),
        };
        if let Some(device) = device {
            device.close().await;
        }
        let now = index_of(&interface).await?;
        let is_of_another = now.is_some() && note.index.is_some() && now != note.index;
        if !is_of_another {
            netlink::with_kernel(async |kernel| Ok(routing::clear(&kernel, note).await))
                .await
                .map_err(|error| reading(&error))??;
            if let Err(error) = walls::remove(&interface).await {
                tracing::debug!(interface, "{error}");
            }
        }
        let dns_left = dns?;
        if let Some(why) = &dns_left {
            tracing::warn!(interface, "{why}");
        }
        self.notes.forget(note).await?;
        Ok(TakenDown { interface, dns_left })
    }
}

#[async_trait]
impl TunnelHost for LinuxTunnels {
    async fn up(&self, spec: TunnelSpec) -> Result<Tunnel, TunnelError> {
        let mut up = self.up.lock().await;
        if let Some(missing) = self.maker.missing() {
            return Err(TunnelError::Missing(missing));
        }
        let TunnelSpec { config, private_key, allow_private, set_dns } = spec;
        let routes = netlink::with_kernel(async |kernel| routes::all(&kernel).await).await;
        let plan = Plan::new(&config, allow_private, &routes.map_err(|error| reading(&error))?);
        if plan.all().is_empty() {
            return Err(TunnelError::NoRoutes);
        }
        let server = plan.dns.filter(|_| set_dns);
        let plan = Plan { dns: server, ..plan };
        let mut note = self.choose(&plan, server.is_some()).await?;
        if let Some(server) = server {
            note.dns = Some(self.dns.plan(&note.interface(), server).await?);
        }
        self.notes.keep(&note).await?;
        if let Err(error) = walls::put(&note.interface()).await {
            tracing::warn!(
                interface = note.interface(),
                "the seller can reach whatever listens on this machine, and what is behind it: {error}"
            );
        }
        let device = match self.open(&note, &config, private_key).await {
            Ok(device) => device,
            Err(error) => return Err(self.undo(&note, None, error).await),
        };
        if let Err(error) = self.note_index(&mut note).await {
            return Err(self.undo(&note, Some(device.as_ref()), error).await);
        }
        if let Err(error) = self.connect(device.as_ref(), &note, &plan, &config).await {
            return Err(self.undo(&note, Some(device.as_ref()), error).await);
        }
        up.insert(note.number, Arc::clone(&device));
        Ok(Tunnel {
            interface: note.interface(),
            routes: plan.all().into_iter().map(IpNet::V4).collect(),
            left_out: plan.left_out,
            dns: plan.dns,
            device,
        })
    }

    async fn down(&self, interface: &str) -> Result<Option<TakenDown>, TunnelError> {
        let mut up = self.up.lock().await;
        let notes = self.notes.all().await?;
        let Some(note) = notes.into_iter().find(|note| note.interface() == interface) else {
            return Ok(None);
        };
        let device = up.get(&note.number).cloned();
        let taken_down = self.clear(&note, device.as_deref()).await?;
        up.remove(&note.number);
        Ok(Some(taken_down))
    }

    async fn clean_up(&self) -> Result<Vec<TakenDown>, TunnelError> {
        let up = self.up.lock().await;
        let (mut taken_down, mut first_error) = (Vec::new(), None);
        for note in self.notes.all().await? {
            if up.contains_key(&note.number) {
                continue;
            }
            match self.clear(&note, None).await {
                Ok(gone) => taken_down.push(gone),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(taken_down), Err)
    }

    fn missing(&self) -> Option<String> {
        self.maker.missing()
    }
}

async fn index_of(interface: &str) -> Result<Option<u32>, TunnelError> {
    netlink::with_kernel(async |kernel| netlink::index_of(&kernel, interface).await)
        .await
        .map_err(|error| reading(&error))
}

fn reading(error: &std::io::Error) -> TunnelError {
    TunnelError::Routing { what: "ask the kernel for its routes".to_owned(), message: error.to_string() }
}
