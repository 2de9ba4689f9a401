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
SELECT id, trigger, state, started_at, finished_at, error, dataset_counts <> '{}'::jsonb AS has_counts
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
-- What the last run with a commit counted.
SELECT finished_at, dataset_counts FROM run
WHERE state = 'succeeded' OR (state = 'failed' AND dataset_counts <> '{}'::jsonb)
ORDER BY finished_at DESC LIMIT 1

-- name: settled
-- When the first run after the last failed one ended.
SELECT min(finished_at) FROM run
WHERE state = 'succeeded' AND finished_at > (
    SELECT finished_at FROM run WHERE state = 'failed' AND error->>'code' <> 'RunCanceled'
    ORDER BY id DESC LIMIT 1)

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

-- name: objects
SELECT dataset AS name, count(*) AS objects FROM source_object
WHERE dataset IS NOT NULL GROUP BY dataset

-- name: problems
SELECT problem.dataset AS name,
       count(*) FILTER (WHERE severity = 'error') AS errors,
       count(*) FILTER (WHERE severity <> 'error') AS warnings
FROM problem JOIN source_object USING (bucket, key, run_id)
GROUP BY problem.dataset

-- name: faulty
-- The objects with open errors: the first :limit, those with the most rejected rows first, and how
-- many there are in all.
WITH faulty AS (
    SELECT bucket, key, run_id, source_object.dataset, source_object.state, rows_read,
           rows_rejected, count(*) AS errors
    FROM problem JOIN source_object USING (bucket, key, run_id)
    WHERE severity = 'error'
    GROUP BY bucket, key, run_id, source_object.dataset, source_object.state, rows_read,
             rows_rejected
)
SELECT shown.*, run.finished_at,
       (SELECT count(*) FROM faulty) AS total,
       (SELECT json_agg(json_build_array(code, count) ORDER BY count DESC, code)
        FROM (SELECT code, count(*) AS count FROM problem
              WHERE problem.key = shown.key AND problem.bucket = shown.bucket
                AND problem.run_id = shown.run_id AND severity = 'error'
              GROUP BY code) AS by_code) AS codes
FROM (SELECT * FROM faulty
      ORDER BY state = 'quarantined' DESC, errors DESC, bucket, key LIMIT :limit) AS shown
JOIN run ON run.id = shown.run_id
ORDER BY shown.state = 'quarantined' DESC, shown.errors DESC, shown.bucket, shown.key

-- name: waiting
-- The oldest events that no run has handled.
SELECT bucket, key, received_at FROM bucket_event
WHERE handled_by_run IS NULL ORDER BY id LIMIT 100
