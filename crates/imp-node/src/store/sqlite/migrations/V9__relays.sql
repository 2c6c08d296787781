-- UDP relays that are to run again when the node starts. `position` is the order in which they were started.
CREATE TABLE relay (
    position            INTEGER PRIMARY KEY AUTOINCREMENT,
    id                  BLOB NOT NULL UNIQUE,
    owner               TEXT NOT NULL,
    label               TEXT NOT NULL,
    is_default          BOOL NOT NULL,
    port1               INTEGER NOT NULL,
    port2               INTEGER NOT NULL,
    token               TEXT NOT NULL,
    require_token       BOOL NOT NULL,
    idle_secs           BIGINT NOT NULL,
    max_packets         BIGINT NOT NULL,
    max_bytes           BIGINT NOT NULL,
    max_packets_per_sec BIGINT NOT NULL,
    max_bytes_per_sec   BIGINT NOT NULL,
    started_ms          BIGINT NOT NULL,
    ends_ms             BIGINT,
    -- What has gone through of what may, and who is known on each side.
    used_packets        BIGINT NOT NULL DEFAULT 0,
    used_bytes          BIGINT NOT NULL DEFAULT 0,
    source1             TEXT,
    is_firm1            BOOL,
    learned1_ms         BIGINT,
    heard1_ms           BIGINT,
    reached1            TEXT,
    source2             TEXT,
    is_firm2            BOOL,
    learned2_ms         BIGINT,
    heard2_ms           BIGINT,
    reached2            TEXT
);
CREATE UNIQUE INDEX relay_default ON relay (is_default) WHERE is_default;

-- Relays that other nodes offered are looked up by the event's id.
CREATE INDEX journal_socket ON journal (id) WHERE service = 'socket';
