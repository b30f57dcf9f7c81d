-- What the runs of each day came to: how a year was is read off a few rows, however many runs there were.
CREATE TABLE run_days (
    account_id TEXT NOT NULL REFERENCES accounts (id),
    -- The day they began, since 1970-01-01 UTC.
    day BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    many BIGINT NOT NULL,
    bytes_read BIGINT NOT NULL,
    bytes_stored BIGINT NOT NULL,
    -- null: no run counted.
    logical_grown BIGINT,
    PRIMARY KEY (account_id, day, outcome)
);
INSERT INTO run_days (account_id, day, outcome, many, bytes_read, bytes_stored, logical_grown)
    SELECT account_id, started_us / 86400000000, outcome, COUNT(*), SUM(bytes_read), SUM(bytes_stored), SUM(logical_grown)
    FROM runs GROUP BY account_id, started_us / 86400000000, outcome;
DROP INDEX runs_of_day;
DROP INDEX runs_of_growth;

-- As the last run said that did not fail; null: there was none.
ALTER TABLE sets ADD COLUMN items BIGINT;
ALTER TABLE sets ADD COLUMN gaps BIGINT;
UPDATE sets SET
    items = (SELECT r.items FROM runs r WHERE r.set_id = sets.id AND r.outcome <> 'failed' ORDER BY r.started_us DESC LIMIT 1),
    gaps = (SELECT r.gaps FROM runs r WHERE r.set_id = sets.id AND r.outcome <> 'failed' ORDER BY r.started_us DESC LIMIT 1);
