//! Takes what came in, in order, and follows messages, devices and the clock.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use imp_core::delivery::MessageState;
use imp_core::id::{MessageId, NodeId};
use imp_core::time::UnixMillis;
use imp_core::vpn::End;
use imp_core::vpn::seller::PaymentState;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::Instant;

use super::change::{Decision, Direct};
use super::inbound::Inbound;
use super::{Inner, Memory, SAVE_METERS_EVERY};
use crate::error::Error;
use crate::store::StoreError;

/// The longest that this sleeps: the clock may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// The longest that this sleeps while time changes nothing.
const IDLE_SLEEP: Duration = Duration::from_secs(30);

/// How long a seller's device may take to open before what came in is looked at without it.
const DEVICE_OPENS: Duration = Duration::from_secs(10);

/// How often what nobody can ask about any more is let go from memory.
const TRIM_EVERY: Duration = Duration::from_secs(600);

/// Works until the node stops. Ends early where the store cannot; whoever started it starts it again.
pub(super) async fn run(inner: Arc<Inner>) {
    if let Err(error) = work(&inner).await {
        tracing::warn!("contracts of the VPN cannot be kept: {error}");
    } else if let Err(error) = inner.save_meters().await {
        tracing::warn!("what went through tunnels is not saved: {error}");
    }
}

/// Ends between two steps: what is in memory must not fall behind the store, which meters are then saved over.
async fn work(inner: &Arc<Inner>) -> Result<(), Error> {
    let stopped = inner.tasks.token();
    // From here on no end is missed.
    let mut ends = inner.outbox.ends();
    let mut looks = inner.station.looks();
    if inner.options.active && inner.options.seller.sell {
        // Who paid while the node was away is served and not sent back, if the device only takes its time.
        let tried = tokio::time::timeout(DEVICE_OPENS, inner.station.tried());
        let _ = stopped.run_until_cancelled(tried).await;
    }
    inner.look_at_pending().await?;
    let mut trimmed = Instant::now();
    let mut inbound = Inbound::default();
    while !stopped.is_cancelled() {
        inbound.take(inner, &stopped).await?;
        inner.meter().await?;
        inner.turn().await?;
        if trimmed.elapsed() >= TRIM_EVERY {
            inner.memory.lock().await.book.trim(inner.clock.now());
            trimmed = Instant::now();
        }
        let pause = inner.pause().await;
        // Ends come first: whether a configuration arrived decides what its buyer gets back.
        tokio::select! {
            biased;
            () = stopped.cancelled() => {}
            ended = ends.recv() => match ended {
                Ok(id) => inner.look_if_pending(id, &mut ends).await?,
                Err(RecvError::Lagged(_)) => inner.look_at_pending().await?,
                Err(RecvError::Closed) => return Err(Error::unavailable("the outbox is closed")),
            },
            () = inner.look_again.notified() => inner.look_at_pending().await?,
            () = inner.arrived.notified() => inbound.has_arrived(),
            () = inner.changed.notified() => {}
            _ = looks.changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    Ok(())
}

impl Inner {
    /// What time and devices bring.
    async fn turn(self: &Arc<Self>) -> Result<(), Error> {
        let direct = self.direct(self.to_refund().await).await;
        let mut memory = self.memory.lock().await;
        for (nonce, key) in memory.book.peers_to_drop() {
            let revision = self.want(&memory);
            if self.station.is_off(&key, revision) {
                let step = self.decide(&direct, |moment| memory.book.peer_gone(&nonce, moment))?;
                self.commit(&mut memory, step.into()).await?;
            }
        }
        let step = self.decide(&direct, |moment| memory.book.tick(moment))?;
        self.commit(&mut memory, step.into()).await?;
        // Nobody can call off what a service pays that is switched off.
        let may_pay = self.options.active;
        let step = self.decide(&direct, |moment| memory.purchases.tick(may_pay, moment))?;
        let pays = self.hold_and_commit(&mut memory, step.into()).await?;
        drop(memory);
        for (post, hold) in pays {
            let inner = Arc::clone(self);
            let paying = async move { inner.pay(&post, hold).await };
            drop(self.tasks.run_detached("VPN payment", paying));
        }
        Ok(())
    }

    /// Whom this node is about to give money back.
    async fn to_refund(&self) -> Vec<NodeId> {
        let now = self.clock.now();
        let memory = self.memory.lock().await;
        let due = memory.book.payments().filter(|payment| {
            payment.state == PaymentState::RefundDue && payment.next_try.is_some_and(|at| at <= now)
        });
        let due = due.map(|payment| payment.buyer);
        let leaving = memory.book.peers_to_drop();
        let leaving = leaving.iter().filter_map(|(nonce, _)| memory.book.contract(nonce));
        due.chain(leaving.map(|contract| contract.buyer)).collect()
    }

    /// Messages whose ends are waited for.
    async fn pending(&self) -> HashSet<MessageId> {
        let memory = self.memory.lock().await;
        let sold = memory.book.pending_messages().into_iter();
        sold.chain(memory.purchases.pending_messages()).collect()
    }

    /// Finds out about all messages whose ends are waited for.
    async fn look_at_pending(&self) -> Result<(), Error> {
        for id in self.pending().await {
            self.look_at(id).await?;
        }
        Ok(())
    }

    /// Finds out about a message that ended, and about those that did since, of whatever service.
    async fn look_if_pending(&self, id: MessageId, ends: &mut Receiver<MessageId>) -> Result<(), Error> {
        let pending = self.pending().await;
        let mut ended = Some(id);
        while let Some(id) = ended {
            if pending.contains(&id) {
                self.look_at(id).await?;
            }
            ended = match ends.try_recv() {
                Ok(id) => Some(id),
                Err(TryRecvError::Lagged(_)) => return self.look_at_pending().await,
                Err(TryRecvError::Empty | TryRecvError::Closed) => None,
            };
        }
        Ok(())
    }

    /// Finds out about a message, unless somebody else does.
    async fn look_at(&self, id: MessageId) -> Result<(), Error> {
        match self.under_way.try_take(id) {
            Some(_hold) => self.conclude(id).await,
            None => Ok(()),
        }
    }

    /// Notes how a message ended, if it did.
    pub(super) async fn conclude(&self, id: MessageId) -> Result<(), Error> {
        let Some(end) = self.end_of(id).await? else { return Ok(()) };
        let mut memory = self.memory.lock().await;
        let step = self.decide(&Direct::new(), |moment| memory.book.message_ended(id, end, moment))?;
        self.commit(&mut memory, step.into()).await?;
        let step = memory.purchases.message_ended(id, end, self.clock.now());
        self.commit(&mut memory, step.into()).await.map(drop)
    }

    /// How a message ended; nothing while it has not.
    async fn end_of(&self, id: MessageId) -> Result<Option<End>, StoreError> {
        let Some(stored) = self.outbox.state(id).await? else { return Ok(Some(End::Missing)) };
        Ok(match stored.state {
            MessageState::Queued | MessageState::Sending => None,
            MessageState::Settled => Some(End::Settled(stored.ended.unwrap_or(stored.message.accepted))),
            MessageState::Failed => Some(End::Failed),
            MessageState::Unknown => Some(End::Unknown),
        })
    }

    /// Takes in what devices have shown, and saves it now and then.
    async fn meter(&self) -> Result<(), Error> {
        let look = self.station.looks().borrow().clone();
        let is_due = {
            let mut memory = self.memory.lock().await;
            let Memory { book, .. } = &mut *memory;
            for (key, reading) in &look.peers {
                book.read_meter(key, reading);
            }
            memory.meters_saved.elapsed() >= SAVE_METERS_EVERY
        };
        if is_due { self.save_meters().await } else { Ok(()) }
    }

    /// Saves what meters have shown.
    async fn save_meters(&self) -> Result<(), Error> {
        let mut memory = self.memory.lock().await;
        let now = self.clock.now();
        let decision = Decision {
            seller: memory.book.save_meters(now),
            buyer: memory.purchases.save_meters(now),
            ..Decision::default()
        };
        self.commit(&mut memory, decision).await?;
        memory.meters_saved = Instant::now();
        Ok(())
    }

    /// How long there is nothing to do.
    async fn pause(&self) -> Duration {
        let memory = self.memory.lock().await;
        let next = [memory.book.next_deadline(), memory.purchases.next_deadline()];
        let next: Option<UnixMillis> = next.into_iter().flatten().min();
        // What is far away now may be near once the clock is set.
        next.map_or(IDLE_SLEEP, |next| {
            next.since(self.clock.now()).clamp(Duration::from_millis(1), LONGEST_SLEEP)
        })
    }
}
