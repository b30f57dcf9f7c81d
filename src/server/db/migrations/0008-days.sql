-- What the runs of each day came to is told by the index alone.
DROP INDEX runs_of_account;
CREATE INDEX runs_of_account ON runs (account_id, started_us, outcome, bytes_stored);
