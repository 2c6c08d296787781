//! Tunnels of contracts that this node bought, as they stand on this machine.
//!
//! A tunnel that its owner wants stays up over restarts, until its contract has no time left. What stands is compared with
//! what is wanted, and the wish is in the store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use imp_core::time::UnixMillis;
use imp_core::vpn::buyer::{Purchase, PurchaseState, UpWish};
use imp_core::vpn::{Config, Nonce, PrivateKey, Reading};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncGuard};
use tokio::time::Instant;

use super::station::reading;
use super::view::TunnelView;
use crate::tunnel::{Tunnel, TunnelError, TunnelHost, TunnelSpec};

/// Pause before a tunnel is brought up again where that failed.
const AGAIN: Duration = Duration::from_secs(10);

/// The tunnels.
#[derive(Debug)]
pub(super) struct Tunnels {
    host: Arc<dyn TunnelHost>,
    standing: AsyncMutex<Standing>,
    /// What is up, for who only looks.
    shown: Mutex<HashMap<Nonce, TunnelView>>,
}

/// What is up. Whoever holds it is the only one who brings up and takes down.
#[derive(Debug, Default)]
pub(super) struct Standing {
    tunnels: HashMap<Nonce, Up>,
    /// When a tunnel that did not come up is tried again.
    again: HashMap<Nonce, Instant>,
    is_clean: bool,
}

#[derive(Debug)]
struct Up {
    tunnel: Tunnel,
    /// Ends when its interface is of no use any more.
    failed: Shared<BoxFuture<'static, ()>>,
    wish: UpWish,
    last_handshake: Option<UnixMillis>,
}

/// A tunnel that is to be up.
#[derive(Debug)]
pub(super) struct WantedTunnel {
    pub(super) nonce: Nonce,
    pub(super) wish: UpWish,
    pub(super) spec: TunnelSpec,
}

/// What a tunnel of a contract is made from; nothing while or since it has none.
pub(super) fn usable(purchase: &Purchase, now: UnixMillis) -> Option<(&Config, &PrivateKey)> {
    let has_time = purchase.state == PurchaseState::Active && purchase.ends.is_some_and(|ends| now < ends);
    purchase.config.as_ref().zip(purchase.private_key.as_ref()).filter(|_| has_time)
}

impl WantedTunnel {
    /// The tunnel of a contract by a wish; nothing while or since it has none.
    pub(super) fn of(purchase: &Purchase, wish: UpWish, now: UnixMillis) -> Option<Self> {
        let (config, private_key) = usable(purchase, now)?;
        let spec = TunnelSpec {
            config: config.clone(),
            private_key: private_key.clone(),
            allow_private: wish.allow_private,
            set_dns: !wish.keep_dns,
        };
        Some(Self { nonce: purchase.nonce().clone(), wish, spec })
    }
}

impl Tunnels {
    pub(super) fn new(host: Arc<dyn TunnelHost>) -> Self {
        Self { host, standing: AsyncMutex::default(), shown: Mutex::default() }
    }

    /// What this process lacks to bring tunnels up.
    pub(super) fn missing(&self) -> Option<String> {
        self.host.missing()
    }

    /// The tunnel of a contract, where it is up.
    pub(super) fn shown(&self, nonce: &Nonce) -> Option<TunnelView> {
        self.views().get(nonce).cloned()
    }

    /// The right to bring up and take down. Taken before contracts are looked at, so that nobody acts on what was.
    pub(super) async fn hold(&self) -> AsyncGuard<'_, Standing> {
        let mut standing = self.standing.lock().await;
        if !standing.is_clean {
            standing.is_clean = clean_up_tunnels(&*self.host).await;
        }
        standing
    }

    /// Brings a tunnel up, in place of one that was brought up otherwise.
    pub(super) async fn up(
        &self,
        standing: &mut Standing,
        wanted: WantedTunnel,
    ) -> Result<TunnelView, TunnelError> {
        let WantedTunnel { nonce, wish, spec } = wanted;
        if let Some(up) = standing.tunnels.get(&nonce) {
            let is_same = (up.wish.allow_private, up.wish.keep_dns) == (wish.allow_private, wish.keep_dns);
            if is_same && !has_failed(up) {
                return Ok(view(up));
            }
            self.down(standing, &nonce).await?;
        }
        let tunnel = self.host.up(spec).await?;
        let watched = Arc::clone(&tunnel.device);
        let failed = async move { watched.failed().await }.boxed().shared();
        let up = Up { tunnel, failed, wish, last_handshake: None };
        tracing::info!(interface = up.tunnel.interface, contract = %nonce, "a tunnel is up");
        let view = view(&up);
        self.views().insert(nonce.clone(), view.clone());
        standing.again.remove(&nonce);
        standing.tunnels.insert(nonce, up);
        Ok(view)
    }

    /// Takes a tunnel down, if it is up.
    pub(super) async fn down(&self, standing: &mut Standing, nonce: &Nonce) -> Result<(), TunnelError> {
        let Some(up) = standing.tunnels.get(nonce) else { return Ok(()) };
        let interface = up.tunnel.interface.clone();
        let gone = self.host.down(&interface).await?;
        standing.tunnels.remove(nonce);
        self.views().remove(nonce);
        tracing::info!(interface, contract = %nonce, "a tunnel is down");
        if let Some(gone) = gone {
            note_dns(&gone.interface, gone.dns_left.as_deref());
        }
        Ok(())
    }

    /// Brings up what is wanted, and takes down what is not. Says whether there is anything to look after.
    pub(super) async fn agree(&self, standing: &mut Standing, wanted: Vec<WantedTunnel>) -> bool {
        let is_wanted = |nonce: &Nonce| wanted.iter().any(|wanted| wanted.nonce == *nonce);
        let surplus: Vec<_> = standing.tunnels.keys().filter(|nonce| !is_wanted(nonce)).cloned().collect();
        for nonce in surplus {
            if let Err(error) = self.down(standing, &nonce).await {
                tracing::warn!(contract = %nonce, "a tunnel does not go down: {error}");
            }
        }
        standing.again.retain(|nonce, _| wanted.iter().any(|wanted| wanted.nonce == *nonce));
        let busy = !wanted.is_empty();
        for wanted in wanted {
            let nonce = wanted.nonce.clone();
            let stands = standing.tunnels.get(&nonce).is_some_and(|up| !has_failed(up));
            let waits = standing.again.get(&nonce).is_some_and(|again| Instant::now() < *again);
            if stands || waits {
                continue;
            }
            if let Err(error) = self.up(standing, wanted).await {
                tracing::warn!(contract = %nonce, "a tunnel does not come up: {error}");
                standing.again.insert(nonce, Instant::now() + AGAIN);
            }
        }
        busy || !standing.tunnels.is_empty()
    }

    /// What the tunnels that are up have carried.
    pub(super) async fn readings(standing: &mut Standing, now: UnixMillis) -> Vec<(Nonce, Reading)> {
        let mut readings = Vec::with_capacity(standing.tunnels.len());
        for (nonce, up) in &mut standing.tunnels {
            let Ok(peers) = up.tunnel.device.peers().await else { continue };
            // A tunnel has one peer: the seller.
            let Some(peer) = peers.first() else { continue };
            let reading = reading(peer, up.last_handshake, now);
            up.last_handshake = reading.last_handshake;
            readings.push((nonce.clone(), reading));
        }
        readings
    }

    fn views(&self) -> MutexGuard<'_, HashMap<Nonce, TunnelView>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes away what earlier runs have left of tunnels. Whether nothing is left.
pub(crate) async fn clean_up_tunnels(host: &dyn TunnelHost) -> bool {
    match host.clean_up().await {
        Ok(left) => {
            for gone in left {
                tracing::info!(interface = gone.interface, "a tunnel that an earlier run left is taken down");
                note_dns(&gone.interface, gone.dns_left.as_deref());
            }
            true
        }
        Err(error) => {
            tracing::warn!("what earlier runs left of tunnels: {error}");
            false
        }
    }
}

fn has_failed(up: &Up) -> bool {
    up.failed.clone().now_or_never().is_some()
}

fn view(up: &Up) -> TunnelView {
    let Up { tunnel, wish, .. } = up;
    TunnelView {
        interface: tunnel.interface.clone(),
        routes: tunnel.routes.iter().map(ToString::to_string).collect(),
        left_out: tunnel.left_out.iter().map(ToString::to_string).collect(),
        dns_ip: tunnel.dns.map(|dns| dns.to_string()).unwrap_or_default(),
        since: wish.since,
    }
}

fn note_dns(interface: &str, left: Option<&str>) {
    if let Some(why) = left {
        tracing::warn!(interface, "the system's DNS stays as it is: {why}");
    }
}
