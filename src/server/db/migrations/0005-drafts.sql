-- Backup sets that somebody began to describe and has not made yet: one a person and account. Nothing secret is in them.
CREATE TABLE drafts (
    account_id TEXT NOT NULL REFERENCES accounts (id),
    person_id TEXT NOT NULL REFERENCES people (id),
    -- JSON: what was typed, by the names of the fields.
    content TEXT NOT NULL,
    changed_us BIGINT NOT NULL,
    PRIMARY KEY (account_id, person_id)
);
CREATE INDEX drafts_of_person ON drafts (person_id);
CREATE INDEX drafts_old ON drafts (changed_us);
