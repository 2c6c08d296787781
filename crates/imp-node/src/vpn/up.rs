//! Tunnels by wish: what the owner wants up is up while its contract has time left.

use std::sync::Arc;
use std::time::Duration;

use imp_api::error::Code;
use imp_core::vpn::Nonce;
use imp_core::vpn::buyer::UpWish;

use super::list::{not_found, not_usable};
use super::tunnels::{Tunnels, WantedTunnel};
use super::view::TunnelView;
use super::{Inner, Vpn};
use crate::error::Error;
use crate::tunnel::TunnelError;

/// How often tunnels are looked at, while any is up or wanted.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often, while none is: the clock may be set.
const IDLE_LOOK_EVERY: Duration = Duration::from_secs(30);

impl Vpn {
    /// Brings the tunnel of a contract up that this node bought, and has it up from then on while the contract has time left.
    ///
    /// Dropping the future does not keep it from being brought up.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` for a contract that it did not buy; `FAILED_PRECONDITION` where the contract has no time, or the system
    /// does not allow it.
    pub async fn bring_up(
        &self,
        nonce: Nonce,
        allow_private: bool,
        keep_dns: bool,
    ) -> Result<TunnelView, Error> {
        let inner = Arc::clone(&self.inner);
        self.detached(async move {
            let mut standing = inner.tunnels.hold().await;
            // Who takes all tunnels down at the end may have had it before.
            if inner.tasks.token().is_cancelled() {
                return Err(Error::unavailable("the node is stopping"));
            }
            let now = inner.clock.now();
            let wish = UpWish { allow_private, keep_dns, since: now };
            let wanted = {
                let memory = inner.memory.lock().await;
                let purchase = memory.purchases.purchase(&nonce).ok_or_else(|| not_found(&nonce))?;
                WantedTunnel::of(purchase, wish, now).ok_or_else(|| not_usable(purchase))?
            };
            if let Some(missing) = inner.tunnels.missing() {
                return Err(Error::new(Code::FailedPrecondition, "TUNNELS_NOT_POSSIBLE", missing));
            }
            let view = inner.tunnels.up(&mut standing, wanted).await.map_err(not_up)?;
            if let Err(error) = inner.wish(&nonce, Some(wish)).await {
                // Not even a later run would know that it is wanted.
                if let Err(error) = inner.tunnels.down(&mut standing, &nonce).await {
                    tracing::warn!(contract = %nonce, "a tunnel does not go down: {error}");
                }
                return Err(error);
            }
            Ok(view)
        })
        .await
    }

    /// Takes a tunnel down, and has it down from then on; nothing happens where it is not up.
    ///
    /// # Errors
    ///
    /// `NOT_FOUND` for a contract that this node did not buy; `FAILED_PRECONDITION` where the system does not put back what
    /// was.
    pub async fn take_down(&self, nonce: Nonce) -> Result<(), Error> {
        let inner = Arc::clone(&self.inner);
        self.detached(async move {
            let mut standing = inner.tunnels.hold().await;
            inner.wish(&nonce, None).await?;
            inner.tunnels.down(&mut standing, &nonce).await.map_err(not_up)
        })
        .await
    }
}

impl Inner {
    async fn wish(&self, nonce: &Nonce, wish: Option<UpWish>) -> Result<(), Error> {
        let mut memory = self.memory.lock().await;
        let step = memory.purchases.set_up(nonce, wish, self.clock.now());
        let step = step.ok_or_else(|| not_found(nonce))?;
        self.commit(&mut memory, step.into()).await.map(drop)
    }
}

/// Keeps tunnels until the node stops, and takes them down then.
pub(super) async fn keep(inner: Arc<Inner>) {
    let stopped = inner.tasks.token();
    loop {
        let mut standing = inner.tunnels.hold().await;
        if stopped.is_cancelled() {
            inner.tunnels.agree(&mut standing, Vec::new()).await;
            return;
        }
        let now = inner.clock.now();
        let wanted: Vec<_> = {
            let memory = inner.memory.lock().await;
            let wished = memory.purchases.purchases();
            wished.filter_map(|purchase| WantedTunnel::of(purchase, purchase.up?, now)).collect()
        };
        let is_busy = inner.tunnels.agree(&mut standing, wanted).await;
        let readings = Tunnels::readings(&mut standing, now).await;
        drop(standing);
        {
            let mut memory = inner.memory.lock().await;
            for (nonce, reading) in readings {
                memory.purchases.read_meter(&nonce, &reading);
            }
        }
        tokio::select! {
            () = stopped.cancelled() => {}
            () = inner.tunnels_changed.notified() => {}
            () = tokio::time::sleep(if is_busy { LOOK_EVERY } else { IDLE_LOOK_EVERY }) => {}
        }
    }
}

fn not_up(error: TunnelError) -> Error {
    Error::new(Code::FailedPrecondition, "TUNNEL_FAILED", error.to_string())
}
