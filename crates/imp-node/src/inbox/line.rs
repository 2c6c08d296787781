//! The messages of one sender and service that are not published yet.

use std::collections::HashMap;

use imp_core::amount::Msat;
use imp_core::id::{MessageId, NodeId, PaymentHash};
use imp_core::order::{Held, Order, Position, Release, Snapshot, Waiting};
use imp_core::parts::{Added, PartRefused, Parts, Unfinished};
use imp_core::record::Service;
use imp_core::time::UnixMillis;
use imp_core::wire::envelope::{Header, PartOf, ReplyTo};

use super::reception::{Receipt, Reception, Whole};
use crate::store::inbox::{InboxChange, InboxChunk, InboxMessage, KeptMessage, KeptPart};
use crate::store::{InboxStore, StoreError};

/// What a part takes in memory and on disk beside its text, about.
const PART_COST_BYTES: usize = 512;

/// A verified part, or a whole message.
pub(super) struct Part {
    pub(super) header: Header,
    pub(super) amount: Msat,
    pub(super) payment: PaymentHash,
    pub(super) chunk: Vec<u8>,
}

/// One sender's messages of one service.
pub(super) struct Line {
    sender: NodeId,
    service: Service,
    order: Order,
    unfinished: HashMap<MessageId, (InboxMessage, Parts)>,
    held: HashMap<MessageId, InboxMessage>,
    /// What the order released when it was restored: nothing, unless a row is missing.
    released: Vec<Release>,
    /// The state of the order that the store has.
    stored: Option<Snapshot>,
    /// Messages whose rows contradict each other: to be removed with the next change.
    broken: Vec<MessageId>,
}

/// A message whose parts are all there.
struct Joined {
    message: InboxMessage,
    /// In the order of the parts.
    chunks: Vec<InboxChunk>,
}

impl Line {
    /// The line as it is in the store.
    pub(super) async fn read(
        store: &dyn InboxStore,
        sender: NodeId,
        service: Service,
    ) -> Result<Self, StoreError> {
        let rows = store.sender_rows(sender, service).await?;
        let (mut unfinished, mut held, mut waiting) = (HashMap::new(), HashMap::new(), Vec::new());
        let (mut begun, mut broken) = (Vec::new(), Vec::new());
        for KeptMessage { message, parts: kept } in rows.messages {
            if let Some(since) = message.held {
                let bytes = kept.iter().map(|part| part.bytes).sum();
                waiting.push(Waiting { id: message.id, seq: message.seq, bytes, since });
                held.insert(message.id, message);
                continue;
            }
            let mut parts = Parts::new();
            for KeptPart { part: index, amount, bytes } in kept {
                let header = header_of(&message, index);
                if let Err(refused) = parts.add(sender, &header, bytes, amount) {
                    // One message is lost; a node that did not start for it would lose them all.
                    tracing::error!(%sender, message = %message.id, "part {index} in the store: {refused}");
                    broken.push(message.id);
                }
            }
            if broken.last() == Some(&message.id) {
                continue;
            }
            // Begun, not touched: after a crash the wait for a part is at most as long as the first part allows.
            begun.push((message.stream, message.seq, message.begun));
            unfinished.insert(message.id, (message, parts));
        }
        let snapshot = rows.order.map(|text| parse_snapshot(&text)).transpose()?;
        let (order, released) = match snapshot {
            Some(snapshot) => {
                let begun = begun.iter().filter(|(stream, ..)| *stream == snapshot.stream);
                Order::restore(snapshot, waiting, begun.map(|(_, seq, since)| (*seq, *since)))
            }
            None => (Order::new(), Vec::new()),
        };
        Ok(Self { sender, service, order, unfinished, held, released, stored: snapshot, broken })
    }

    pub(super) const fn key(&self) -> (NodeId, Service) {
        (self.sender, self.service)
    }

    /// Whether nothing of it is only in memory.
    pub(super) fn is_idle(&self) -> bool {
        self.unfinished.is_empty() && self.held.is_empty()
    }

    pub(super) const fn held_bytes(&self) -> usize {
        self.order.held_bytes()
    }

    /// When [`Self::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<UnixMillis> {
        self.order.deadline()
    }

    /// Whether [`Self::expire`] has something to do now.
    pub(super) fn is_due(&self, now: UnixMillis) -> bool {
        self.order.deadline().is_some_and(|deadline| deadline <= now) || self.order.is_ahead_of(now)
    }

    /// The unfinished messages. What a part costs beside its text counts too, or empty parts would cost nothing.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = Unfinished> + '_ {
        self.unfinished.values().map(|(message, parts)| Unfinished {
            sender: self.sender,
            id: message.id,
            bytes: parts.bytes() + usize::from(parts.present()) * PART_COST_BYTES,
            since: message.begun,
        })
    }

    /// What restoring the line released.
    pub(super) async fn resume(
        &mut self,
        store: &dyn InboxStore,
        reception: &mut dyn Reception,
        now: UnixMillis,
    ) -> Result<InboxChange, StoreError> {
        let released = std::mem::take(&mut self.released);
        self.publish(store, reception, released, None, now).await
    }

    pub(super) async fn expire(
        &mut self,
        store: &dyn InboxStore,
        reception: &mut dyn Reception,
        now: UnixMillis,
    ) -> Result<InboxChange, StoreError> {
        let released = self.order.expire(now);
        self.publish(store, reception, released, None, now).await
    }

    pub(super) async fn give_up_oldest_gap(
        &mut self,
        store: &dyn InboxStore,
        reception: &mut dyn Reception,
        now: UnixMillis,
    ) -> Result<InboxChange, StoreError> {
        let released = self.order.give_up_oldest_gap();
        self.publish(store, reception, released, None, now).await
    }

    /// Drops an unfinished message; its rows are the caller's.
    pub(super) fn forget(&mut self, id: MessageId) {
        self.unfinished.remove(&id);
    }

    /// Takes a part; what it changes is to be committed together with its payment.
    pub(super) async fn take(
        &mut self,
        store: &dyn InboxStore,
        reception: &mut dyn Reception,
        part: Part,
        now: UnixMillis,
    ) -> Result<Result<InboxChange, PartRefused>, StoreError> {
        let Part { header, amount, payment, chunk } = part;
        let payment = Some(payment);
        let fresh = InboxMessage::of(&header, now);
        if let Some(refused) = self.contradiction(&header) {
            return Ok(Err(refused));
        }
        let Some(PartOf { index, .. }) = header.part else {
            let chunks = vec![InboxChunk { part: 0, amount, payment, chunk }];
            return self.complete(store, reception, Joined { message: fresh, chunks }, 0, now).await.map(Ok);
        };
        let (message, parts) = self.unfinished.entry(header.id).or_insert((fresh, Parts::new()));
        match parts.add(self.sender, &header, chunk.len(), amount) {
            Err(refused) => return Ok(Err(refused)),
            // The store knows no payment for it, so this is the part that counts.
            Ok(Added::New | Added::Duplicate) => {}
        }
        if let Some(position) = parts.position() {
            (message.stream, message.seq, message.floor_back) =
                (position.stream, position.seq, position.floor_back);
        }
        if index == 0 {
            message.reply_to = text_of(header.reply_to.as_ref());
        }
        let chunk = InboxChunk { part: index, amount, payment, chunk };
        if !parts.whole() {
            let message = message.clone();
            let released = message.position().map(|position| self.order.observe(position, now));
            let change = self.publish(store, reception, released.unwrap_or_default(), None, now).await?;
            let keep = Some((self.sender, self.service, message, Some(chunk)));
            return Ok(Ok(InboxChange { keep, ..change }));
        }
        let message = message.clone();
        self.unfinished.remove(&header.id);
        let mut chunks = store.chunks(self.sender, header.id).await?;
        chunks.push(chunk);
        chunks.sort_by_key(|chunk| chunk.part);
        self.complete(store, reception, Joined { message, chunks }, index, now).await.map(Ok)
    }

    /// Why an envelope cannot be of the message whose id it bears: one that is waiting is whole already, and one that has
    /// parts is not a single envelope.
    fn contradiction(&self, header: &Header) -> Option<PartRefused> {
        let found = header.part.map_or(1, |part| part.count);
        let waiting = self.held.get(&header.id).or_else(|| {
            self.unfinished.get(&header.id).map(|(message, _)| message).filter(|_| header.part.is_none())
        })?;
        Some(PartRefused::OtherCount { expected: waiting.part_count, found })
    }

    /// Publishes a whole message, or holds it back. Its part `last` is the one that is not in the store yet.
    async fn complete(
        &mut self,
        store: &dyn InboxStore,
        reception: &mut dyn Reception,
        mut whole: Joined,
        last: u16,
        now: UnixMillis,
    ) -> Result<InboxChange, StoreError> {
        let id = whole.message.id;
        let Some(position) = whole.message.position() else {
            let released = vec![Release { id, late: false }];
            return self.publish(store, reception, released, Some(whole), now).await;
        };
        let bytes = whole.chunks.iter().map(|chunk| chunk.chunk.len()).sum();
        let released = self.order.accept(Held { id, position, bytes }, now);
        if released.iter().any(|release| release.id == id) {
            return self.publish(store, reception, released, Some(whole), now).await;
        }
        whole.message.held = Some(now);
        self.held.insert(id, whole.message.clone());
        let change = self.publish(store, reception, released, None, now).await?;
        let last = whole.chunks.into_iter().find(|chunk| chunk.part == last);
        Ok(InboxChange { keep: Some((self.sender, self.service, whole.message, last)), ..change })
    }

    /// Hands what was released to the reception, in its order.
    async fn publish(
        &mut self,
        store: &dyn InboxStore,
        reception: &mut dyn Reception,
        released: Vec<Release>,
        mut whole: Option<Joined>,
        now: UnixMillis,
    ) -> Result<InboxChange, StoreError> {
        let broken = std::mem::take(&mut self.broken);
        let mut change = InboxChange {
            count: vec!["inbox_broken"; broken.len()],
            remove: broken.into_iter().map(|id| (self.sender, id)).collect(),
            ..InboxChange::default()
        };
        for Release { id, late } in released {
            let joined = match whole.take_if(|whole| whole.message.id == id) {
                Some(joined) => joined,
                None => {
                    let Some(message) = self.held.remove(&id) else { continue };
                    Joined { message, chunks: store.chunks(self.sender, id).await? }
                }
            };
            change.remove.push((self.sender, id));
            if late {
                change.count.push("inbox_late");
            }
            match self.whole(joined, late, now) {
                Some(whole) => change.add(reception.receive(whole).await?),
                None => change.count.push("inbox_not_text"),
            }
        }
        let snapshot = self.order.snapshot();
        if snapshot != self.stored {
            self.stored = snapshot;
            change.order =
                snapshot.map(|snapshot| (self.sender, self.service, format_snapshot(snapshot), now));
        }
        Ok(change)
    }

    /// A message as the reception gets it; nothing where it is not text, which is all that events can carry.
    fn whole(&self, joined: Joined, late: bool, now: UnixMillis) -> Option<Whole> {
        let Joined { message, chunks } = joined;
        let amount = chunks.iter().map(|chunk| chunk.amount).sum();
        let payment = chunks.last().and_then(|chunk| chunk.payment);
        let body: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.chunk).collect();
        Some(Whole {
            sender: self.sender,
            service: self.service,
            id: message.id,
            reply_to: message.reply_to,
            text: String::from_utf8(body).ok()?,
            amount,
            payment,
            late,
            at: now,
        })
    }
}

impl InboxChange {
    /// Adds what a message leads to.
    pub(super) fn add(&mut self, receipt: Receipt) {
        let Receipt { publish, withheld, peers, withdraw, vpn, answers, count } = receipt;
        self.publish.extend(publish);
        self.withheld.extend(withheld);
        self.peers.extend(peers);
        self.withdraw.extend(withdraw);
        self.vpn.extend(vpn);
        self.answers.extend(answers);
        self.count.extend(count);
    }
}

impl InboxMessage {
    fn of(header: &Header, now: UnixMillis) -> Self {
        Self {
            id: header.id,
            part_count: header.part.map_or(1, |part| part.count),
            stream: header.stream,
            seq: header.seq,
            floor_back: header.floor_back,
            unordered: header.unordered,
            reply_to: text_of(header.reply_to.as_ref()),
            begun: now,
            held: None,
        }
    }

    fn position(&self) -> Option<Position> {
        let Self { stream, seq, floor_back, .. } = *self;
        (!self.unordered).then_some(Position { stream, seq, floor_back })
    }
}

fn text_of(reply_to: Option<&ReplyTo>) -> String {
    reply_to.map(ToString::to_string).unwrap_or_default()
}

/// The header of a part, as far as its row tells it.
fn header_of(message: &InboxMessage, index: u16) -> Header {
    Header {
        id: message.id,
        stream: message.stream,
        seq: message.seq,
        floor_back: message.floor_back,
        part: Some(PartOf { index, count: message.part_count }),
        reply_to: None,
        unordered: message.unordered,
    }
}

fn format_snapshot(Snapshot { stream, next }: Snapshot) -> String {
    format!("{stream}:{next}")
}

fn parse_snapshot(text: &str) -> Result<Snapshot, StoreError> {
    let parsed = text
        .split_once(':')
        .and_then(|(stream, next)| Some(Snapshot { stream: stream.parse().ok()?, next: next.parse().ok()? }));
    parsed.ok_or_else(|| StoreError::Damaged { what: format!("inbox_order.snapshot = {text}") })
}
