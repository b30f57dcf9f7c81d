-- How long all contents of a run's snapshot are together; null: nobody counted. (bytes_logical was never counted: 0 in every row.)
ALTER TABLE runs ADD COLUMN logical_bytes BIGINT;
-- By how much that grew since the run of its set that counted before; null: nobody counted.
ALTER TABLE runs ADD COLUMN logical_grown BIGINT;
-- As the last run said that counted.
ALTER TABLE sets ADD COLUMN logical_bytes BIGINT;

-- How an account grew is still read off an index alone.
DROP INDEX runs_of_growth;
CREATE INDEX runs_of_growth ON runs (account_id, (started_us / 86400000000), bytes_read, bytes_stored, logical_grown);
