-- What failed last, of all that ever failed; and the newest of what keeps a repository in order.
CREATE INDEX jobs_failed ON jobs (account_id, ended_us) WHERE state = 'failed';
CREATE INDEX jobs_of_check ON jobs (account_id, ended_us) WHERE state = 'gaps' AND kind = 'check';
CREATE INDEX jobs_of_repository ON jobs (repository_id, kind, created_us) WHERE kind IN ('prune', 'check', 'mirror');

-- How an account grew is read off an index too.
CREATE INDEX runs_of_growth ON runs (account_id, (started_us / 86400000000), bytes_read, bytes_stored);

-- JSON: what of the tenant's budgets was used when a job last told; and when that was.
ALTER TABLE tenants ADD COLUMN budget TEXT;
ALTER TABLE tenants ADD COLUMN budget_us BIGINT;
