//! The seller's interface: its peers are the contracts that have time left, whoever meddles with it and whatever dies.
//!
//! ```text
//! contracts ── wanted ──┐
//! clock ── until ───────┼── every 250 ms: look, compare, repair ── what was seen ── meters, refunds
//! device ── peers ──────┘
//! ```
//!
//! It stands on the store and this machine alone, so that contracts are carried, and cut off at their end, while the
//! Lightning node is away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use imp_core::time::UnixMillis;
use imp_core::vpn::seller::Contract;
use imp_core::vpn::{PresharedKey, PrivateKey, PublicKey, Reading};
use ipnet::{IpNet, Ipv4Net};
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::options::{Hosts, SellerOptions};
use crate::exit::{ExitHost, ExitSpec};
use crate::outbox::random;
use crate::runtime::clock::Clock;
use crate::runtime::tasks::Tasks;
use crate::store::{StoreError, VpnStore};
use crate::wireguard::{DeviceError, DeviceMaker, DevicePeer, DeviceSpec, PeerStatus, TunnelDevice};

/// How often the device is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often, while nobody is wanted on it.
const IDLE_LOOK_EVERY: Duration = Duration::from_secs(1);

/// Pause before the device is opened again where that failed.
const OPEN_AGAIN: Duration = Duration::from_secs(5);

/// How often the rules of the exit are put anew: a firewall that is loaded takes them away.
const RULES_EVERY: Duration = Duration::from_secs(60);

/// Looks that may fail one after the other before the device is made anew.
const FAILED_LOOKS: u32 = 20;

/// Times of handshakes are said as how long they are ago: differences below this are none.
const SAME_HANDSHAKE: Duration = Duration::from_millis(1500);

/// A peer that is to be on the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) key: PublicKey,
    pub(super) psk: PresharedKey,
    pub(super) address: std::net::Ipv4Addr,
    /// Until when; nothing while its time has not begun.
    pub(super) until: Option<UnixMillis>,
}

impl From<&Contract> for Wanted {
    fn from(contract: &Contract) -> Self {
        Self {
            key: *contract.client_key(),
            psk: contract.config.psk.clone(),
            address: contract.address(),
            until: contract.ends,
        }
    }
}

/// What was seen on the device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// The number of the set of peers that the device agreed with.
    pub(super) revision: u64,
    /// Each peer, and what it carried.
    pub(super) peers: HashMap<PublicKey, Reading>,
}

/// How the device stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Which WireGuard it is; nothing while there is no device.
    pub(super) kind: Option<&'static str>,
    /// What is missing.
    pub(super) problem: String,
}

/// The seller's interface. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Station {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    devices: Arc<dyn DeviceMaker>,
    exit: Arc<dyn ExitHost>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    options: SellerOptions,
    key: PrivateKey,
    shared: Mutex<Shared>,
    /// Other peers are wanted.
    changed: Notify,
    looks: watch::Sender<Arc<Look>>,
    tried: CancellationToken,
}

#[derive(Debug, Default)]
struct Shared {
    wanted: Arc<Vec<Wanted>>,
    revision: u64,
    standing: Standing,
    /// Bytes from all peers, and to them.
    carried: (u64, u64),
}

/// A device that is open.
struct Open {
    device: Arc<dyn TunnelDevice>,
    rules: Instant,
    failed_looks: u32,
}

impl Station {
    /// Reads which contracts have time left, and keeps their peers on a device from here on, until the tasks end: the
    /// Lightning node need not run. The node's key as a seller is made the first time.
    ///
    /// # Errors
    ///
    /// If the store cannot be read, or the system has no random bytes.
    pub async fn open(
        store: &dyn VpnStore,
        hosts: &Hosts,
        options: SellerOptions,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
    ) -> Result<Self, StoreError> {
        let fresh = random().map(PrivateKey::from_random);
        let fresh = fresh.map_err(|error| StoreError::Database(error.to_string()))?;
        let key = store.vpn_server_key(fresh).await?;
        if let Some(configured) = &options.server_pub_key
            && *configured != key.public().to_string()
        {
            tracing::warn!(
                "vpn.server_pub_key is not used: this node makes its key itself, which is {}. Take the setting out",
                key.public()
            );
        }
        let contracts = store.vpn_contracts(clock.now()).await?;
        let wanted = contracts.iter().filter(|contract| contract.is_wanted()).map(Wanted::from).collect();
        Ok(Self::start(hosts, options, key, wanted, clock, tasks))
    }

    fn start(
        hosts: &Hosts,
        options: SellerOptions,
        key: PrivateKey,
        wanted: Vec<Wanted>,
        clock: Arc<dyn Clock>,
        tasks: Tasks,
    ) -> Self {
        let shared = Shared { wanted: Arc::new(wanted), revision: 1, ..Shared::default() };
        let inner = Arc::new(Inner {
            devices: Arc::clone(&hosts.devices),
            exit: Arc::clone(&hosts.exit),
            clock,
            tasks,
            options,
            key,
            shared: Mutex::new(shared),
            changed: Notify::new(),
            looks: watch::Sender::new(Arc::default()),
            tried: CancellationToken::new(),
        });
        let keeping = Arc::clone(&inner);
        inner.tasks.spawn_service("VPN device", move || keep(Arc::clone(&keeping)));
        Self { inner }
    }

    /// Which peers are wanted from now on. Returns the number of this set: a [`Look`] with it, or a higher one, was made
    /// when the device agreed with it.
    pub(super) fn want(&self, wanted: Vec<Wanted>) -> u64 {
        let mut shared = self.inner.shared();
        if *shared.wanted != wanted {
            shared.wanted = Arc::new(wanted);
            shared.revision += 1;
            self.inner.changed.notify_one();
        }
        shared.revision
    }

    /// What was seen last, and what is seen next.
    pub(super) fn looks(&self) -> watch::Receiver<Arc<Look>> {
        self.inner.looks.subscribe()
    }

    /// How the device stands.
    pub(super) fn standing(&self) -> Standing {
        self.inner.shared().standing.clone()
    }

    /// Whether there is a device, so that buyers can be carried.
    pub(super) fn is_open(&self) -> bool {
        self.inner.shared().standing.kind.is_some()
    }

    /// Whether a peer is certainly not served: it is not wanted in the set of this number, and the device agrees, or there
    /// is no interface at all.
    pub(super) fn is_off(&self, key: &PublicKey, revision: u64) -> bool {
        if !self.is_open() && !is_interface(&self.inner.options.interface) {
            return true;
        }
        let look = self.inner.looks.borrow();
        look.revision >= revision && !look.peers.contains_key(key)
    }

    /// The public key of the interface.
    pub(super) fn public_key(&self) -> PublicKey {
        self.inner.key.public()
    }

    /// Waits until it was tried once to open the device.
    pub(super) async fn tried(&self) {
        self.inner.tried.cancelled().await;
    }

    /// Bytes from all peers, and to them, since this was opened.
    pub(super) fn carried(&self) -> (u64, u64) {
        self.inner.shared().carried
    }
}

impl Inner {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The peers that are to be on the device now, and the number of their set.
    fn wanted(&self) -> (u64, Vec<Wanted>) {
        let (revision, wanted) = {
            let shared = self.shared();
            (shared.revision, Arc::clone(&shared.wanted))
        };
        let now = self.clock.now();
        let alive = wanted.iter().filter(|peer| peer.until.is_none_or(|until| now < until));
        (revision, alive.cloned().collect())
    }

    fn stands(&self, standing: Standing) {
        let mut shared = self.shared();
        if shared.standing != standing {
            if standing.problem.is_empty() {
                let kind = standing.kind.unwrap_or("none");
                tracing::info!(interface = self.options.interface, kind, "the VPN's device");
            } else {
                let interface = &self.options.interface;
                tracing::warn!(interface, "buyers of the VPN cannot be carried: {}", standing.problem);
            }
            shared.standing = standing;
        }
    }

    fn exit_spec(&self) -> ExitSpec {
        let options = &self.options;
        ExitSpec {
            interface: options.interface.clone(),
            subnet: options.subnet,
            server_tunnel_ip: options.tunnel_ip(),
            allowed: options.allowed.clone(),
            bytes_per_sec: options.bytes_per_sec,
        }
    }

    fn device_spec(&self) -> DeviceSpec {
        let options = &self.options;
        let address = Ipv4Net::new(options.tunnel_ip(), options.subnet.prefix_len());
        DeviceSpec {
            name: options.interface.clone(),
            private_key: self.key.clone(),
            listen_port: options.server_port,
            addresses: address.into_iter().map(IpNet::V4).collect(),
            mtu: options.mtu,
            fwmark: None,
        }
    }

    /// Opens the device: closed for everything first, then there, then open for what buyers may reach.
    async fn open(&self) -> Result<Open, String> {
        let Self { devices, exit, .. } = self;
        if let Some(missing) = devices.missing() {
            return Err(missing);
        }
        let exit_spec = self.exit_spec();
        exit.prepare(&exit_spec).await.map_err(|error| error.to_string())?;
        let device = match devices.open(self.device_spec()).await {
            Ok(device) => device,
            Err(error) => {
                if matches!(error, DeviceError::NameInUse { .. }) {
                    // Somebody else's interface is not to have rules of this node.
                    self.remove_rules().await;
                }
                return Err(error.to_string());
            }
        };
        if let Err(error) = exit.open(&exit_spec).await {
            device.close().await;
            return Err(error.to_string());
        }
        Ok(Open { device, rules: Instant::now(), failed_looks: 0 })
    }

    /// Makes the device agree with what is wanted, and says what was there.
    async fn agree(&self, device: &dyn TunnelDevice) -> Result<(), DeviceError> {
        let (revision, wanted) = self.wanted();
        let there = device.peers().await?;
        let wrong = Wrong::between(&wanted, &there);
        if wrong.is_nothing() {
            self.saw(revision, &there);
            return Ok(());
        }
        if !wrong.surplus.is_empty() {
            device.remove_peers(&wrong.surplus).await?;
        }
        if !wrong.lacking.is_empty() {
            device.put_peers(&wrong.lacking).await?;
        }
        // Only what the device says itself counts as done.
        let after = device.peers().await?;
        let revision = if Wrong::between(&wanted, &after).is_nothing() { revision } else { 0 };
        self.saw(revision, &after);
        Ok(())
    }

    fn saw(&self, revision: u64, there: &[PeerStatus]) {
        let now = self.clock.now();
        self.looks.send_if_modified(|last| {
            let peers = there.iter().map(|peer| {
                let before = last.peers.get(&peer.key).and_then(|reading| reading.last_handshake);
                (peer.key, reading(peer, before, now))
            });
            let look = Look { revision: revision.max(last.revision), peers: peers.collect() };
            let is_news = **last != look;
            if is_news {
                self.count(last, &look);
                *last = Arc::new(look);
            }
            is_news
        });
    }

    /// Adds up what peers carried between two looks. A device counts anew from where it got a peer.
    fn count(&self, before: &Look, now: &Look) {
        let more = |before: u64, now: u64| if now >= before { now - before } else { now };
        let mut shared = self.shared();
        for (key, reading) in &now.peers {
            let before = before.peers.get(key).copied().unwrap_or_default();
            shared.carried.0 += more(before.rx_bytes, reading.rx_bytes);
            shared.carried.1 += more(before.tx_bytes, reading.tx_bytes);
        }
    }

    /// Closes the device and takes away what was made for it.
    async fn close(&self, open: Option<Open>) {
        if let Some(open) = open {
            open.device.close().await;
        }
        self.saw(0, &[]);
        if !is_interface(&self.options.interface) {
            self.remove_rules().await;
        }
    }

    async fn remove_rules(&self) {
        let interface = &self.options.interface;
        if let Err(error) = self.exit.remove(interface).await {
            tracing::debug!(interface, "the exit's rules: {error}");
        }
    }

    /// Takes away what a killed run left, where nobody is to come in any more.
    async fn clean_up(&self) {
        if is_interface(&self.options.interface) {
            // The one that is opened has no peers, and stands in the place of the one that was left.
            match self.devices.open(self.device_spec()).await {
                Ok(device) => device.close().await,
                Err(error) => tracing::debug!(interface = self.options.interface, "not taken away: {error}"),
            }
        }
        self.close(None).await;
    }

    /// Puts the rules of the exit anew from time to time.
    async fn renew_rules(&self, open: &mut Open) {
        if open.rules.elapsed() < RULES_EVERY {
            return;
        }
        open.rules = Instant::now();
        let spec = self.exit_spec();
        let renewed = match self.exit.prepare(&spec).await {
            Ok(()) => self.exit.open(&spec).await,
            Err(error) => Err(error),
        };
        if let Err(error) = renewed {
            tracing::warn!(interface = self.options.interface, "the exit's rules: {error}");
        }
    }
}

/// Keeps the device until the node stops.
async fn keep(inner: Arc<Inner>) {
    let stopped = inner.tasks.token();
    let mut open: Option<Open> = None;
    let mut is_clean = false;
    while !stopped.is_cancelled() {
        let (_, wanted) = inner.wanted();
        let is_needed = inner.options.sell || !wanted.is_empty();
        let pause = match &mut open {
            None if !is_needed => {
                if !std::mem::replace(&mut is_clean, true) {
                    inner.clean_up().await;
                }
                inner.stands(Standing::default());
                IDLE_LOOK_EVERY
            }
            None => match inner.open().await {
                Ok(opened) => {
                    let kind = Some(opened.device.kind());
                    inner.stands(Standing { kind, problem: String::new() });
                    inner.tried.cancel();
                    is_clean = false;
                    open = Some(opened);
                    continue;
                }
                Err(problem) => {
                    inner.tried.cancel();
                    inner.stands(Standing { kind: None, problem });
                    OPEN_AGAIN
                }
            },
            Some(_) if !is_needed => {
                inner.stands(Standing::default());
                inner.close(open.take()).await;
                is_clean = true;
                continue;
            }
            Some(current) => match look(&inner, current).await {
                Some(()) if wanted.is_empty() => IDLE_LOOK_EVERY,
                Some(()) => LOOK_EVERY,
                None => {
                    if let Some(gone) = open.take() {
                        gone.device.close().await;
                    }
                    inner.saw(0, &[]);
                    continue;
                }
            },
        };
        let device = open.as_ref().map(|open| Arc::clone(&open.device));
        let failed = async {
            match &device {
                Some(device) => device.failed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stopped.cancelled() => {}
            () = inner.changed.notified(), if open.is_some() || !inner.options.sell => {}
            () = tokio::time::sleep(pause) => {}
            () = failed => {
                let problem = format!("the interface {} is gone", inner.options.interface);
                inner.stands(Standing { kind: None, problem });
                if let Some(gone) = open.take() {
                    gone.device.close().await;
                }
                inner.saw(0, &[]);
            }
        }
    }
    inner.stands(Standing { kind: None, problem: "the node is stopping".to_owned() });
    if open.is_some() || !is_clean {
        inner.close(open).await;
    }
}

/// Looks at the device and repairs it. Nothing where it has to be made anew.
async fn look(inner: &Inner, open: &mut Open) -> Option<()> {
    match inner.agree(&*open.device).await {
        Ok(()) => open.failed_looks = 0,
        Err(error) => {
            open.failed_looks += 1;
            let is_gone = matches!(error, DeviceError::Gone { .. }) || open.failed_looks >= FAILED_LOOKS;
            if open.failed_looks == 1 || is_gone {
                tracing::warn!(interface = inner.options.interface, "the VPN's device: {error}");
            }
            if is_gone {
                inner.stands(Standing { kind: None, problem: error.to_string() });
                return None;
            }
        }
    }
    inner.renew_rules(open).await;
    Some(())
}

/// What on a device is not as it should be.
struct Wrong {
    surplus: Vec<PublicKey>,
    lacking: Vec<DevicePeer>,
}

impl Wrong {
    fn between(wanted: &[Wanted], there: &[PeerStatus]) -> Self {
        let by_key: HashMap<_, _> = wanted.iter().map(|peer| (peer.key, peer)).collect();
        let networks: HashMap<_, _> = there.iter().map(|peer| (peer.key, peer.allowed.as_slice())).collect();
        let surplus = there.iter().map(|peer| peer.key).filter(|key| !by_key.contains_key(key)).collect();
        let lacking = wanted.iter().filter(|peer| {
            let address = IpNet::from(std::net::IpAddr::V4(peer.address));
            networks.get(&peer.key).is_none_or(|allowed| *allowed != [address])
        });
        let lacking = lacking.map(|peer| DevicePeer {
            key: peer.key,
            psk: peer.psk.clone(),
            allowed: vec![IpNet::from(std::net::IpAddr::V4(peer.address))],
            endpoint: None,
            keepalive_secs: None,
        });
        Self { surplus, lacking: lacking.collect() }
    }

    const fn is_nothing(&self) -> bool {
        self.surplus.is_empty() && self.lacking.is_empty()
    }
}

/// What a peer carried. `before` is the newest handshake that was seen earlier.
pub(super) fn reading(peer: &PeerStatus, before: Option<UnixMillis>, now: UnixMillis) -> Reading {
    let handshake = peer.last_handshake.map(|ago| now.minus(ago));
    let is_same = |before: UnixMillis, now: UnixMillis| {
        now.since(before) < SAME_HANDSHAKE && before.since(now) < SAME_HANDSHAKE
    };
    let last_handshake = match (before, handshake) {
        (Some(before), Some(now)) if is_same(before, now) => Some(before),
        (_, handshake) => handshake,
    };
    Reading { rx_bytes: peer.rx_bytes, tx_bytes: peer.tx_bytes, last_handshake }
}

/// Whether this machine has an interface of this name; also where that cannot be found out.
fn is_interface(name: &str) -> bool {
    let found = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)
        .and_then(|socket| name_to_index(socket, name));
    !matches!(found, Err(Errno::NODEV))
}
