-- The staging tables of one run, which processes on other machines fill; see etl.sync.run_tables.
-- {object}, {problem}, {claim} and {staged} are tables, filled in by that module.

-- name: create
-- `batch` is a batch of changes, and `tag` the transaction that staged it, which is the xmin of its
-- rows. `result` is null if the batch was given up.
CREATE UNLOGGED TABLE {object} (LIKE staging_object);
CREATE UNLOGGED TABLE {problem} (LIKE staging_problem);
CREATE UNLOGGED TABLE {claim} (batch integer PRIMARY KEY, tag xid NOT NULL, result jsonb)

-- name: claim
-- Decides which attempt to read a batch counts: the first whose transaction commits. Others wait
-- for it, then write nothing. Returns the batches claimed. Parameters: :batches, :result.
INSERT INTO {claim} (batch, tag, result)
SELECT batch, CAST(pg_current_xact_id() AS xid), CAST(:result AS jsonb)
FROM unnest(CAST(:batches AS integer[])) AS batch
ON CONFLICT DO NOTHING
RETURNING batch

-- name: discard
-- Remove the rows of one object in the staging table of its dataset. The batches that staged them
-- are given up. Parameters: :key, :batches.
WITH removed AS (DELETE FROM {staged} WHERE _source_key = :key)
UPDATE {claim} SET result = NULL WHERE batch = ANY (CAST(:batches AS integer[]))

-- name: claimed
SELECT result FROM {claim} WHERE batch = :batch

-- name: unlike
-- A batch whose rows in the staging table of a dataset are not as many as it claimed, or rows that
-- no batch claimed. Parameters: :dataset.
SELECT claimed.batch, coalesce(claimed.rows, 0) AS claimed, coalesce(staged.rows, 0) AS staged
FROM (SELECT batch, tag, CAST(result -> 'rows' ->> :dataset AS bigint) AS rows
      FROM {claim} WHERE result IS NOT NULL) AS claimed
FULL JOIN (SELECT xmin AS tag, count(*) AS rows FROM {staged} GROUP BY xmin) AS staged USING (tag)
WHERE coalesce(claimed.rows, 0) <> coalesce(staged.rows, 0)
LIMIT 1

-- name: collect
-- The objects and problems of one bucket, for the merge. Parameters: :bucket.
WITH problems AS (
    INSERT INTO staging_problem SELECT * FROM {problem} WHERE bucket = :bucket
), objects AS (
    INSERT INTO staging_object SELECT * FROM {object} WHERE bucket = :bucket RETURNING 1
)
SELECT count(*) FROM objects

-- name: end_attempts
-- End the sessions of attempts that still use these tables; they do not count any more.
-- Parameters: :tables, :reader.
SELECT count(*) FILTER (WHERE pg_terminate_backend(pid))
FROM (SELECT DISTINCT pid
      FROM pg_locks JOIN pg_class ON pg_class.oid = relation JOIN pg_stat_activity USING (pid)
      WHERE pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND relnamespace = to_regnamespace(quote_ident(current_schema()))
        AND relname = ANY (CAST(:tables AS text[]))
        AND application_name = :reader AND usename = current_user) AS attempt
