-- Whether a channel closed since a payment was begun is counted: the clock may be set between the two.
INSERT INTO meta (key, value)
    SELECT 'outbox.channel_closes', 1 FROM meta WHERE key = 'outbox.channel_closed_ms';

ALTER TABLE outbox_attempt ADD COLUMN closes_at_begin BIGINT NOT NULL DEFAULT 0;
UPDATE outbox_attempt SET closes_at_begin = 1
    WHERE begun_ms > (SELECT value FROM meta WHERE key = 'outbox.channel_closed_ms');

ALTER TABLE payment ADD COLUMN closes_at_begin BIGINT NOT NULL DEFAULT 0;
UPDATE payment SET closes_at_begin = 1
    WHERE begun_ms > (SELECT value FROM meta WHERE key = 'outbox.channel_closed_ms');

DELETE FROM meta WHERE key = 'outbox.channel_closed_ms';
