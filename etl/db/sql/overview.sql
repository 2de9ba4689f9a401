-- What the overview of the installation needs; see etl.db.overview.

-- name: now
-- The time, and whether the locks of the active run and of a scheduler are held.
-- Parameters: :run, :scheduler.
WITH held AS (
    SELECT (CAST(classid AS bigint) << 32) | CAST(objid AS bigint) AS key
    FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
)
SELECT clock_timestamp() AS now,
       :run IN (SELECT key FROM held) AS has_run,
       :scheduler IN (SELECT key FROM held) AS has_scheduler

-- name: running
SELECT id, trigger, started_at, progress, cancel_requested_at
FROM run WHERE state = 'running' ORDER BY id DESC LIMIT 1

-- name: requested
SELECT EXISTS (SELECT FROM run WHERE state = 'requested')

-- name: last_ended
-- The runs that ended last; one with a low id may have ended after others.
SELECT id, outcome, finished_at, error
FROM run WHERE state IN ('succeeded', 'failed') ORDER BY id DESC LIMIT 20

-- name: last_full
-- The last full run that ended, and the last that began by the interval. A run that began at
-- interval `r` is followed by another one `ETL_INTERVAL` after `r`, at the latest.
SELECT (SELECT max(finished_at) FROM (
            SELECT finished_at FROM run WHERE trigger <> 'event' AND finished_at IS NOT NULL
            ORDER BY id DESC LIMIT 20) AS ended) AS ended_at,
       (SELECT requested_at FROM run WHERE trigger <> 'event' AND started_at IS NOT NULL
        ORDER BY id DESC LIMIT 1) AS any_at,
       (SELECT requested_at FROM run WHERE trigger = 'interval' AND started_at IS NOT NULL
        ORDER BY id DESC LIMIT 1) AS tick_at

-- name: committed
-- When the last run with a commit ended.
SELECT max(finished_at) FROM run
WHERE state = 'succeeded' OR (state = 'failed' AND dataset_counts <> '{}'::jsonb)

-- name: settled
-- When the first run after the last failed one ended.
SELECT min(finished_at) FROM run
WHERE state = 'succeeded' AND finished_at > (
    SELECT max(finished_at) FROM run
    WHERE finished_at > now() - interval '7 d' AND outcome IN ('failed', 'interrupted'))

-- name: store_failing_since
-- When the first of the runs began that the object store has failed since the last commit.
SELECT min(started_at) FROM run
WHERE state = 'failed' AND error->>'code' = 'ObjectStoreUnavailable'
  AND started_at > coalesce(CAST(:last_commit AS timestamptz), '-infinity')

-- name: unpublished
-- The newest run whose changes could not be published.
SELECT id, finished_at, error FROM run
WHERE publish_pending AND error IS NOT NULL AND state = 'succeeded'
ORDER BY id DESC LIMIT 1

-- name: datasets
-- The totals of each dataset, and of the objects of none.
SELECT dataset AS name, rows, objects, errors, problems - errors AS warnings, faulty_objects,
       changed_at
FROM dataset_tally

-- name: faulty
-- The objects with the most errors. Parameter: :limit.
SELECT bucket, key, found.dataset, error_codes AS codes, rows_read, rows_rejected,
       state = 'quarantined' AS is_refused, run_id, first_seen_at AS since
FROM (SELECT shown.*
      FROM dataset_tally AS tally
      CROSS JOIN LATERAL (
          SELECT * FROM faulty_object
          WHERE faulty_object.dataset = tally.dataset AND errors > 0
          ORDER BY errors DESC LIMIT :limit) AS shown
      WHERE tally.faulty_objects > 0) AS found
JOIN source_object USING (bucket, key)
ORDER BY errors DESC, bucket, key LIMIT :limit

-- name: waiting
-- The oldest events that no run has handled.
SELECT bucket, key, received_at FROM bucket_event
WHERE handled_by_run IS NULL ORDER BY id LIMIT 100
