-- Texts stand in a table of their own: a message's row changes with each payment for it, and lists look at many rows.
CREATE TABLE outbox_body (
    position INTEGER PRIMARY KEY REFERENCES outbox_message (position),
    body     BLOB NOT NULL
);
INSERT INTO outbox_body (position, body) SELECT position, body FROM outbox_message;

ALTER TABLE outbox_message ADD COLUMN body_bytes BIGINT NOT NULL DEFAULT 0;
UPDATE outbox_message SET body_bytes = length(body);
ALTER TABLE outbox_message DROP COLUMN body;

-- The call that brought it can be repeated.
ALTER TABLE outbox_message ADD COLUMN has_key BOOL NOT NULL DEFAULT FALSE;
-- What goes with `error`: the code and the reason that callers get.
ALTER TABLE outbox_message ADD COLUMN error_code INTEGER;
ALTER TABLE outbox_message ADD COLUMN error_reason TEXT;

-- Lists: of what is not settled, and of a recipient; the others are looked through from the newest on.
CREATE INDEX outbox_message_not_settled ON outbox_message (position) WHERE state <> 'settled';
CREATE INDEX outbox_message_recipient ON outbox_message (recipient, position);
-- What is old enough to be let go.
CREATE INDEX outbox_message_ended ON outbox_message (ended_ms) WHERE ended_ms IS NOT NULL;

-- How a message's parts stand is read from the index alone.
DROP INDEX outbox_attempt_message;
CREATE INDEX outbox_attempt_message ON outbox_attempt (message_id, part, state, fee_msat);
