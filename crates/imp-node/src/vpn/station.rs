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

mod agree;
mod keep;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imp_core::time::UnixMillis;
use imp_core::vpn::seller::Contract;
use imp_core::vpn::{PresharedKey, PrivateKey, PublicKey, Reading};
use ipnet::Ipv4Net;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

pub(super) use agree::reading;

use super::options::{Hosts, SellerOptions};
use crate::exit::ExitHost;
use crate::outbox::random;
use crate::runtime::clock::Clock;
use crate::runtime::tasks::Tasks;
use crate::store::{StoreError, VpnStore};
use crate::wireguard::DeviceMaker;

/// A peer that is to be on the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) key: PublicKey,
    pub(super) psk: PresharedKey,
    pub(super) address: Ipv4Addr,
    /// The network that its configuration says this address is in.
    pub(super) network: Ipv4Net,
    /// Until when; nothing while its time has not begun.
    pub(super) until: Option<UnixMillis>,
}

impl From<&Contract> for Wanted {
    fn from(contract: &Contract) -> Self {
        Self {
            key: *contract.client_key(),
            psk: contract.config.psk.clone(),
            address: contract.address(),
            network: contract.config.client.trunc(),
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
        inner.tasks.spawn_service("VPN device", move || keep::keep(Arc::clone(&keeping)));
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
        if !self.is_open() && !keep::is_interface(&self.inner.options.interface) {
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
    fn wanted(&self) -> (u64, Arc<Vec<Wanted>>) {
        let (revision, wanted) = {
            let shared = self.shared();
            (shared.revision, Arc::clone(&shared.wanted))
        };
        let now = self.clock.now();
        let has_time = |peer: &&Wanted| peer.until.is_none_or(|until| now < until);
        if wanted.iter().all(|peer| has_time(&peer)) {
            return (revision, wanted);
        }
        (revision, Arc::new(wanted.iter().filter(has_time).cloned().collect()))
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
}
