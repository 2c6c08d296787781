//! Devices that exist in memory only, for tests: tables of peers, with the means to disturb them.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use imp_core::vpn::PublicKey;
use ipnet::IpNet;
use tokio::sync::watch;

use super::port::{DeviceError, DeviceMaker, DevicePeer, DeviceSpec, PeerStatus, TunnelDevice};

/// The port of a device that asked for any.
const ANY_PORT: u16 = 51_820;

/// A machine whose WireGuard interfaces are tables. Clones are the same machine.
#[derive(Clone, Default)]
pub struct FakeDevices(Arc<Mutex<Machine>>);

#[derive(Default)]
struct Machine {
    interfaces: BTreeMap<String, Interface>,
    /// Interfaces that were ever made.
    made: u64,
    /// Calls that changed peers and succeeded.
    changes: u64,
    lacks: Option<String>,
    open_fails: Option<String>,
    changes_fail: Option<String>,
    looks_fail: Option<String>,
    delay: Duration,
}

struct Interface {
    /// Tells it from one of the same name that was made before or after.
    number: u64,
    key: PublicKey,
    listen_port: u16,
    addresses: Vec<IpNet>,
    mtu: u16,
    fwmark: Option<u32>,
    peers: BTreeMap<[u8; 32], Peer>,
    alive: watch::Sender<bool>,
}

#[derive(Clone)]
struct Peer {
    wanted: DevicePeer,
    rx_bytes: u64,
    tx_bytes: u64,
    last_handshake: Option<Duration>,
}

/// How an interface was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FakeInterface {
    /// Its public key.
    pub key: PublicKey,
    /// Its UDP port.
    pub listen_port: u16,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// Its largest packet in bytes.
    pub mtu: u16,
    /// The mark of its encrypted packets.
    pub fwmark: Option<u32>,
}

impl FakeDevices {
    /// A machine without interfaces.
    pub fn new() -> Self {
        Self::default()
    }

    /// How an interface was made, if there is one of this name.
    pub fn interface(&self, name: &str) -> Option<FakeInterface> {
        self.lock().interfaces.get(name).map(|interface| FakeInterface {
            key: interface.key,
            listen_port: interface.listen_port,
            addresses: interface.addresses.clone(),
            mtu: interface.mtu,
            fwmark: interface.fwmark,
        })
    }

    /// How many interfaces were made since the machine is there.
    pub fn made(&self) -> u64 {
        self.lock().made
    }

    /// How many calls have changed peers.
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// The peers of an interface, as they were put; none if there is no such interface.
    pub fn peers(&self, name: &str) -> Vec<DevicePeer> {
        let machine = self.lock();
        let peers = machine.interfaces.get(name).map(|interface| interface.peers.values());
        peers.into_iter().flatten().map(|peer| peer.wanted.clone()).collect()
    }

    /// Whether an interface has a peer.
    pub fn has(&self, name: &str, key: &PublicKey) -> bool {
        self.lock().interfaces.get(name).is_some_and(|interface| interface.peers.contains_key(key.as_bytes()))
    }

    /// Adds a peer as somebody with `wg set` would. False without such an interface.
    pub fn add_by_hand(&self, name: &str, peer: DevicePeer) -> bool {
        self.lock().interfaces.get_mut(name).map(|interface| interface.put(&peer)).is_some()
    }

    /// Removes a peer as somebody with `wg set` would. False if it was not there.
    pub fn remove_by_hand(&self, name: &str, key: &PublicKey) -> bool {
        let mut machine = self.lock();
        let interface = machine.interfaces.get_mut(name);
        interface.is_some_and(|interface| interface.peers.remove(key.as_bytes()).is_some())
    }

    /// Sets what a peer has received and sent, and that it agreed on keys just now. False if it is not there.
    pub fn traffic(&self, name: &str, key: &PublicKey, rx_bytes: u64, tx_bytes: u64) -> bool {
        let mut machine = self.lock();
        let peers = machine.interfaces.get_mut(name).map(|interface| &mut interface.peers);
        let Some(peer) = peers.and_then(|peers| peers.get_mut(key.as_bytes())) else { return false };
        (peer.rx_bytes, peer.tx_bytes, peer.last_handshake) = (rx_bytes, tx_bytes, Some(Duration::ZERO));
        true
    }

    /// Sets where a peer was heard last. False if it is not there.
    pub fn heard(&self, name: &str, key: &PublicKey, endpoint: SocketAddr) -> bool {
        let mut machine = self.lock();
        let peers = machine.interfaces.get_mut(name).map(|interface| &mut interface.peers);
        let Some(peer) = peers.and_then(|peers| peers.get_mut(key.as_bytes())) else { return false };
        peer.wanted.endpoint = Some(endpoint);
        true
    }

    /// Deletes an interface under whoever has opened it. False if there is none.
    pub fn kill(&self, name: &str) -> bool {
        self.lock().interfaces.remove(name).map(|interface| interface.alive.send_replace(false)).is_some()
    }

    /// What [`DeviceMaker::missing`] says from now on; opening fails with it.
    pub fn lack(&self, what: Option<&str>) {
        self.lock().lacks = what.map(str::to_owned);
    }

    /// Whether opening fails from now on, and with what.
    pub fn fail_open(&self, why: Option<&str>) {
        self.lock().open_fails = why.map(str::to_owned);
    }

    /// Whether adding and removing peers fails from now on, and with what. Nothing is changed then.
    pub fn fail_changes(&self, why: Option<&str>) {
        self.lock().changes_fail = why.map(str::to_owned);
    }

    /// Whether looking at peers fails from now on, and with what.
    pub fn fail_looks(&self, why: Option<&str>) {
        self.lock().looks_fail = why.map(str::to_owned);
    }

    /// How long every call waits before it does its work.
    pub fn delay(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    async fn wait(&self) {
        let delay = self.lock().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for FakeDevices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lock().interfaces.keys()).finish()
    }
}

impl Machine {
    fn check(&self, spec: &DeviceSpec) -> Result<(), DeviceError> {
        let key = spec.private_key.public();
        match self.interfaces.get(&spec.name) {
            Some(interface) if interface.key != key => {
                Err(DeviceError::NameInUse { name: spec.name.clone() })
            }
            _ => Ok(()),
        }
    }
}

impl Interface {
    fn put(&mut self, peer: &DevicePeer) {
        for (key, other) in &mut self.peers {
            if key != peer.key.as_bytes() {
                other.wanted.allowed.retain(|network| !peer.allowed.contains(network));
            }
        }
        let fresh = Peer { wanted: peer.clone(), rx_bytes: 0, tx_bytes: 0, last_handshake: None };
        let known = self.peers.entry(*peer.key.as_bytes()).or_insert(fresh);
        let endpoint = peer.endpoint.or(known.wanted.endpoint);
        known.wanted = DevicePeer { endpoint, ..peer.clone() };
    }
}

#[async_trait]
impl DeviceMaker for FakeDevices {
    async fn check(&self, spec: &DeviceSpec) -> Result<(), DeviceError> {
        self.lock().check(spec)
    }

    async fn open(&self, spec: DeviceSpec) -> Result<Arc<dyn TunnelDevice>, DeviceError> {
        self.wait().await;
        let mut machine = self.lock();
        if let Some(lacks) = &machine.lacks {
            return Err(DeviceError::Missing(lacks.clone()));
        }
        if let Some(why) = &machine.open_fails {
            return Err(DeviceError::system(&spec.name, "make it", io::Error::other(why.clone())));
        }
        machine.check(&spec)?;
        let key = spec.private_key.public();
        machine.made += 1;
        let number = machine.made;
        let listen_port = if spec.listen_port == 0 { ANY_PORT } else { spec.listen_port };
        let (alive, watched) = watch::channel(true);
        let interface = Interface {
            number,
            key,
            listen_port,
            addresses: spec.addresses,
            mtu: spec.mtu,
            fwmark: spec.fwmark,
            peers: BTreeMap::new(),
            alive,
        };
        if let Some(before) = machine.interfaces.insert(spec.name.clone(), interface) {
            before.alive.send_replace(false);
        }
        Ok(Arc::new(FakeDevice {
            machine: self.clone(),
            name: spec.name,
            number,
            listen_port,
            alive: watched,
        }))
    }

    fn missing(&self) -> Option<String> {
        self.lock().lacks.clone()
    }
}

/// A handle to one interface of the machine; takes it away when dropped.
#[derive(Debug)]
struct FakeDevice {
    machine: FakeDevices,
    name: String,
    number: u64,
    listen_port: u16,
    alive: watch::Receiver<bool>,
}

impl FakeDevice {
    fn with<A>(
        &self,
        machine: &mut Machine,
        work: impl FnOnce(&mut Interface) -> A,
    ) -> Result<A, DeviceError> {
        match machine.interfaces.get_mut(&self.name).filter(|interface| interface.number == self.number) {
            Some(interface) => Ok(work(interface)),
            None => Err(DeviceError::gone(&self.name)),
        }
    }

    fn change(&self, work: impl FnOnce(&mut Interface)) -> Result<(), DeviceError> {
        let mut machine = self.machine.lock();
        if let Some(why) = &machine.changes_fail {
            return Err(DeviceError::system(&self.name, "change peers", io::Error::other(why.clone())));
        }
        self.with(&mut machine, work)?;
        machine.changes += 1;
        Ok(())
    }

    fn take_away(&self) {
        let mut machine = self.machine.lock();
        if self.with(&mut machine, |_| ()).is_ok() {
            machine.interfaces.remove(&self.name);
        }
    }
}

impl Drop for FakeDevice {
    fn drop(&mut self) {
        self.take_away();
    }
}

#[async_trait]
impl TunnelDevice for FakeDevice {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "fake"
    }

    fn listen_port(&self) -> u16 {
        self.listen_port
    }

    async fn peers(&self) -> Result<Vec<PeerStatus>, DeviceError> {
        self.machine.wait().await;
        let mut machine = self.machine.lock();
        if let Some(why) = &machine.looks_fail {
            return Err(DeviceError::system(&self.name, "read its peers", io::Error::other(why.clone())));
        }
        self.with(&mut machine, |interface| {
            let status = |peer: &Peer| {
                let mut allowed = peer.wanted.allowed.clone();
                allowed.sort();
                PeerStatus {
                    key: peer.wanted.key,
                    psk: Some(peer.wanted.psk.clone()),
                    allowed,
                    endpoint: peer.wanted.endpoint,
                    rx_bytes: peer.rx_bytes,
                    tx_bytes: peer.tx_bytes,
                    last_handshake: peer.last_handshake,
                }
            };
            interface.peers.values().map(status).collect()
        })
    }

    async fn put_peers(&self, peers: &[DevicePeer]) -> Result<(), DeviceError> {
        self.machine.wait().await;
        self.change(|interface| peers.iter().for_each(|peer| interface.put(peer)))
    }

    async fn remove_peers(&self, keys: &[PublicKey]) -> Result<(), DeviceError> {
        self.machine.wait().await;
        self.change(|interface| {
            for key in keys {
                interface.peers.remove(key.as_bytes());
            }
        })
    }

    async fn failed(&self) {
        let mut alive = self.alive.clone();
        // An error is the sender's end, with the interface.
        let _ = alive.wait_for(|alive| !alive).await;
    }

    async fn close(&self) {
        self.machine.wait().await;
        self.take_away();
    }
}
