-- Removes rows once they are old enough, in pages ordered by id; each page is a transaction.
-- Parameters: :after, the last id seen; :page, how many rows; :age, how old; and as named.

-- name: problems
-- Closed problems of old runs. A problem is open if its run is the last that read its object. All
-- objects are in one bucket. Later pages contain no older runs, except for a few images.
WITH page AS (
    SELECT problem.id, problem.key, problem.run_id, run.finished_at < now() - :age AS is_old
    FROM (SELECT id, key, run_id FROM problem WHERE id > :after ORDER BY id LIMIT :page) AS problem
    JOIN run ON run.id = problem.run_id
), removed AS (
    DELETE FROM problem USING page
    WHERE problem.id = page.id AND page.is_old
      AND NOT EXISTS (SELECT FROM source_object
                      WHERE source_object.bucket = (SELECT min(bucket) FROM source_object)
                        AND source_object.key = page.key
                        AND source_object.run_id = page.run_id)
    RETURNING problem.id
)
SELECT max(id) AS last, coalesce(bool_or(is_old), false) AS may_be_more,
       (SELECT count(*) FROM removed) AS removed
FROM page

-- name: used_runs
-- The runs that wrote the current data. An old run never joins this list.
SELECT run_id FROM users
UNION SELECT run_id FROM shadowed_row
UNION SELECT run_id FROM source_object
UNION SELECT run_id FROM publication

-- name: old_runs
-- Old runs, except: the last :kept runs; runs with problems; runs still to be published; and the
-- last full run and all later runs, whose counts the next run uses.
SELECT max(id) AS last, coalesce(bool_or(is_old), false) AS may_be_more,
       coalesce(array_agg(id) FILTER (WHERE is_old AND NOT is_needed), '{}') AS ids
FROM (
    SELECT id, finished_at < now() - :age AS is_old,
           publish_pending
           OR EXISTS (SELECT FROM problem WHERE problem.run_id = run.id)
           OR (state = 'succeeded' AND finished_at >= coalesce(
               (SELECT max(finished_at) FROM run WHERE trigger <> 'event' AND state = 'succeeded'),
               '-infinity')) AS is_needed
    FROM run
    WHERE id > :after
      AND id < (SELECT min(id) FROM (SELECT id FROM run ORDER BY id DESC LIMIT :kept) AS kept)
    ORDER BY id LIMIT :page
) AS page

-- name: remove_runs
-- Parameter: :ids.
DELETE FROM run WHERE id = ANY(CAST(:ids AS bigint[]))

-- name: events
-- Old handled events, except the last one of the source bucket (:bucket), which proves that its
-- store sends events.
WITH page AS (
    SELECT id, received_at < now() - :age AS is_old
    FROM bucket_event WHERE id > :after ORDER BY id LIMIT :page
), removed AS (
    DELETE FROM bucket_event USING page
    WHERE bucket_event.id = page.id AND page.is_old AND handled_by_run IS NOT NULL
      AND bucket_event.id IS DISTINCT FROM
          (SELECT max(id) FROM bucket_event WHERE bucket = :bucket)
    RETURNING bucket_event.id
)
SELECT max(id) AS last, coalesce(bool_or(is_old), false) AS may_be_more,
       (SELECT count(*) FROM removed) AS removed
FROM page
