//! What a message takes: its chunks, what is paid for each, and whether the node can pay it.

use std::ops::Range;
use std::time::Duration;

use imp_api::error::Code;
use imp_core::amount::Msat;
use imp_core::delivery::{Delivery, PartState};
use imp_core::id::NodeId;
use imp_core::wire::envelope::ReplyTo;
use imp_core::wire::split::{split, spread};
use imp_lightning::{LightningError, LightningNode, SendRoom};

use super::{Draft, Inner};
use crate::error::Error;
use crate::store::outbox::OutboxMessage;

/// How long a send waits for channels to come back: peers that restart are dialled within a second or two.
const ROOM_PATIENCE: Duration = Duration::from_secs(3);

/// How often it looks meanwhile.
const ROOM_POLL: Duration = Duration::from_millis(100);

/// The parts of a message: where each stands in the body, and what is paid for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) reply_to: Option<ReplyTo>,
    chunks: Vec<Range<usize>>,
    amounts: Vec<Msat>,
    /// The message's own limit for each payment.
    fee_limit: Option<Msat>,
}

impl Plan {
    /// The parts of a draft.
    pub(super) fn new(draft: &Draft) -> Result<Self, Error> {
        let plan = Self::of(&draft.body, &draft.reply_to, draft.amount_sat)?;
        Ok(Self { fee_limit: draft.fee_limit, ..plan })
    }

    /// The parts of a message that was accepted: the same as when it was.
    pub(super) fn of_message(message: &OutboxMessage, body: &[u8]) -> Result<Self, Error> {
        let plan = Self::of(body, &message.reply_to, message.amount_sat)?;
        if plan.parts() != message.parts {
            return Err(Error::internal(format!(
                "the text that is kept of {} takes {} payments, and {} were accepted",
                message.id,
                plan.parts(),
                message.parts
            )));
        }
        Ok(Self { fee_limit: message.fee_limit, ..plan })
    }

    pub(super) fn of(body: &[u8], reply_to: &str, amount_sat: u64) -> Result<Self, Error> {
        let reply_to = ReplyTo::parse(reply_to).map_err(|error| Error::invalid("reply_to_id", error))?;
        let mut end = 0;
        let chunks: Vec<_> = split(body, reply_to.as_ref())
            .map_err(|error| Error::invalid("msg", error))?
            .into_iter()
            .map(|chunk| {
                let start = end;
                end += chunk.len();
                start..end
            })
            .collect();
        let amount_sat = if amount_sat == 0 { chunks.len() as u64 } else { amount_sat };
        let amounts = spread(amount_sat, chunks.len()).map_err(|error| Error::invalid("amount", error))?;
        Ok(Self { reply_to, chunks, amounts, fee_limit: None })
    }

    /// How many parts there are; 1 for a single payment.
    pub(super) fn parts(&self) -> u16 {
        self.chunks.len() as u16
    }

    /// What all parts are paid together.
    pub(super) fn amount_sat(&self) -> u64 {
        self.amount().to_sat_floor()
    }

    /// What each part is paid.
    pub(super) fn amounts(&self) -> &[Msat] {
        &self.amounts
    }

    /// The most that each payment may pay to forwarding nodes, where the message says it.
    pub(super) const fn fee_limit(&self) -> Option<Msat> {
        self.fee_limit
    }

    /// What a part is paid.
    pub(super) fn amount_of(&self, part: u16) -> Msat {
        self.amounts[usize::from(part)]
    }

    /// Where a part stands in the body.
    pub(super) fn chunk(&self, part: u16) -> Range<usize> {
        self.chunks[usize::from(part)].clone()
    }

    fn amount(&self) -> Msat {
        self.amounts.iter().copied().sum()
    }

    /// What is to be paid for each part that is not paid yet.
    fn missing(&self, delivery: &Delivery) -> Vec<Msat> {
        let parts = self.amounts.iter().zip(delivery.parts());
        parts.filter(|(_, part)| **part != PartState::Settled).map(|(amount, _)| *amount).collect()
    }
}

impl Inner {
    /// Whether the node can pay what is missing of a message now, before anything is paid.
    pub(super) async fn check_room(
        &self,
        recipient: &NodeId,
        plan: &Plan,
        delivery: &Delivery,
    ) -> Result<(), Error> {
        let room = self.room(recipient).await?;
        self.turns.set_limit(*recipient, room.max_in_flight, room.direct);
        let missing = plan.missing(delivery);
        // A direct channel forwards nothing.
        let fees = if room.direct { Msat::default() } else { self.fees(plan.fee_limit, &missing) };
        let needed = missing.iter().copied().sum::<Msat>().saturating_add(fees);
        if room.spendable < needed {
            return Err(too_little(format!(
                "not enough balance: {} sat are needed, fees included, and {} sat can be sent now",
                needed.to_sat_ceil(),
                room.spendable.to_sat_floor()
            )));
        }
        let largest = missing.into_iter().max().unwrap_or_default();
        if room.largest < largest {
            return Err(too_little(format!(
                "{} sat in one payment are more than the channels carry now, {} sat",
                largest.to_sat_ceil(),
                room.largest.to_sat_floor()
            )));
        }
        Ok(())
    }

    pub(super) async fn room(&self, recipient: &NodeId) -> Result<SendRoom, Error> {
        room(&*self.node, recipient).await
    }
}

/// How much `node` can send to a recipient. Waits a little for channels to come back.
pub(crate) async fn room(node: &dyn LightningNode, recipient: &NodeId) -> Result<SendRoom, Error> {
    let until = tokio::time::Instant::now() + ROOM_PATIENCE;
    loop {
        let room = node.send_room(recipient).await.map_err(unavailable)?;
        if room.max_in_flight > 0 {
            return Ok(room);
        }
        if tokio::time::Instant::now() >= until {
            return Err(Error::new(
                Code::Unavailable,
                "NO_ROUTE",
                "no route: this node has no channel that is usable now, because it has none or their peers are away",
            ));
        }
        tokio::time::sleep(ROOM_POLL).await;
    }
}

/// The node has too little for a payment.
pub(crate) fn too_little(message: String) -> Error {
    Error::new(Code::FailedPrecondition, "INSUFFICIENT_BALANCE", message)
}

/// The Lightning node could not be asked.
pub(super) fn unavailable(error: LightningError) -> Error {
    match error {
        LightningError::Unavailable(_) => Error::unavailable(error.to_string()),
        error => Error::internal(error.to_string()),
    }
}
