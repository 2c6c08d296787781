-- What this node sends by itself, and what it may cost at most, fees included.
ALTER TABLE outbox_message ADD COLUMN answer_msat BIGINT;
CREATE INDEX outbox_message_answer ON outbox_message (ended_ms, recipient) WHERE answer_msat IS NOT NULL;

-- One id is one message, whichever service it belongs to. Until now only texts were taken.
ALTER TABLE inbox_payment ADD COLUMN service TEXT;
UPDATE inbox_payment SET service = 'message' WHERE outcome = 'taken';

-- Messages that came in and were not published, without their texts. `position` is the order in which they would have been.
CREATE TABLE withheld_message (
    position   INTEGER PRIMARY KEY AUTOINCREMENT,
    sender     BLOB NOT NULL,
    message_id BLOB NOT NULL,
    service    TEXT NOT NULL,
    amount_sat BIGINT NOT NULL,
    bytes      BIGINT NOT NULL,
    reason     TEXT NOT NULL,
    at_ms      BIGINT NOT NULL
);
CREATE INDEX withheld_message_sender ON withheld_message (sender, position);

-- How many of each sender there were, also those that are no longer listed. `position` is that of the last one.
CREATE TABLE withheld_sender (
    sender   BLOB PRIMARY KEY,
    count    BIGINT NOT NULL,
    position BIGINT NOT NULL
);
CREATE INDEX withheld_sender_position ON withheld_sender (position);
