-- How long all contents of a run's snapshot are together; null: nobody counted. (bytes_logical was never counted: 0 in every row.)
ALTER TABLE runs ADD COLUMN logical_bytes BIGINT;
-- By how much that grew since the run of its set that counted before; null: nobody counted.
ALTER TABLE runs ADD COLUMN logical_grown BIGINT;
-- As the last run said that counted.
ALTER TABLE sets ADD COLUMN logical_bytes BIGINT;
