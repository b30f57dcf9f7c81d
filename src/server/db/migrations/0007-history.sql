-- Old jobs, runs and restores are found by their age, to be removed.
CREATE INDEX jobs_by_age ON jobs (created_us);
CREATE INDEX runs_by_age ON runs (started_us);
CREATE INDEX runs_of_job ON runs (job_id);
CREATE INDEX restores_by_age ON restores (created_us);
