-- Times are Unix milliseconds, keys and hashes raw bytes.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
);

-- State of the embedded Lightning node.
CREATE TABLE blob (
    namespace  TEXT NOT NULL,
    subspace   TEXT NOT NULL,
    key        TEXT NOT NULL,
    value      BLOB NOT NULL,
    PRIMARY KEY (namespace, subspace, key)
);

-- What this node sends. `position` is the order of acceptance.
CREATE TABLE outbox_message (
    position      INTEGER PRIMARY KEY AUTOINCREMENT,
    id            BLOB NOT NULL UNIQUE,
    service       TEXT NOT NULL,
    record_type   BIGINT NOT NULL,
    recipient     BLOB NOT NULL,
    body          BLOB NOT NULL,
    reply_to      TEXT NOT NULL,
    amount_sat    BIGINT NOT NULL,
    parts         INTEGER NOT NULL,
    unordered     BOOL NOT NULL,
    state         TEXT NOT NULL,
    stream        BIGINT,
    seq           BIGINT,
    error         TEXT,
    accepted_ms   BIGINT NOT NULL,
    ended_ms      BIGINT,
    keep_until_ms BIGINT
);
CREATE INDEX outbox_message_open ON outbox_message (position) WHERE ended_ms IS NULL;

CREATE TABLE outbox_attempt (
    payment_hash BLOB PRIMARY KEY,
    message_id   BLOB NOT NULL REFERENCES outbox_message (id),
    part         INTEGER NOT NULL,
    preimage     BLOB NOT NULL,
    envelope     BLOB NOT NULL,
    amount_msat  BIGINT NOT NULL,
    state        TEXT NOT NULL,
    reason       TEXT,
    fee_msat     BIGINT,
    begun_ms     BIGINT NOT NULL,
    ended_ms     BIGINT
);
CREATE INDEX outbox_attempt_message ON outbox_attempt (message_id);

-- A key that a caller gave to a call that pays, and what was asked for under it.
CREATE TABLE idempotency_key (
    method     TEXT NOT NULL,
    key        TEXT NOT NULL,
    request    BLOB NOT NULL,
    message_id BLOB NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (method, key)
);

-- Every payment that brought a record of ours. `raw` holds what this version cannot read.
CREATE TABLE inbox_payment (
    payment_hash BLOB PRIMARY KEY,
    record_type  BIGINT NOT NULL,
    amount_msat  BIGINT NOT NULL,
    received_ms  BIGINT NOT NULL,
    outcome      TEXT NOT NULL,
    sender       BLOB,
    message_id   BLOB,
    part         INTEGER,
    raw          BLOB
);
CREATE UNIQUE INDEX inbox_payment_part ON inbox_payment (sender, message_id, part) WHERE outcome = 'taken';
CREATE INDEX inbox_payment_received ON inbox_payment (received_ms);

-- Messages that are not published yet: parts are missing (`held_ms` is null), or an earlier message is.
CREATE TABLE inbox_message (
    sender      BLOB NOT NULL,
    message_id  BLOB NOT NULL,
    service     TEXT NOT NULL,
    part_count  INTEGER NOT NULL,
    stream      BIGINT NOT NULL,
    seq         BIGINT NOT NULL,
    floor_back  INTEGER NOT NULL,
    unordered   BOOL NOT NULL,
    reply_to    TEXT NOT NULL,
    begun_ms    BIGINT NOT NULL,
    held_ms     BIGINT,
    PRIMARY KEY (sender, message_id)
);

CREATE TABLE inbox_chunk (
    sender     BLOB NOT NULL,
    message_id BLOB NOT NULL,
    part       INTEGER NOT NULL,
    amount_msat BIGINT NOT NULL,
    chunk      BLOB NOT NULL,
    PRIMARY KEY (sender, message_id, part)
);

-- How far the messages of a sender and service are published, as the state machine of the order wrote it.
CREATE TABLE inbox_order (
    sender   BLOB NOT NULL,
    service  TEXT NOT NULL,
    snapshot TEXT NOT NULL,
    PRIMARY KEY (sender, service)
);

-- Events, in the order in which subscribers get them.
CREATE TABLE journal (
    cursor      INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms       BIGINT NOT NULL,
    id          TEXT NOT NULL,
    reply_to    TEXT NOT NULL,
    from_pubkey BLOB NOT NULL,
    service     TEXT NOT NULL,
    data        TEXT NOT NULL,
    amount_sat  BIGINT NOT NULL,
    late        BOOL NOT NULL
);

-- Things that are only counted.
CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
