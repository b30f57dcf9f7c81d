-- What the runs of each day came to is read off an index, day by day, and neither sorted nor looked up row by row.
CREATE INDEX runs_of_day ON runs (account_id, (started_us / 86400000000), outcome, bytes_stored);
