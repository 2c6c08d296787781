//! What the node's own messages cost.

use imp_core::id::NodeId;
use imp_core::time::UnixMillis;
use rusqlite::{Connection, params};

use super::super::row;
use crate::store::StoreError;
use crate::store::outbox::AnswerCost;

/// What a message costs: what was paid, where all of that is known, and else what it may cost at most.
const COST: &str = "CASE WHEN ended_ms IS NOT NULL AND NOT EXISTS (SELECT 1 FROM outbox_attempt
     WHERE message_id = outbox_message.id AND state <> 'failed' AND (state <> 'settled' OR fee_msat IS NULL))
     THEN (SELECT coalesce(sum(amount_msat + fee_msat), 0) FROM outbox_attempt
     WHERE message_id = outbox_message.id AND state = 'settled') ELSE answer_msat END";

pub(super) fn cost(
    connection: &Connection,
    since: UnixMillis,
    recipient: NodeId,
) -> Result<AnswerCost, StoreError> {
    let sql = format!(
        "SELECT coalesce(sum(CASE WHEN recent THEN cost END), 0) AS in_all,
         coalesce(sum(CASE recipient WHEN ?2 THEN cost END), 0) AS to_one FROM (
         SELECT recipient, accepted_ms >= ?1 AS recent, {COST} AS cost FROM outbox_message
         WHERE answer_msat IS NOT NULL AND ended_ms IS NULL
         UNION ALL SELECT recipient, TRUE, {COST} FROM outbox_message
         WHERE answer_msat IS NOT NULL AND ended_ms >= ?1)"
    );
    let mut query = connection.prepare_cached(&sql)?;
    let mut rows = query.query(params![row::int(since.0), recipient.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(AnswerCost::default()) };
    Ok(AnswerCost { in_all: row::msat(row, "in_all")?, to_one: row::msat(row, "to_one")? })
}
