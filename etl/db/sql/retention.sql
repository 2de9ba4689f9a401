-- Removes rows once they are old enough, in pages ordered by id, each a transaction.
-- Parameters: :after, the last id seen; :page, how many rows; :age, how old; and as named.

-- name: problems
-- Problems of old runs, but for those that are open: found when their object was last read. All
-- objects are of one bucket. Later pages hold no older runs than this one, up to a few images.
WITH page AS (
    SELECT problem.id, problem.key, problem.run_id, run.finished_at < now() - :age AS is_old
    FROM (SELECT id, key, run_id FROM problem WHERE id > :after ORDER BY id LIMIT :page) AS problem
    JOIN run ON run.id = problem.run_id
), gone AS (
    DELETE FROM problem USING page
    WHERE problem.id = page.id AND page.is_old
      AND NOT EXISTS (SELECT FROM source_object
                      WHERE source_object.bucket = (SELECT min(bucket) FROM source_object)
                        AND source_object.key = page.key
                        AND source_object.run_id = page.run_id)
    RETURNING problem.id
)
SELECT max(id) AS last, coalesce(bool_or(is_old), false) AS may_be_more,
       (SELECT count(*) FROM gone) AS gone
FROM page

-- name: used_runs
-- The runs that what is there came from. To an old run none is ever added.
SELECT run_id FROM users
UNION SELECT run_id FROM shadowed_row
UNION SELECT run_id FROM source_object
UNION SELECT run_id FROM publication

-- name: old_runs
-- Old runs, but for: the last ones (:kept); those whose problems are kept; those still to be
-- published; and what the next run counts from, the last that looked at the whole bucket and all
-- since.
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
-- Old events that no run needs, except the last of the source bucket (:bucket), which shows that
-- its store sends events.
WITH page AS (
    SELECT id, received_at < now() - :age AS is_old
    FROM bucket_event WHERE id > :after ORDER BY id LIMIT :page
), gone AS (
    DELETE FROM bucket_event USING page
    WHERE bucket_event.id = page.id AND page.is_old AND handled_by_run IS NOT NULL
      AND bucket_event.id IS DISTINCT FROM
          (SELECT max(id) FROM bucket_event WHERE bucket = :bucket)
    RETURNING bucket_event.id
)
SELECT max(id) AS last, coalesce(bool_or(is_old), false) AS may_be_more,
       (SELECT count(*) FROM gone) AS gone
FROM page
