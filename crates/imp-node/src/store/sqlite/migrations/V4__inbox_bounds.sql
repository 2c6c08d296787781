-- What no payment came for is found, and let go, without a look at every row.
CREATE INDEX inbox_payment_unread ON inbox_payment (received_ms) WHERE outcome = 'unread';

ALTER TABLE inbox_order ADD COLUMN moved_ms BIGINT NOT NULL DEFAULT 0;
UPDATE inbox_order SET moved_ms = unixepoch() * 1000;
CREATE INDEX inbox_order_moved ON inbox_order (moved_ms);
