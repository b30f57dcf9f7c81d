-- The slot of the server's own key; null: it was not noted yet.
ALTER TABLE repositories ADD COLUMN own_slot TEXT;
-- JSON: keys that were removed, so that no process goes on with what it opened by one of them.
ALTER TABLE repositories ADD COLUMN gone_keys TEXT;

-- Repositories that were taken off the list and lie in the server's own storage still, in folders of these names.
CREATE TABLE left_behind (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    name TEXT NOT NULL,
    -- The id that stands in the repository itself.
    repository TEXT NOT NULL,
    stored_bytes BIGINT NOT NULL,
    removed_us BIGINT NOT NULL
);
CREATE INDEX left_behind_of_account ON left_behind (account_id);
