//! Texts in memory. Up to 20,000 messages may be open, of up to 432 kB each: what waits for its turn keeps its text only
//! while there is room, and reads it from the store again otherwise. For messages that had their turn, the queues keep
//! account ([`super::turns::Room`]).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Inner;
use super::plan::Plan;
use crate::error::Error;
use crate::store::outbox::OutboxMessage;

/// What semaphores count.
const UNIT_BYTES: usize = 1 << 10;

/// What a message and each of its parts take beside the text, about.
const COST_BYTES: usize = 512;
const PART_COST_BYTES: usize = 32;

/// How much may be in memory.
#[derive(Debug)]
pub(super) struct Texts {
    max_units: u32,
    waiting: Arc<Semaphore>,
    looked_at: Arc<Semaphore>,
}

/// The text of a message that waits for its turn.
pub(super) enum Text {
    /// In memory, with what it takes to send it.
    Here { body: Arc<[u8]>, plan: Plan, _share: OwnedSemaphorePermit },
    /// In the store alone.
    Stored,
}

impl Texts {
    /// So many bytes that wait for their turn, and as many that are looked at for what is to be done.
    pub(super) fn new(max_bytes: usize) -> Self {
        let max_units = u32::try_from(max_bytes / UNIT_BYTES).unwrap_or(u32::MAX);
        let semaphore = || Arc::new(Semaphore::new(max_units as usize));
        Self { max_units, waiting: semaphore(), looked_at: semaphore() }
    }

    /// Keeps a text that is stored until its turn, if there is room.
    pub(super) fn keep(&self, body: Arc<[u8]>, plan: Plan) -> Text {
        let units = units(body.len(), plan.parts());
        match Arc::clone(&self.waiting).try_acquire_many_owned(units) {
            Ok(share) => Text::Here { body, plan, _share: share },
            Err(_) => Text::Stored,
        }
    }

    /// Waits until a message may be read, with `copies` of its text. Whoever holds this waits for nothing that has no end.
    pub(super) async fn look_at(&self, message: &OutboxMessage, copies: usize) -> OwnedSemaphorePermit {
        let bytes = message.text_bytes().saturating_mul(copies);
        // One that takes more than there is takes all.
        let units = units(bytes, message.parts).min(self.max_units);
        Arc::clone(&self.looked_at).acquire_many_owned(units).await.expect("the semaphore is never closed")
    }
}

impl OutboxMessage {
    /// What its text takes in memory.
    pub(super) fn text_bytes(&self) -> usize {
        usize::try_from(self.body_bytes).unwrap_or(usize::MAX)
    }
}

impl Inner {
    /// The text and the parts of a message whose turn it is.
    pub(super) async fn text(&self, message: &OutboxMessage, text: Text) -> Result<(Arc<[u8]>, Plan), Error> {
        if let Text::Here { body, plan, .. } = text {
            return Ok((body, plan));
        }
        let Some(body) = self.store.message_body(message.id).await? else {
            return Err(Error::internal("failed: the message was let go"));
        };
        let plan = Plan::of_message(message, &body)?;
        Ok((body.into(), plan))
    }
}

/// What a message takes.
fn units(bytes: usize, parts: u16) -> u32 {
    let bytes = bytes.saturating_add(usize::from(parts) * PART_COST_BYTES + COST_BYTES);
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan::of(b"text", "", 1).unwrap()
    }

    #[test]
    fn a_text_stays_in_memory_while_there_is_room_and_makes_room_when_it_goes() {
        let texts = Texts::new(64 << 20);
        let mut kept = Vec::new();
        let body: Arc<[u8]> = vec![0; 400_000].into();
        let held = loop {
            match texts.keep(Arc::clone(&body), plan()) {
                Text::Stored => break kept.len(),
                text @ Text::Here { .. } => kept.push(text),
            }
        };
        assert_eq!(held, 167);
        kept.pop();
        assert!(matches!(texts.keep(body, plan()), Text::Here { .. }));
    }
}
