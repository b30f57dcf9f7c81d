-- Who signed in to a tenant that is one user's own account, and what became of that.
ALTER TABLE tenants ADD COLUMN user_id TEXT;
ALTER TABLE tenants ADD COLUMN user_name TEXT;
ALTER TABLE tenants ADD COLUMN signed_in_us BIGINT;
-- JSON: why the sign-in no longer goes on, and what to do; null: it goes on.
ALTER TABLE tenants ADD COLUMN refused TEXT;
ALTER TABLE tenants ADD COLUMN refused_us BIGINT;
-- Who renews the sign-in just now, and until when nobody else does.
ALTER TABLE tenants ADD COLUMN holder TEXT;
ALTER TABLE tenants ADD COLUMN held_until_us BIGINT NOT NULL DEFAULT 0;
-- When an administrator consented at Microsoft, and who of ours asked for it.
ALTER TABLE tenants ADD COLUMN consented_us BIGINT;
ALTER TABLE tenants ADD COLUMN consented_by TEXT;

-- Sign-ins and consents that have begun and wait for somebody at Microsoft. They live for minutes, and each is good once.
CREATE TABLE sign_ins (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    -- Null: a consent for a tenant that is yet to be connected.
    tenant_id TEXT REFERENCES tenants (id),
    -- "redirect", "device-code", "paste", "consent".
    kind TEXT NOT NULL,
    -- The session or token that began it: nobody else sees it, or ends it.
    way TEXT NOT NULL,
    -- Sealed JSON: what is needed to end it.
    secret TEXT NOT NULL,
    -- "open", "taken", "done", "failed".
    state TEXT NOT NULL,
    -- JSON: what came of it.
    outcome TEXT,
    created_us BIGINT NOT NULL,
    expires_us BIGINT NOT NULL,
    -- When Microsoft may be asked again whether it was done.
    ask_us BIGINT NOT NULL,
    -- How long is waited between two questions.
    wait_us BIGINT NOT NULL
);
CREATE INDEX sign_ins_old ON sign_ins (expires_us);
