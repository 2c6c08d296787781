//! Takes what came in, in order, and follows messages, devices and the clock.

use std::sync::Arc;
use std::time::Duration;

use imp_core::delivery::MessageState;
use imp_core::id::{MessageId, NodeId};
use imp_core::record::Service;
use imp_core::time::UnixMillis;
use imp_core::vpn::buyer::Asked;
use imp_core::vpn::seller::PaymentState;
use imp_core::vpn::{End, Incoming, Payload, Request, Response};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::change::{Decision, Direct};
use super::{Inner, Memory, SAVE_METERS_EVERY};
use crate::error::Error;
use crate::store::StoreError;
use crate::store::outbox::OutboxMessage;
use crate::store::vpn::VpnInbound;

/// What is read of what came in at once.
const INBOUND_AT_ONCE: usize = 64;

/// The longest that this sleeps: the clock may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// The longest that this sleeps while time changes nothing.
const IDLE_SLEEP: Duration = Duration::from_secs(30);

/// How long a seller's device may take to open before what came in is looked at without it.
const DEVICE_OPENS: Duration = Duration::from_secs(10);

/// How often what nobody can ask about any more is let go from memory.
const TRIM_EVERY: Duration = Duration::from_secs(600);

/// The counter of texts of other nodes that cannot be read.
const MALFORMED: &str = "vpn_malformed";

/// The counter of questions that a node with the service switched off leaves unanswered.
const INACTIVE: &str = "vpn_inactive";

/// Works until the node stops. Ends early where the store cannot; whoever started it starts it again.
pub(super) async fn run(inner: Arc<Inner>) {
    let stopped = inner.tasks.token();
    let worked = stopped.run_until_cancelled(work(&inner)).await;
    if let Some(Err(error)) = worked {
        tracing::warn!("contracts of the VPN cannot be kept: {error}");
    }
    if stopped.is_cancelled()
        && let Err(error) = inner.save_meters().await
    {
        tracing::warn!("what went through tunnels is not saved: {error}");
    }
}

async fn work(inner: &Arc<Inner>) -> Result<(), Error> {
    // From here on no end is missed.
    let mut ends = inner.outbox.ends();
    let mut looks = inner.station.looks();
    if inner.options.active && inner.options.seller.sell {
        // Who paid while the node was away is served and not sent back, if the device only takes its time.
        let _ = tokio::time::timeout(DEVICE_OPENS, inner.station.tried()).await;
    }
    inner.look_at_pending().await?;
    let mut trimmed = Instant::now();
    let mut has_arrived = true;
    loop {
        while has_arrived {
            has_arrived = inner.take_inbound().await?;
        }
        inner.meter().await?;
        inner.turn().await?;
        if trimmed.elapsed() >= TRIM_EVERY {
            inner.memory.lock().await.book.trim(inner.clock.now());
            trimmed = Instant::now();
        }
        let pause = inner.pause().await;
        tokio::select! {
            () = inner.arrived.notified() => has_arrived = true,
            () = inner.changed.notified() => {}
            () = inner.look_again.notified() => inner.look_at_pending().await?,
            _ = looks.changed() => {}
            ended = ends.recv() => match ended {
                Ok(id) => inner.look_at(id).await?,
                Err(RecvError::Lagged(_)) => inner.look_at_pending().await?,
                Err(RecvError::Closed) => return Err(Error::unavailable("the outbox is closed")),
            },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

impl Inner {
    /// Takes the oldest of what came in. Says whether there was anything.
    async fn take_inbound(&self) -> Result<bool, Error> {
        let rows = self.store.vpn_inbound(INBOUND_AT_ONCE).await?;
        let found = !rows.is_empty();
        for row in rows {
            self.take(row).await?;
        }
        Ok(found)
    }

    async fn take(&self, row: VpnInbound) -> Result<(), Error> {
        let payload = Payload::parse(&row.text);
        let handled = vec![row.hash];
        let decision = match payload {
            Ok(Payload::Request(Request::Quote)) if !self.options.active => {
                Decision { handled, count: vec![INACTIVE], ..Decision::default() }
            }
            Ok(Payload::Request(request)) => return self.take_request(&row, &request).await,
            Ok(Payload::Response(response)) => return self.take_response(&row, response).await,
            Err(error) => {
                let (message, from) = (row.id, row.sender);
                // A seller's configuration that cannot be used is what its buyer wants to know of.
                let is_config = self.is_awaited_config(&row).await;
                if is_config {
                    tracing::warn!(%message, %from, "a seller's configuration is refused: {error}");
                } else {
                    tracing::debug!(%message, %from, "a text of the VPN {error}");
                }
                let count = vec![if is_config { "vpn_config_refused" } else { MALFORMED }];
                Decision { handled, count, ..Decision::default() }
            }
        };
        let mut memory = self.memory.lock().await;
        self.commit(&mut memory, decision).await.map(drop)
    }

    /// Whether a text that cannot be read answers a payment for a contract.
    async fn is_awaited_config(&self, row: &VpnInbound) -> bool {
        let memory = self.memory.lock().await;
        memory
            .purchases
            .purchases()
            .any(|purchase| purchase.seller == row.sender && purchase.contract_id.to_string() == row.reply_to)
    }

    async fn take_request(&self, row: &VpnInbound, request: &Request) -> Result<(), Error> {
        let blocked = self.is_blocked(row.sender).await;
        let direct = self.direct([row.sender]).await;
        let mut memory = self.memory.lock().await;
        // They change with the device.
        memory.book.set_terms(self.terms());
        let step =
            self.decide(&direct, |moment| memory.book.take(&incoming(row, blocked), request, moment))?;
        let decision = Decision { handled: vec![row.hash], ..step.into() };
        self.commit(&mut memory, decision).await.map(drop)
    }

    async fn take_response(&self, row: &VpnInbound, response: Response) -> Result<(), Error> {
        // Only an answer to a question of this node is a quote.
        let quote_asked = match response {
            Response::Quote(_) | Response::Refused { .. } => self.quote_asked(row).await?,
            _ => None,
        };
        let blocked = self.is_blocked(row.sender).await;
        let mut memory = self.memory.lock().await;
        let nonce_taken = matches!(&response, Response::Quote(quote) if memory.book.knows(&quote.nonce));
        let asked = Asked { quote_asked, nonce_taken };
        let step = memory.purchases.take(&incoming(row, blocked), &response, asked, self.clock.now());
        let decision = Decision { handled: vec![row.hash], ..step.into() };
        // An answer has nothing paid.
        self.commit(&mut memory, decision).await.map(drop)
    }

    async fn is_blocked(&self, node: NodeId) -> bool {
        self.federation.peer(node).await.is_some_and(|view| view.peer.blocked)
    }

    /// When this node sent the question for a quote to its sender that a message answers, if it does.
    async fn quote_asked(&self, row: &VpnInbound) -> Result<Option<UnixMillis>, StoreError> {
        let Some(id) = MessageId::from_canonical(&row.reply_to) else { return Ok(None) };
        let stored = self.outbox.state(id).await?.map(|stored| stored.message);
        let is_ours =
            |message: &OutboxMessage| message.service == Service::Vpn && message.recipient == row.sender;
        let Some(message) = stored.filter(is_ours) else { return Ok(None) };
        let body = self.store.message_body(id).await?.unwrap_or_default();
        let request = std::str::from_utf8(&body).ok().map(Request::parse);
        Ok(matches!(request, Some(Ok(Request::Quote))).then_some(message.accepted))
    }

    /// What time and devices bring.
    async fn turn(self: &Arc<Self>) -> Result<(), Error> {
        let direct = self.direct(self.to_refund().await).await;
        let mut memory = self.memory.lock().await;
        let revision = self.want(&memory);
        for (nonce, key) in memory.book.peers_to_drop() {
            if self.station.is_off(&key, revision) {
                let step = self.decide(&direct, |moment| memory.book.peer_gone(&nonce, moment))?;
                self.commit(&mut memory, step.into()).await?;
            }
        }
        let step = self.decide(&direct, |moment| memory.book.tick(moment))?;
        self.commit(&mut memory, step.into()).await?;
        let step = self.decide(&direct, |moment| memory.purchases.tick(self.options.active, moment))?;
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

    /// Finds out about all messages whose ends are waited for.
    async fn look_at_pending(&self) -> Result<(), Error> {
        let pending = {
            let memory = self.memory.lock().await;
            let mut pending = memory.book.pending_messages();
            pending.extend(memory.purchases.pending_messages());
            pending
        };
        for id in pending {
            self.look_at(id).await?;
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

fn incoming(row: &VpnInbound, blocked: bool) -> Incoming<'_> {
    Incoming {
        hash: row.hash,
        from: row.sender,
        id: row.id,
        reply_to: &row.reply_to,
        amount: row.amount,
        at: row.at,
        repeated: row.repeated,
        blocked,
    }
}
