-- It was 0 in every row; logical_bytes is what is counted.
ALTER TABLE runs DROP COLUMN bytes_logical;
