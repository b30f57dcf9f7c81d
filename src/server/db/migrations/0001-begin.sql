-- Times are microseconds since 1970 UTC (BIGINT); ids and JSON are text; yes and no are 1 and 0. One text for SQLite and PostgreSQL.

CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- A customer: what belongs to it, others never see.
CREATE TABLE accounts (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_us BIGINT NOT NULL,
    -- What may be protected; null: as much as there is.
    most_mailboxes BIGINT,
    most_drives BIGINT,
    most_sites BIGINT,
    most_bytes BIGINT
);

CREATE TABLE people (
    id TEXT PRIMARY KEY,
    -- Null: an administrator of the server.
    account_id TEXT REFERENCES accounts (id),
    login TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    -- Argon2id; null: has never chosen one.
    password TEXT,
    -- Sealed.
    totp TEXT,
    totp_on BIGINT NOT NULL DEFAULT 0,
    -- The time step of the last code, which is not taken twice.
    totp_step BIGINT NOT NULL DEFAULT 0,
    created_us BIGINT NOT NULL,
    disabled BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX people_of_account ON people (account_id);

-- Invitations and the link of the first administrator: used once.
CREATE TABLE invitations (
    name TEXT PRIMARY KEY,
    person_id TEXT REFERENCES people (id),
    expires_us BIGINT NOT NULL
);

CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    person_id TEXT NOT NULL REFERENCES people (id),
    created_us BIGINT NOT NULL,
    seen_us BIGINT NOT NULL,
    expires_us BIGINT NOT NULL,
    address TEXT NOT NULL,
    agent TEXT NOT NULL
);
CREATE INDEX sessions_of_person ON sessions (person_id);

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    person_id TEXT NOT NULL REFERENCES people (id),
    label TEXT NOT NULL,
    created_us BIGINT NOT NULL,
    used_us BIGINT,
    expires_us BIGINT
);
CREATE INDEX tokens_of_person ON tokens (person_id);

-- Sign-in attempts that failed, by login and by address.
CREATE TABLE throttle (
    name TEXT PRIMARY KEY,
    failures BIGINT NOT NULL,
    until_us BIGINT NOT NULL
);

CREATE TABLE tenants (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    -- JSON: how to reach it, without secrets.
    definition TEXT NOT NULL,
    -- Sealed: the app's secret or private key; a user's refresh token.
    secret TEXT,
    created_us BIGINT NOT NULL,
    -- JSON: what the last test found.
    state TEXT,
    checked_us BIGINT,
    UNIQUE (account_id, name)
);

CREATE TABLE repositories (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    -- The id that stands in the repository itself.
    repository TEXT NOT NULL,
    -- Sealed: a key that adds and prunes, and opens no contents.
    write_key TEXT NOT NULL,
    -- Sealed: the owner's, where the account chose so.
    owner_key TEXT,
    created_us BIGINT NOT NULL,
    -- The owner has typed back a part of the key.
    confirmed BIGINT NOT NULL DEFAULT 0,
    stored_bytes BIGINT NOT NULL DEFAULT 0,
    UNIQUE (account_id, name)
);

-- Where a repository lies; further ones are replicas of it.
CREATE TABLE destinations (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    repository_id TEXT NOT NULL REFERENCES repositories (id),
    name TEXT NOT NULL,
    url TEXT NOT NULL,
    -- Sealed JSON: name to secret.
    credentials TEXT,
    position BIGINT NOT NULL,
    created_us BIGINT NOT NULL,
    lag TEXT,
    UNIQUE (account_id, name)
);

CREATE TABLE clients (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    -- The name of its token; null: not enrolled yet.
    token TEXT UNIQUE,
    -- The name of the one-time code, and until when it is good.
    code TEXT UNIQUE,
    code_expires_us BIGINT,
    created_us BIGINT NOT NULL,
    seen_us BIGINT,
    version TEXT,
    most_bytes BIGINT,
    UNIQUE (account_id, name)
);

CREATE TABLE sets (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    repository_id TEXT NOT NULL REFERENCES repositories (id),
    name TEXT NOT NULL,
    -- JSON: what is protected, how it is read, how long it is kept.
    definition TEXT NOT NULL,
    -- The client that runs it; null: the server.
    client_id TEXT REFERENCES clients (id),
    enabled BIGINT NOT NULL DEFAULT 1,
    created_us BIGINT NOT NULL,
    -- Of the last run that ended.
    last_state TEXT,
    last_us BIGINT,
    last_good_us BIGINT,
    UNIQUE (account_id, name)
);
CREATE INDEX sets_of_account ON sets (account_id);

CREATE TABLE schedules (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    set_id TEXT NOT NULL REFERENCES sets (id),
    cron TEXT NOT NULL,
    zone TEXT NOT NULL,
    -- Up to so many seconds later, each time by chance.
    jitter_s BIGINT NOT NULL,
    -- A run that was missed while nothing ran is caught up.
    catch_up BIGINT NOT NULL,
    -- When it is due; null: never again, or its set is not enabled.
    next_us BIGINT
);
CREATE INDEX schedules_due ON schedules (next_us);
CREATE INDEX schedules_of_set ON schedules (set_id);

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    kind TEXT NOT NULL,
    set_id TEXT REFERENCES sets (id),
    tenant_id TEXT REFERENCES tenants (id),
    repository_id TEXT REFERENCES repositories (id),
    -- Whose machine does it; null: a worker of the server.
    client_id TEXT REFERENCES clients (id),
    -- JSON: what the kind needs.
    arguments TEXT NOT NULL,
    -- "queued", "running", "done", "gaps", "failed", "cancelled", "missed".
    state TEXT NOT NULL,
    -- Who asked: "schedule", or a login.
    asked_by TEXT NOT NULL,
    created_us BIGINT NOT NULL,
    run_after_us BIGINT NOT NULL,
    started_us BIGINT,
    ended_us BIGINT,
    attempts BIGINT NOT NULL DEFAULT 0,
    worker TEXT,
    lease_until_us BIGINT,
    cancel BIGINT NOT NULL DEFAULT 0,
    -- JSON: how far it is.
    progress TEXT,
    -- JSON: what came of it.
    outcome TEXT,
    error TEXT
);
CREATE INDEX jobs_waiting ON jobs (state, run_after_us);
CREATE INDEX jobs_of_account ON jobs (account_id, created_us);
CREATE INDEX jobs_of_set ON jobs (set_id, created_us);

-- The facts of each run of a backup set, as its repository keeps them too.
CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    set_id TEXT NOT NULL REFERENCES sets (id),
    job_id TEXT REFERENCES jobs (id),
    started_us BIGINT NOT NULL,
    ended_us BIGINT NOT NULL,
    -- "complete", "gaps", "interrupted", "failed".
    outcome TEXT NOT NULL,
    error TEXT,
    snapshot TEXT,
    items BIGINT NOT NULL,
    items_added BIGINT NOT NULL,
    items_changed BIGINT NOT NULL,
    items_removed BIGINT NOT NULL,
    collections BIGINT NOT NULL,
    gaps BIGINT NOT NULL,
    bytes_logical BIGINT NOT NULL,
    bytes_read BIGINT NOT NULL,
    bytes_new BIGINT NOT NULL,
    bytes_stored BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    throttled BIGINT NOT NULL,
    -- JSON: microseconds waited, by what for.
    waits TEXT NOT NULL,
    -- JSON: the first gaps.
    gap_list TEXT NOT NULL
);
CREATE INDEX runs_of_set ON runs (set_id, started_us);
CREATE INDEX runs_of_account ON runs (account_id, started_us);

-- What was done, chained by hashes: see `audit`.
CREATE TABLE audit (
    number BIGINT PRIMARY KEY,
    at_us BIGINT NOT NULL,
    account_id TEXT,
    actor TEXT NOT NULL,
    address TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE INDEX audit_of_account ON audit (account_id, number);
