-- Payments that calls of the API made, beside those that carry messages. `position` is the order in which they were
-- begun; one that failed and is begun again takes a new one.
CREATE TABLE payment (
    position       INTEGER PRIMARY KEY AUTOINCREMENT,
    payment_hash   BLOB NOT NULL UNIQUE,
    kind           TEXT NOT NULL,
    payee          BLOB NOT NULL,
    amount_msat    BIGINT NOT NULL,
    fee_limit_msat BIGINT NOT NULL,
    fee_msat       BIGINT,
    -- Of a keysend from the beginning: without it, one that may never have gone could not be sent again.
    preimage       BLOB,
    invoice        TEXT,
    state          TEXT NOT NULL,
    error          TEXT,
    begun_ms       BIGINT NOT NULL,
    ended_ms       BIGINT
);
CREATE INDEX payment_state ON payment (state, position);

-- Invoices that calls of the API made.
CREATE TABLE invoice (
    position     INTEGER PRIMARY KEY AUTOINCREMENT,
    payment_hash BLOB NOT NULL UNIQUE,
    invoice      TEXT NOT NULL,
    amount_sat   BIGINT NOT NULL,
    memo         TEXT NOT NULL,
    created_ms   BIGINT NOT NULL,
    expires_ms   BIGINT NOT NULL,
    paid_ms      BIGINT,
    paid_msat    BIGINT
);
CREATE INDEX invoice_paid ON invoice (position) WHERE paid_ms IS NOT NULL;
CREATE INDEX invoice_unpaid ON invoice (position) WHERE paid_ms IS NULL;
CREATE INDEX invoice_unpaid_expiry ON invoice (expires_ms, position) WHERE paid_ms IS NULL;

-- Keysends that brought no record of ours and were told to subscribers. Kept as long as the Lightning node may tell of
-- one a second time.
CREATE TABLE keysend_received (
    payment_hash BLOB PRIMARY KEY,
    received_ms  BIGINT NOT NULL
);
CREATE INDEX keysend_received_ms ON keysend_received (received_ms);
