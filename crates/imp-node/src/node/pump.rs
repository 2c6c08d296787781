//! What the Lightning node has to tell, worked off in order: stored first, acknowledged then.

use std::sync::Arc;
use std::time::Duration;

use imp_lightning::{LightningEvent, LightningNode, ReceivedKind};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::inbox::{HOUSEKEEPING_EVERY, Inbox, Received};
use crate::outbox::Outbox;
use crate::runtime::clock::Clock;
use crate::service::lightning::Lightning;
use crate::store::StoreError;

/// How long the pump waits at most before it looks at the inbox's deadlines again: they follow a clock that may be set.
const DEADLINE_POLL: Duration = Duration::from_secs(30);

/// The pump. It owns the inbox.
pub(super) struct Pump {
    pub(super) lightning: Arc<dyn LightningNode>,
    pub(super) inbox: Inbox,
    pub(super) outbox: Outbox,
    pub(super) payments: Lightning,
    pub(super) clock: Arc<dyn Clock>,
}

impl Pump {
    /// Runs until the node stops, or something cannot be stored: then the node must not go on, and what was not
    /// acknowledged comes again.
    pub(super) async fn run(mut self, stopped: CancellationToken) {
        if let Err(error) = self.work(&stopped).await {
            tracing::error!("what the Lightning node tells cannot be taken in: {error}");
        }
    }

    async fn work(&mut self, stopped: &CancellationToken) -> Result<(), Error> {
        let mut house_kept = Instant::now();
        let mut more_to_do = false;
        while !stopped.is_cancelled() {
            let pause = match self.inbox.deadline() {
                _ if more_to_do => Duration::from_millis(1),
                None => DEADLINE_POLL,
                Some(deadline) => {
                    deadline.since(self.clock.now()).clamp(Duration::from_millis(1), DEADLINE_POLL)
                }
            };
            tokio::select! {
                event = self.lightning.next_event() => {
                    self.take(event).await?;
                    self.lightning.acknowledge_event().await?;
                }
                () = tokio::time::sleep(pause) => {}
                () = stopped.cancelled() => {}
            }
            self.inbox.expire().await?;
            if more_to_do || house_kept.elapsed() >= HOUSEKEEPING_EVERY {
                more_to_do = self.inbox.keep_house().await?;
                house_kept = Instant::now();
            }
        }
        Ok(())
    }

    async fn take(&mut self, event: LightningEvent) -> Result<(), StoreError> {
        match event {
            LightningEvent::PaymentSettled { hash, preimage, fee } => {
                self.outbox.payment_settled(hash, fee).await?;
                self.payments.payment_settled(hash, preimage, fee).await?;
            }
            LightningEvent::PaymentFailed { hash, reason } => {
                self.outbox.payment_failed(hash, &reason).await?;
                self.payments.payment_failed(hash, &reason).await?;
            }
            LightningEvent::PaymentReceived { hash, amount, kind } => match kind {
                ReceivedKind::Keysend { preimage, records } => {
                    self.payments.keysend_received(hash, amount, &records).await?;
                    self.inbox.take(Received { hash, amount, preimage, records }).await?;
                }
                ReceivedKind::Invoice => self.payments.invoice_paid(hash, amount).await?,
            },
            LightningEvent::ChannelReady { peer } => {
                tracing::info!(peer = ?peer, "a channel is ready");
                self.outbox.reachable(peer);
            }
            LightningEvent::ChannelClosed { peer, reason } => {
                tracing::warn!(peer = ?peer, "a channel closed: {reason}");
                self.outbox.channel_closed().await?;
            }
        }
        Ok(())
    }
}
