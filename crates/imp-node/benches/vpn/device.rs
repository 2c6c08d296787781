//! One device of this node, made from a configuration as `wg setconf` reads it, in the network namespace of the process.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, bail};
use imp_core::vpn::{PresharedKey, PrivateKey, PublicKey};
use imp_node::wireguard::{DeviceChoice, DeviceMaker, DevicePeer, DeviceSpec, Host};
use ipnet::IpNet;
use tokio::signal::unix::{SignalKind, signal};

/// A configuration: the keys of `wg setconf`, and of `wg-quick` Address and MTU.
#[derive(Debug)]
pub(crate) struct Plan {
    spec: DeviceSpec,
    peers: Vec<DevicePeer>,
}

impl Plan {
    pub(crate) fn read(name: &str, path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(name, &text).with_context(|| format!("{} is no configuration", path.display()))
    }

    fn parse(name: &str, text: &str) -> anyhow::Result<Self> {
        let mut spec = DeviceSpec {
            name: name.to_owned(),
            private_key: PrivateKey::from_bytes([0; 32]),
            listen_port: 0,
            addresses: Vec::new(),
            mtu: 1420,
            fwmark: None,
        };
        let mut peers: Vec<DevicePeer> = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match line {
                "[Interface]" => continue,
                "[Peer]" => {
                    peers.push(DevicePeer {
                        key: PublicKey::from_bytes([0; 32]),
                        psk: PresharedKey::from_bytes([0; 32]),
                        allowed: Vec::new(),
                        endpoint: None,
                        keepalive_secs: None,
                    });
                    continue;
                }
                _ => {}
            }
            let (key, value) = line.split_once('=').with_context(|| format!("{line:?} has no `=`"))?;
            let (key, value) = (key.trim(), value.trim());
            match peers.last_mut() {
                None => set_interface(&mut spec, key, value),
                Some(peer) => set_peer(peer, key, value),
            }
            .with_context(|| format!("{key} is wrong"))?;
        }
        Ok(Self { spec, peers })
    }
}

fn set_interface(spec: &mut DeviceSpec, key: &str, value: &str) -> anyhow::Result<()> {
    match key {
        "PrivateKey" => spec.private_key = value.parse()?,
        "ListenPort" => spec.listen_port = value.parse()?,
        "Address" => spec.addresses = networks(value)?,
        "MTU" => spec.mtu = value.parse()?,
        "FwMark" => spec.fwmark = Some(value.parse()?),
        _ => bail!("it is not known for an interface"),
    }
    Ok(())
}

fn set_peer(peer: &mut DevicePeer, key: &str, value: &str) -> anyhow::Result<()> {
    match key {
        "PublicKey" => peer.key = value.parse()?,
        "PresharedKey" => peer.psk = value.parse()?,
        "AllowedIPs" => peer.allowed = networks(value)?,
        "Endpoint" => peer.endpoint = Some(value.parse::<SocketAddr>()?),
        "PersistentKeepalive" => peer.keepalive_secs = Some(value.parse()?),
        _ => bail!("it is not known for a peer"),
    }
    Ok(())
}

fn networks(value: &str) -> anyhow::Result<Vec<IpNet>> {
    value.split(',').map(|network| Ok(network.trim().parse()?)).collect()
}

/// Runs the device until the process is told to end. Says `ready` on its output once the interface is up.
pub(crate) fn run(choice: DeviceChoice, plan: Plan) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let device = Host::new(choice).open(plan.spec).await?;
        device.put_peers(&plan.peers).await?;
        println!("ready {}", device.listen_port());
        let failed = tokio::select! {
            () = device.failed() => true,
            _ = interrupt.recv() => false,
            _ = terminate.recv() => false,
        };
        device.close().await;
        anyhow::ensure!(!failed, "the interface {} has failed", device.name());
        Ok(())
    })
}
