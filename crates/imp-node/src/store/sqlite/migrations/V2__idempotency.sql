-- A key that a caller gave to a call that pays. The digest is that of what was asked for under it; the subject names what
-- the call began: a message's id, a payment's hash, or nothing as long as that is not known.
DROP TABLE idempotency_key;

CREATE TABLE idempotency_key (
    method         TEXT NOT NULL,
    key            TEXT NOT NULL,
    request_digest BLOB NOT NULL,
    subject        BLOB NOT NULL,
    created_ms     BIGINT NOT NULL,
    PRIMARY KEY (method, key)
);
CREATE INDEX idempotency_key_created ON idempotency_key (created_ms);
