-- Restores: what was asked for, its plan, its journal; and the keys that jobs were lent.

CREATE TABLE restores (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    -- Where from, and where to. Either may be gone later: no reference.
    repository_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    snapshot TEXT NOT NULL,
    -- Sealed JSON: the paths, to whom, how.
    asked TEXT NOT NULL,
    asked_by TEXT NOT NULL,
    created_us BIGINT NOT NULL,
    -- The jobs: each is the last one of its kind.
    plan_job TEXT NOT NULL,
    run_job TEXT,
    undo_job TEXT,
    -- The name of the run; null: there is no plan yet.
    run TEXT,
    -- Sealed JSON: the plan without its steps.
    head TEXT,
    -- JSON: how many steps of each kind, what they cost.
    counts TEXT
);
CREATE INDEX restores_of_account ON restores (account_id, created_us);

-- The steps of a plan, so many in a row: sealed, packed JSON.
CREATE TABLE restore_steps (
    restore_id TEXT NOT NULL REFERENCES restores (id),
    number BIGINT NOT NULL,
    steps TEXT NOT NULL,
    PRIMARY KEY (restore_id, number)
);

-- The journal of a run, lines together as they came. The number keeps two that go on with one run apart.
CREATE TABLE restore_journal (
    restore_id TEXT NOT NULL REFERENCES restores (id),
    number BIGINT NOT NULL,
    lines TEXT NOT NULL,
    -- The job and which beginning of it: what is written twice for a lost answer is told from what another wrote.
    written_by TEXT NOT NULL,
    PRIMARY KEY (restore_id, number)
);

-- Sealed: the owner's key, lent to a job by somebody who had it unlocked, for the life of the job.
CREATE TABLE job_keys (
    job_id TEXT PRIMARY KEY REFERENCES jobs (id),
    sealed TEXT NOT NULL
);

-- Sealed: the secret or private key of the app that restores, where it is another than the one that backs up.
ALTER TABLE tenants ADD COLUMN restore_secret TEXT;
