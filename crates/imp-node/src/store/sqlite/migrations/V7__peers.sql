-- Other nodes of which this one remembers something.
CREATE TABLE peer (
    node                  BLOB PRIMARY KEY,
    name                  TEXT NOT NULL,
    imp_id                TEXT NOT NULL,
    state                 TEXT NOT NULL,
    asked_by              TEXT,
    standing              TEXT,
    since_ms              BIGINT NOT NULL,
    until_ms              BIGINT,
    lasts_secs            BIGINT NOT NULL,
    renew_at_ms           BIGINT,
    blocked               BOOL NOT NULL,
    last_seen_ms          BIGINT,
    -- What was set for it; null where its standing says it.
    own_messages          BOOL,
    own_sockets           BOOL,
    own_vpn_quotes        BOOL,
    own_min_message_sat   BIGINT,
    -- What this node may do there; null where it did not say.
    terms_messages        BOOL,
    terms_sockets         BOOL,
    terms_vpn_quotes      BOOL,
    terms_min_message_sat BIGINT,
    -- Its request that waits for the owner, and for how long it wants to federate.
    to_decide             BLOB,
    wished_secs           BIGINT NOT NULL,
    -- What was before this node asked.
    before_state          TEXT,
    before_asked_by       TEXT,
    before_since_ms       BIGINT
);
CREATE UNIQUE INDEX peer_name ON peer (name) WHERE name <> '';

-- What this node asked its peers and was not answered.
CREATE TABLE peer_ask (
    node       BLOB NOT NULL,
    position   INTEGER NOT NULL,
    message_id BLOB NOT NULL,
    is_renewal BOOL NOT NULL,
    told       BOOL NOT NULL,
    crossed    BOOL NOT NULL,
    PRIMARY KEY (node, position)
);
