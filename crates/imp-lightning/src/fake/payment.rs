//! The way of a payment through the simulated network: begun, arrived, answered, ended.

use std::time::Duration;

use imp_core::amount::Msat;
use imp_core::id::{NodeId, PaymentHash, Preimage};

use crate::fake::backend::{Content, Payment, Stage};
use crate::fake::channel::ChannelState;
use crate::fake::world::{PaymentName, Step, World};
use crate::port::{FailureReason, Keysend, LightningEvent, PaymentState, ReceivedKind, SendError, SendRoom};

/// The largest value of a custom record that a keysend carries.
const MAX_RECORD_BYTES: usize = 1000;

impl Payment {
    /// What becomes of it when its ends are connected.
    pub(super) const fn next_step(&self, name: PaymentName) -> Step {
        match self.stage {
            Stage::Outbound => Step::Arrive(name),
            _ => Step::Return(name),
        }
    }

    pub(super) fn state(&self) -> PaymentState {
        match &self.stage {
            Stage::Settled(preimage) => PaymentState::Settled { preimage: *preimage, fee: Some(self.fee) },
            // As with LDK, whose records do not say why.
            Stage::Failed(_) => PaymentState::Failed(FailureReason::Unrecorded),
            _ => PaymentState::InFlight,
        }
    }
}

impl World {
    pub(super) fn begin_keysend(&mut self, sender: &NodeId, keysend: Keysend) -> Result<(), SendError> {
        let hash = keysend.preimage.payment_hash();
        if keysend.amount == Msat::ZERO {
            return Err(SendError::Invalid("a payment is of 1 msat at least".to_owned()));
        }
        if let Some((_, value)) = keysend.record.as_ref().filter(|(_, value)| value.len() > MAX_RECORD_BYTES)
        {
            return Err(SendError::Invalid(format!(
                "the record has {} bytes, a keysend carries {MAX_RECORD_BYTES}",
                value.len()
            )));
        }
        if keysend.recipient == *sender {
            return Err(SendError::Invalid("a node cannot pay itself".to_owned()));
        }
        if self.node(sender).payments.contains_key(&hash) {
            return Err(SendError::Known);
        }
        let records = keysend.record.into_iter().map(|(number, value)| (number.number(), value)).collect();
        let content = Content::Keysend { preimage: keysend.preimage, records };
        let limit = keysend.fee_limit;
        self.begin(sender, keysend.recipient, hash, keysend.amount, limit, content)
    }

    /// Puts a payment on its way over a direct channel. The caller has seen to it that none with this hash is in flight
    /// or settled.
    pub(super) fn begin(
        &mut self,
        sender: &NodeId,
        recipient: NodeId,
        hash: PaymentHash,
        amount: Msat,
        fee_limit: Msat,
        content: Content,
    ) -> Result<(), SendError> {
        if let Some(refusal) = self.node_mut(sender).knobs.refuse.pop_front() {
            return Err(refusal);
        }
        let fee = self.forwarding.get(&(*sender, recipient)).copied().unwrap_or_default();
        if fee > fee_limit {
            return Err(SendError::NoRoute(format!("no path to {recipient} for {} msat", fee_limit.0)));
        }
        let taken = amount.saturating_add(fee);
        let index = self.choose_channel(sender, &recipient, taken)?;
        let end = self.channels[index].end(sender).expect("the chosen channel is the sender's");
        let balance = &mut self.channels[index].balance[end];
        *balance = *balance - taken;
        let lost = self.rng.chance(self.options.loss);
        let backend = self.node_mut(sender);
        let forced = backend.knobs.fail.pop_front();
        let doomed = forced.or_else(|| lost.then_some(FailureReason::RetriesExhausted));
        let attempt = backend.payments.get(&hash).map_or(0, |older| older.attempt + 1);
        let stage = Stage::Outbound;
        backend.payments.insert(
            hash,
            Payment {
                recipient,
                amount,
                fee,
                content,
                channel: index,
                attempt,
                doomed,
                stage,
                parked: false,
            },
        );
        self.later(Step::Arrive(PaymentName { sender: *sender, hash, attempt }));
        Ok(())
    }

    fn choose_channel(&self, sender: &NodeId, recipient: &NodeId, amount: Msat) -> Result<usize, SendError> {
        let Some(payee) = self.nodes.get(recipient) else {
            return Err(SendError::NoRoute(format!("unknown node {recipient}")));
        };
        if !payee.reachable() {
            return Err(SendError::NoRoute(format!("the node {recipient} is away")));
        }
        if self.usable_channels(sender).next().is_none() {
            return Err(SendError::NoRoute("no channel of this node is usable".to_owned()));
        }
        let direct: Vec<(usize, Msat)> = self
            .usable_channels(sender)
            .filter(|(_, channel)| channel.joins(sender, recipient))
            .filter_map(|(index, channel)| Some((index, channel.balance[channel.end(sender)?])))
            .collect();
        if direct.is_empty() || self.blocked.contains(&(*sender, *recipient)) {
            return Err(SendError::NoRoute(format!("no path to {recipient}")));
        }
        let spendable = direct.iter().map(|(_, balance)| *balance).max().unwrap_or_default();
        if amount > spendable {
            return Err(SendError::InsufficientBalance { spendable, needed: amount });
        }
        direct
            .into_iter()
            .filter(|(_, balance)| amount <= *balance)
            .find(|(index, _)| self.slots_taken(sender, *index) < self.channels[*index].slots)
            .map(|(index, _)| index)
            .ok_or(SendError::Busy)
    }

    pub(super) fn room(&self, sender: &NodeId, recipient: &NodeId) -> SendRoom {
        let direct = !self.forwarding.contains_key(&(*sender, *recipient));
        let mut room = SendRoom { max_in_flight: 0, spendable: Msat::ZERO, largest: Msat::ZERO, direct };
        for (_, channel) in self.usable_channels(sender) {
            let Some(end) = channel.end(sender).filter(|_| channel.joins(sender, recipient)) else {
                continue;
            };
            room.max_in_flight += channel.slots;
            room.spendable = room.spendable.saturating_add(channel.balance[end]);
            room.largest = room.largest.max(channel.balance[end]);
        }
        room
    }

    /// A payment reaches its recipient, who takes or refuses it, unless it is held or the recipient is away.
    pub(super) fn arrive(&mut self, name: PaymentName, now: Duration) {
        let Some(stage) = self.decide(name, now) else { return };
        let Some(payment) = self.payment_mut(name) else { return };
        payment.stage = stage;
        self.later(Step::Return(name));
    }

    fn decide(&mut self, name: PaymentName, now: Duration) -> Option<Stage> {
        let payment = self.payment_mut(name)?;
        if !matches!(payment.stage, Stage::Outbound) {
            return None;
        }
        let (recipient, channel, amount) = (payment.recipient, payment.channel, payment.amount);
        let fee = payment.fee;
        let (content, doomed) = (payment.content.clone(), payment.doomed.clone());
        if !self.connected(&name.sender, &recipient) || !self.channels[channel].is_alive() {
            self.payment_mut(name)?.parked = true;
            return None;
        }
        if let Some(reason) = doomed {
            return Some(Stage::Refused(reason));
        }
        if self.held.contains(&(name.sender, recipient)) {
            self.payment_mut(name)?.stage = Stage::Held;
            return None;
        }
        let Some((preimage, kind)) = self.take(&recipient, name.hash, amount, content, now) else {
            return Some(Stage::Refused(FailureReason::RecipientRejected));
        };
        let channel = &mut self.channels[channel];
        let end = channel.end(&recipient).expect("payments go over channels of their recipient");
        channel.balance[end] = channel.balance[end].saturating_add(amount);
        self.spent = self.spent.saturating_add(fee);
        self.tell(&recipient, LightningEvent::PaymentReceived { hash: name.hash, amount, kind });
        Some(Stage::Claimed(preimage))
    }

    /// The recipient's side of a payment: nothing if it refuses.
    fn take(
        &mut self,
        recipient: &NodeId,
        hash: PaymentHash,
        amount: Msat,
        content: Content,
        now: Duration,
    ) -> Option<(Preimage, ReceivedKind)> {
        let node = self.node_mut(recipient);
        // A hash that the recipient itself has paid is refused, as LDK does: it would be a payment in a circle.
        let paid_by_itself =
            node.payments.get(&hash).is_some_and(|own| !matches!(own.stage, Stage::Failed(_)));
        if node.knobs.reject || paid_by_itself {
            return None;
        }
        match content {
            Content::Keysend { preimage, records } => {
                node.received.insert(hash).then_some((preimage, ReceivedKind::Keysend { preimage, records }))
            }
            Content::Invoice { expires_at } => {
                let invoice = node.invoices.get_mut(&hash)?;
                if invoice.paid || amount < invoice.amount || now > expires_at {
                    return None;
                }
                invoice.paid = true;
                node.received.insert(hash);
                Some((invoice.preimage, ReceivedKind::Invoice))
            }
        }
    }

    /// The recipient's answer reaches the sender.
    pub(super) fn answer(&mut self, name: PaymentName) {
        let Some(payment) = self.payment_mut(name) else { return };
        let (recipient, channel) = (payment.recipient, payment.channel);
        let closed = !self.channels[channel].is_alive();
        if closed || !self.connected(&name.sender, &recipient) {
            if let Some(payment) = self.payment_mut(name) {
                payment.parked = true;
            }
            return;
        }
        self.end(name, |world, sender, amount| {
            let channel = &mut world.channels[channel];
            if let Some(end) = channel.end(sender) {
                channel.balance[end] = channel.balance[end].saturating_add(amount);
            }
        });
        self.close_if_quiet(channel);
    }

    /// Ends a payment as its stage says; `give_back` gets what belongs to the sender again.
    fn end(&mut self, name: PaymentName, give_back: impl FnOnce(&mut Self, &NodeId, Msat)) {
        let Some(payment) = self.payment_mut(name) else { return };
        let (returned, fee) = (payment.amount_in_flight(), payment.fee);
        let event = match payment.stage.clone() {
            Stage::Claimed(preimage) => {
                payment.stage = Stage::Settled(preimage);
                LightningEvent::PaymentSettled { hash: name.hash, preimage, fee: Some(fee) }
            }
            Stage::Refused(reason) => {
                payment.stage = Stage::Failed(reason.clone());
                LightningEvent::PaymentFailed { hash: name.hash, reason }
            }
            Stage::Outbound | Stage::Held | Stage::Settled(_) | Stage::Failed(_) => return,
        };
        payment.parked = false;
        give_back(self, &name.sender, returned);
        self.tell(&name.sender, event);
    }

    /// Lets a held payment go: to the recipient, or back with a reason.
    pub(super) fn release(&mut self, hash: PaymentHash, refusal: Option<FailureReason>, now: Duration) {
        for name in self.held_payments() {
            if name.hash != hash {
                continue;
            }
            let Some(payment) = self.payment_mut(name) else { continue };
            if let Some(reason) = refusal.clone() {
                payment.stage = Stage::Refused(reason);
                self.later(Step::Return(name));
                continue;
            }
            payment.stage = Stage::Outbound;
            let recipient = payment.recipient;
            let direction = (name.sender, recipient);
            let still_held = self.held.remove(&direction);
            self.arrive(name, now);
            if still_held {
                self.held.insert(direction);
            }
        }
    }

    pub(super) fn held_payments(&self) -> Vec<PaymentName> {
        let mut held = Vec::new();
        for (sender, node) in &self.nodes {
            for (hash, payment) in &node.payments {
                if payment.stage == Stage::Held {
                    held.push(PaymentName { sender: *sender, hash: *hash, attempt: payment.attempt });
                }
            }
        }
        held
    }

    /// A block: payments in flight on closed channels fail for their senders, those too that the recipient has had.
    pub(super) fn mine(&mut self) {
        self.height += 1;
        self.confirm_onchain();
        let mut ended = Vec::new();
        for (sender, node) in &self.nodes {
            for (hash, payment) in &node.payments {
                if payment.in_flight() && self.channels[payment.channel].state == ChannelState::Closed {
                    ended.push(PaymentName { sender: *sender, hash: *hash, attempt: payment.attempt });
                }
            }
        }
        for name in ended {
            let Some(payment) = self.payment_mut(name) else { continue };
            let returned = payment.amount_in_flight();
            payment.stage = Stage::Failed(FailureReason::RetriesExhausted);
            payment.parked = false;
            let wallet = &mut self.node_mut(&name.sender).wallet;
            wallet.confirmed = wallet.confirmed.saturating_add(returned);
            let reason = FailureReason::RetriesExhausted;
            self.tell(&name.sender, LightningEvent::PaymentFailed { hash: name.hash, reason });
        }
    }
}
