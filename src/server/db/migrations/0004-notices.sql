-- Where reports and notices of an account go.
CREATE TABLE receivers (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    -- JSON: what kind it is, and what it is told of. Nothing secret.
    definition TEXT NOT NULL,
    -- Sealed JSON: the address that is called, and what is signed with.
    secret TEXT,
    created_us BIGINT NOT NULL,
    -- When its digest, or its ping, is due; null: it has none.
    next_us BIGINT,
    -- Until when the last digest told.
    told_us BIGINT NOT NULL,
    UNIQUE (account_id, name)
);
CREATE INDEX receivers_due ON receivers (next_us);

-- What is to be sent: tried again until it is sent or given up.
CREATE TABLE outbox (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    receiver_id TEXT NOT NULL REFERENCES receivers (id),
    -- What it tells of; nobody is told of one event twice.
    event TEXT NOT NULL,
    -- JSON.
    notice TEXT NOT NULL,
    -- "waiting", "sent", "given-up".
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    created_us BIGINT NOT NULL,
    next_us BIGINT NOT NULL,
    ended_us BIGINT,
    -- Why it was not sent yet.
    error TEXT,
    UNIQUE (receiver_id, event)
);
CREATE INDEX outbox_waiting ON outbox (state, next_us);
CREATE INDEX outbox_of_account ON outbox (account_id, created_us);

-- Whether whoever wanted to know was told how a job ended.
ALTER TABLE jobs ADD COLUMN noticed BIGINT NOT NULL DEFAULT 0;
CREATE INDEX jobs_unnoticed ON jobs (ended_us) WHERE noticed = 0 AND ended_us IS NOT NULL;

-- What an account stored on each day (days since 1970 UTC), from which is told when it will be full.
CREATE TABLE stored_days (
    account_id TEXT NOT NULL REFERENCES accounts (id),
    day BIGINT NOT NULL,
    stored_bytes BIGINT NOT NULL,
    PRIMARY KEY (account_id, day)
);

-- What waits or runs is looked for among all that ever ran.
CREATE INDEX jobs_open ON jobs (account_id) WHERE state IN ('queued', 'running');
