//! The inbox: what other nodes sent is committed before it is acknowledged to the backend.
//!
//! ```text
//! backend ── payment ── decode, verify ── parts ── order ── commit ── acknowledge
//!                                                             └── journal, in the order of publication
//! ```
//!
//! A payment, what it completes and what that publishes are one transaction: there is no state between "stored" and
//! "published" to recover from, and one fsync less for each message. The rules are those of `imp-core`; every step may
//! run twice and takes effect once, because the payment's hash is part of the same transaction.

mod line;
pub mod reception;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use imp_core::amount::Msat;
use imp_core::id::{NodeId, PaymentHash, Preimage};
use imp_core::order::MAX_HELD_BYTES_IN_ALL;
use imp_core::parts::{
    self, MAX_UNFINISHED_BYTES, MAX_UNFINISHED_BYTES_PER_SENDER, TAKEN_KNOWN_FOR, Unfinished,
};
use imp_core::record::{RecordTable, RecordType, Service};
use imp_core::time::UnixMillis;
use imp_core::wire::envelope::{Binding, CarrierBinding, Envelope, Header};

use crate::runtime::clock::Clock;
use crate::store::inbox::{InboxChange, InboxPayment, PartName, PaymentOutcome};
use crate::store::{InboxStore, StoreError};
use line::{Line, Part};
use reception::{Reception, Whole};

/// Senders whose state is kept in memory though nothing of theirs waits; that of others is read when they send again.
const MAX_IDLE_LINES: usize = 10_000;

/// Unfinished messages that are given up in one transaction.
const GIVEN_UP_AT_ONCE: usize = 256;

/// The services whose messages this version reads.
const READ: [Service; 4] = [Service::Message, Service::Federate, Service::Socket, Service::Vpn];

/// How often old rows are looked for.
pub const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(3600);

/// A keysend that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Which payment.
    pub hash: PaymentHash,
    /// What this node got.
    pub amount: Msat,
    /// The payment's preimage.
    pub preimage: Preimage,
    /// Its custom records.
    pub records: Vec<(u64, Vec<u8>)>,
}

/// The inbox. It has one owner, which calls it for one thing at a time.
pub struct Inbox {
    store: Arc<dyn InboxStore>,
    clock: Arc<dyn Clock>,
    records: RecordTable,
    id: NodeId,
    genesis_hash: [u8; 32],
    /// Where messages go when their turn comes.
    reception: Box<dyn Reception>,
    lines: HashMap<(NodeId, Service), Line>,
    /// Lines that hold messages back.
    holding: HashSet<(NodeId, Service)>,
    /// What the unfinished messages of each line take, in bytes.
    unfinished: HashMap<(NodeId, Service), usize>,
    unfinished_in_all: usize,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("lines", &self.lines.len()).finish_non_exhaustive()
    }
}

/// What a record turned out to be.
enum Reading {
    /// A part of a message, signed by a node.
    Part(NodeId, Envelope),
    /// Of a later version, or of a service that this version does not have.
    Unread,
    /// Nothing that counts; the name of the counter says why.
    Dropped(&'static str),
}

impl Inbox {
    /// Opens the inbox of the node `id` on the chain with this genesis hash, and hands to the reception what an earlier run
    /// could not.
    pub async fn open(
        store: Arc<dyn InboxStore>,
        clock: Arc<dyn Clock>,
        records: RecordTable,
        id: NodeId,
        genesis_hash: [u8; 32],
        reception: Box<dyn Reception>,
    ) -> Result<Self, StoreError> {
        let mut inbox = Self {
            store,
            clock,
            records,
            id,
            genesis_hash,
            reception,
            lines: HashMap::new(),
            holding: HashSet::new(),
            unfinished: HashMap::new(),
            unfinished_in_all: 0,
        };
        for (sender, service) in inbox.store.waiting_senders().await? {
            let mut line = inbox.line(sender, service).await?;
            let now = inbox.clock.now();
            let change = line.resume(&*inbox.store, &mut *inbox.reception, now).await?;
            inbox.commit(line, change).await?;
        }
        Ok(inbox)
    }

    /// Takes a payment in. What it told is durable, and what it published is with the subscribers, when this returns.
    pub async fn take(&mut self, received: Received) -> Result<(), StoreError> {
        let Some((service, record_type, record)) = self.records.find(&received.records) else {
            return Ok(());
        };
        if self.store.has_payment(received.hash).await? {
            return Ok(());
        }
        let now = self.clock.now();
        let payment = |outcome, part| InboxPayment {
            hash: received.hash,
            record_type,
            amount: received.amount,
            received: now,
            outcome,
            part,
            service,
            raw: None,
        };
        let alone = |payment, count| InboxChange { payment: Some(payment), count, ..InboxChange::default() };
        let (sender, envelope) = match self.read(service, record_type, record, &received.preimage) {
            Reading::Part(sender, envelope) => (sender, envelope),
            Reading::Unread => {
                let raw = Some(record.to_vec());
                let payment = InboxPayment { raw, ..payment(PaymentOutcome::Unread, None) };
                return self.store.commit_inbox(alone(payment, vec!["inbox_unread"])).await;
            }
            Reading::Dropped(why) => {
                tracing::debug!(payment = %received.hash, why, "a payment's record does not count");
                return self
                    .store
                    .commit_inbox(alone(payment(PaymentOutcome::Dropped, None), vec![why]))
                    .await;
            }
        };
        let header = envelope.header();
        let index = header.part.map_or(0, |part| part.index);
        let name = PartName { sender, id: header.id, part: index };
        let seen = self.store.seen(name).await?;
        if seen.part {
            let payment = payment(PaymentOutcome::Repeated, Some(name));
            let mut change = alone(payment, vec!["inbox_repeated"]);
            if seen.service == Some(service)
                && let Some(whole) = again(sender, service, received.amount, received.hash, envelope, now)
            {
                change.add(self.reception.repeated(whole).await?);
            }
            return self.make(change).await;
        }
        if seen.service.is_some_and(|other| other != service) {
            let payment = payment(PaymentOutcome::Dropped, Some(name));
            return self.store.commit_inbox(alone(payment, vec!["inbox_other_service"])).await;
        }
        let mut line = self.line(sender, service).await?;
        let part = Part {
            header: header.clone(),
            amount: received.amount,
            payment: received.hash,
            chunk: envelope.into_chunk(),
        };
        let mut change = match line.take(&*self.store, &mut *self.reception, part, now).await? {
            Ok(change) => InboxChange { payment: Some(payment(PaymentOutcome::Taken, Some(name))), ..change },
            Err(refused) => {
                tracing::debug!(%sender, message = %name.id, "a part does not fit: {refused}");
                alone(payment(PaymentOutcome::Dropped, Some(name)), vec!["inbox_part_refused"])
            }
        };
        change.count.push("inbox_parts");
        self.commit(line, change).await?;
        if self.is_beyond_bounds(sender) {
            // What this one payment brought is less than one turn takes away.
            self.keep_within_bounds(now).await?;
        }
        Ok(())
    }

    /// When [`Self::expire`] has something to do; nothing while no message is held back.
    pub fn deadline(&self) -> Option<UnixMillis> {
        self.holding.iter().filter_map(|key| self.lines.get(key)?.deadline()).min()
    }

    /// Publishes what waited long enough for an earlier message.
    pub async fn expire(&mut self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let due = |key: &&(NodeId, Service)| self.lines.get(*key).is_some_and(|line| line.is_due(now));
        let due: Vec<_> = self.holding.iter().filter(due).copied().collect();
        for (sender, service) in due {
            let mut line = self.line(sender, service).await?;
            let change = line.expire(&*self.store, &mut *self.reception, now).await?;
            self.commit(line, change).await?;
        }
        Ok(())
    }

    /// Forgets some of what is too old to matter, and says whether there is more: other work has its turn in between.
    pub async fn keep_house(&mut self) -> Result<bool, StoreError> {
        let now = self.clock.now();
        // Messages go before the payments that made them: a part that comes again finds both or neither.
        if self.keep_within_bounds(now).await? {
            return Ok(true);
        }
        Ok(self.store.forget_payments_before(now.minus(TAKEN_KNOWN_FOR)).await? > 0)
    }

    fn read(&self, service: Service, record_type: RecordType, record: &[u8], preimage: &Preimage) -> Reading {
        if !READ.contains(&service) {
            return Reading::Unread;
        }
        let envelope = match Envelope::decode(record) {
            Ok(envelope) => envelope,
            Err(error) if error.is_unknown_format() => return Reading::Unread,
            Err(_) => return Reading::Dropped("inbox_malformed"),
        };
        let binding = Binding {
            genesis_hash: self.genesis_hash,
            recipient: self.id,
            record_type,
            carrier: CarrierBinding::keysend(preimage),
        };
        match envelope.verify(&binding) {
            Ok(sender) => Reading::Part(sender, envelope),
            Err(_) => Reading::Dropped("inbox_unverified"),
        }
    }

    /// Takes a line out of memory, or reads it. It goes back with [`Self::commit`]; one that does not, because of an
    /// error, is read afresh next time.
    async fn line(&mut self, sender: NodeId, service: Service) -> Result<Line, StoreError> {
        match self.lines.remove(&(sender, service)) {
            Some(line) => Ok(line),
            None => Line::read(&*self.store, sender, service).await,
        }
    }

    async fn commit(&mut self, line: Line, change: InboxChange) -> Result<(), StoreError> {
        for event in &change.publish {
            tracing::info!(id = %event.id, from = %event.from, service = %event.service, "message received");
        }
        if change != InboxChange::default() {
            self.make(change).await?;
        }
        self.put_back(line);
        Ok(())
    }

    /// Makes a change for which the reception was asked.
    async fn make(&mut self, change: InboxChange) -> Result<(), StoreError> {
        self.store.commit_inbox(change).await?;
        self.reception.committed().await;
        Ok(())
    }

    /// Notes how a line stands, and keeps it in memory if that is worth it.
    fn put_back(&mut self, line: Line) {
        let key = line.key();
        if line.deadline().is_some() {
            self.holding.insert(key);
        } else {
            self.holding.remove(&key);
        }
        let bytes = line.unfinished().map(|message| message.bytes).sum();
        let before =
            if bytes == 0 { self.unfinished.remove(&key) } else { self.unfinished.insert(key, bytes) };
        self.unfinished_in_all = self.unfinished_in_all + bytes - before.unwrap_or(0);
        if !line.is_idle() || self.lines.len() < MAX_IDLE_LINES {
            self.lines.insert(key, line);
        }
    }

    /// Whether it is worth looking for what must go, after a change of a line of this sender.
    fn is_beyond_bounds(&self, sender: NodeId) -> bool {
        let of_sender = READ.iter().filter_map(|service| self.unfinished.get(&(sender, *service)));
        of_sender.sum::<usize>() > MAX_UNFINISHED_BYTES_PER_SENDER
            || self.unfinished_in_all > MAX_UNFINISHED_BYTES
            || self.too_much_held().is_some()
    }

    /// Bounds what is held back, and some of what is unfinished, over all senders; says whether more must go.
    async fn keep_within_bounds(&mut self, now: UnixMillis) -> Result<bool, StoreError> {
        while let Some((sender, service)) = self.too_much_held() {
            let mut line = self.line(sender, service).await?;
            let change = line.give_up_oldest_gap(&*self.store, &mut *self.reception, now).await?;
            self.commit(line, change).await?;
        }
        let (lines, messages): (Vec<_>, Vec<_>) = self
            .lines
            .values()
            .flat_map(|line| line.unfinished().map(|message| (line.key(), message)))
            .unzip();
        let to_go = parts::to_go(&messages, now);
        let batch = &to_go[..to_go.len().min(GIVEN_UP_AT_ONCE)];
        if batch.is_empty() {
            return Ok(false);
        }
        let remove = batch.iter().map(|(at, why)| {
            let Unfinished { sender, id, .. } = messages[*at];
            tracing::debug!(%sender, message = %id, ?why, "an unfinished message is given up");
            (sender, id)
        });
        let change = InboxChange {
            remove: remove.collect(),
            count: vec!["inbox_unfinished_given_up"; batch.len()],
            ..InboxChange::default()
        };
        self.store.commit_inbox(change).await?;
        for (at, _) in batch {
            if let Some(mut line) = self.lines.remove(&lines[*at]) {
                line.forget(messages[*at].id);
                self.put_back(line);
            }
        }
        Ok(to_go.len() > batch.len())
    }

    /// The line that holds most, if all lines together hold too much.
    fn too_much_held(&self) -> Option<(NodeId, Service)> {
        let held = || self.holding.iter().filter_map(|key| Some((self.lines.get(key)?.held_bytes(), *key)));
        let total: usize = held().map(|(bytes, _)| bytes).sum();
        if total <= MAX_HELD_BYTES_IN_ALL { None } else { held().max().map(|(_, key)| key) }
    }
}

/// What a payment brought for a part that was taken; nothing where it is not text.
fn again(
    sender: NodeId,
    service: Service,
    amount: Msat,
    payment: PaymentHash,
    envelope: Envelope,
    at: UnixMillis,
) -> Option<Whole> {
    let Header { id, reply_to, .. } = envelope.header().clone();
    Some(Whole {
        sender,
        service,
        id,
        reply_to: reply_to.map(|id| id.to_string()).unwrap_or_default(),
        text: String::from_utf8(envelope.into_chunk()).ok()?,
        amount,
        payment: Some(payment),
        late: false,
        at,
    })
}
