-- The most that each payment of a message may pay to forwarding nodes; null for what the configuration says.
ALTER TABLE outbox_message ADD COLUMN fee_limit_msat BIGINT;

-- The payment that brought a part; null for parts that an earlier version took.
ALTER TABLE inbox_chunk ADD COLUMN payment_hash BLOB;

-- What came in for the VPN and waits for it. `position` is the order in which it came.
CREATE TABLE vpn_inbound (
    position     INTEGER PRIMARY KEY AUTOINCREMENT,
    payment_hash BLOB NOT NULL UNIQUE,
    sender       BLOB NOT NULL,
    message_id   BLOB NOT NULL,
    reply_to     TEXT NOT NULL,
    text         TEXT NOT NULL,
    amount_msat  BIGINT NOT NULL,
    at_ms        BIGINT NOT NULL,
    repeated     BOOL NOT NULL
);

-- This node's key as a seller.
CREATE TABLE vpn_server (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    private_key BLOB NOT NULL
);

-- In the tables below, `json` is the row as imp-core knows it; beside it stands what is searched for.

-- Quotes that this node gave.
CREATE TABLE vpn_offer (
    nonce TEXT PRIMARY KEY,
    json  TEXT NOT NULL
);

-- Contracts that this node sold. `over_ms` is when its time ended, or else when it was made.
CREATE TABLE vpn_contract (
    nonce   TEXT PRIMARY KEY,
    buyer   BLOB NOT NULL,
    state   TEXT NOT NULL,
    is_open BOOL NOT NULL,
    made_ms BIGINT NOT NULL,
    over_ms BIGINT NOT NULL,
    json    TEXT NOT NULL
);
CREATE INDEX vpn_contract_made ON vpn_contract (made_ms, nonce, state, buyer);
CREATE INDEX vpn_contract_over ON vpn_contract (is_open, over_ms);

-- What buyers paid. `position` is the order in which it was taken.
CREATE TABLE vpn_payment (
    position     INTEGER PRIMARY KEY AUTOINCREMENT,
    payment_hash BLOB NOT NULL UNIQUE,
    nonce        TEXT NOT NULL,
    state        TEXT NOT NULL,
    is_open      BOOL NOT NULL,
    at_ms        BIGINT NOT NULL,
    json         TEXT NOT NULL
);
CREATE INDEX vpn_payment_state ON vpn_payment (position, state);
CREATE INDEX vpn_payment_nonce ON vpn_payment (nonce, position);
CREATE INDEX vpn_payment_at ON vpn_payment (is_open, at_ms);

-- Quotes of other nodes.
CREATE TABLE vpn_quote (
    nonce TEXT PRIMARY KEY,
    json  TEXT NOT NULL
);

-- Contracts that this node bought. The private key stands before the rest, so that it never gets to a page of its own, of
-- which something might be left when it goes; in `json` it is missing.
CREATE TABLE vpn_purchase (
    nonce       TEXT PRIMARY KEY,
    private_key BLOB,
    seller      BLOB NOT NULL,
    state       TEXT NOT NULL,
    made_ms     BIGINT NOT NULL,
    over_ms     BIGINT NOT NULL,
    json        TEXT NOT NULL
);
CREATE INDEX vpn_purchase_made ON vpn_purchase (made_ms, nonce, state, seller);
