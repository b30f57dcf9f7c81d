-- The keys of clients: each has one of its own in each repository that it writes to, so that it can be taken away alone.
CREATE TABLE client_keys (
    client_id TEXT NOT NULL REFERENCES clients (id),
    repository_id TEXT NOT NULL REFERENCES repositories (id),
    -- The key slot's id in the repository.
    slot TEXT NOT NULL,
    -- Sealed: a key that adds, and opens no contents.
    secret TEXT NOT NULL,
    PRIMARY KEY (client_id, repository_id)
);

CREATE INDEX jobs_of_client ON jobs (client_id, state);
