-- Removes rows once they are old enough, in pages ordered by id; each page is a transaction.
-- Parameters: :after, the last id seen; :page, how many rows; :age, how old; and as named.

-- name: problems
-- Closed problems of old runs. A problem is open if its run is the last that read its object. Later
-- pages contain no older runs, except for a few images.
WITH page AS (
    SELECT problem.id, problem.bucket, problem.key, problem.run_id,
           run.finished_at < now() - :age AS is_old
    FROM (SELECT id, bucket, key, run_id FROM problem
          WHERE id > :after ORDER BY id LIMIT :page) AS problem
    JOIN run ON run.id = problem.run_id
), removed AS (
    DELETE FROM problem USING page
    WHERE problem.id = page.id AND page.is_old
      AND NOT EXISTS (SELECT FROM source_object
                      WHERE source_object.bucket = page.bucket
                        AND source_object.key = page.key
                        AND source_object.run_id = page.run_id)
    RETURNING problem.id
)
SELECT max(id) AS last, coalesce(bool_or(is_old), false) AS may_be_more,
       (SELECT count(*) FROM removed) AS removed
FROM page

-- name: used_runs
-- The runs that wrote the state. An old run never joins this list, nor that of a table.
SELECT run_id FROM source_object
UNION SELECT run_id FROM publication
UNION SELECT run_id FROM hold

-- name: data_tables
-- The tables of all datasets, also of those no longer declared, quoted. Parameter: :schema.
SELECT quote_ident(nspname) || '.' || quote_ident(relname)
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
JOIN pg_attribute ON attrelid = pg_class.oid AND attname = '_run_id' AND NOT attisdropped
WHERE nspname = :schema AND relkind = 'r' AND relname IN (
    SELECT name || suffix
    FROM (SELECT 'users' UNION SELECT declaration->>'table' FROM dataset) AS declared (name),
         unnest(ARRAY['', '_retired', '_shadowed']) AS suffix)
ORDER BY relname

-- name: old_runs
-- Old runs, except: the last :kept runs; runs with problems; runs still to be published; and the
-- last full run of each dataset and all later runs, whose counts the next run uses. A paused dataset
-- has none.
SELECT max(id) AS last, coalesce(bool_or(is_old), false) AS may_be_more,
       coalesce(array_agg(id) FILTER (WHERE is_old AND NOT is_needed), '{}') AS ids
FROM (
    SELECT id, finished_at < now() - :age AS is_old,
           publish_pending
           OR EXISTS (SELECT FROM problem WHERE problem.run_id = run.id)
           OR ((state = 'succeeded' OR dataset_counts <> '{}'::jsonb) AND finished_at >= coalesce(
               (SELECT min(last.finished_at)
                FROM (SELECT NULL UNION ALL
                      SELECT name FROM dataset WHERE declaration->>'is_paused' IS NULL)
                     AS synced (name)
                CROSS JOIN LATERAL (
                    SELECT finished_at FROM run
                    WHERE trigger <> 'event'
                      AND (state = 'succeeded'
                           OR (state = 'failed' AND dataset_counts <> '{}'::jsonb))
                      AND coalesce(synced.name <> ALL (left_out), true)
                    ORDER BY finished_at DESC LIMIT 1) AS last), '-infinity')) AS is_needed
    FROM run
    WHERE id > :after
      AND id < (SELECT min(id) FROM (SELECT id FROM run ORDER BY id DESC LIMIT :kept) AS kept)
    ORDER BY id LIMIT :page
) AS page

-- name: remove_runs
-- Parameter: :ids.
DELETE FROM run WHERE id = ANY(CAST(:ids AS bigint[]))

-- name: alerts
WITH page AS (
    SELECT id, created_at < now() - :age AS is_old,
           sent_at IS NOT NULL OR given_up_at IS NOT NULL AS is_done
    FROM alert WHERE id > :after ORDER BY id LIMIT :page
), removed AS (
    DELETE FROM alert USING page WHERE alert.id = page.id AND page.is_old AND page.is_done
    RETURNING alert.id
)
SELECT max(id) AS last, coalesce(bool_or(is_old), false) AS may_be_more,
       (SELECT count(*) FROM removed) AS removed
FROM page

-- name: events
-- Old handled events, except the last one of each source bucket, which proves that its store sends
-- events. Parameter: :bucket, that of SOURCE_BUCKET.
WITH page AS (
    SELECT id, received_at < now() - :age AS is_old
    FROM bucket_event WHERE id > :after ORDER BY id LIMIT :page
), removed AS (
    DELETE FROM bucket_event USING page
    WHERE bucket_event.id = page.id AND page.is_old AND handled_by_run IS NOT NULL
      AND NOT EXISTS (
          SELECT FROM (
              SELECT (SELECT max(id) FROM bucket_event WHERE bucket = source.bucket) AS id
              FROM (SELECT :bucket UNION SELECT declaration->>'bucket' FROM dataset)
                   AS source (bucket)
          ) AS newest WHERE newest.id = bucket_event.id)
    RETURNING bucket_event.id
)
SELECT max(id) AS last, coalesce(bool_or(is_old), false) AS may_be_more,
       (SELECT count(*) FROM removed) AS removed
FROM page

-- name: retired_tables
-- The declared datasets and their tables of retired rows, quoted. Parameter: :schema.
SELECT dataset.name, quote_ident(nspname) || '.' || quote_ident(relname) AS table_name
FROM dataset
JOIN pg_class ON relname = (declaration->>'table') || '_retired' AND relkind = 'r'
JOIN pg_namespace ON pg_namespace.oid = relnamespace AND nspname = :schema
JOIN pg_attribute ON attrelid = pg_class.oid AND attname = '_retired_at' AND NOT attisdropped
ORDER BY dataset.name

-- name: retired
-- A page of a table is a range of its blocks, which needs no index. Parameters: :first and :last,
-- the row ids of its ends; :table, as text; :age.
WITH removed AS (
    DELETE FROM {table}
    WHERE ctid >= CAST(:first AS tid) AND ctid < CAST(:last AS tid) AND _retired_at < now() - :age
    RETURNING 1
)
SELECT (SELECT count(*) FROM removed) AS removed,
       pg_relation_size(CAST(:table AS regclass))
       / CAST(current_setting('block_size') AS bigint) AS blocks

-- name: hours
-- Tallies by hour that no page shows any more; they are few. No parameters.
WITH rows AS (DELETE FROM dataset_hour WHERE hour < now() - interval '90 days' RETURNING 1),
     problems AS (DELETE FROM problem_hour WHERE hour < now() - interval '90 days' RETURNING 1),
     runs AS (DELETE FROM run_half_hour WHERE half_hour < now() - interval '90 days' RETURNING 1)
SELECT (SELECT count(*) FROM rows) + (SELECT count(*) FROM problems) + (SELECT count(*) FROM runs)
