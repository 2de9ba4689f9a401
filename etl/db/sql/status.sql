-- The figures of the `status` command. No parameters.

-- name: users
-- From the tallies, which have no row before the first run.
SELECT coalesce(max(rows), 0) AS live, coalesce(max(attached), 0) AS with_image,
       coalesce(max(retired), 0) AS retired, coalesce(max(shadowed), 0) AS shadowed_rows,
       coalesce(max(objects), 0) AS objects
FROM dataset_tally WHERE dataset = 'users'

-- name: objects
SELECT count(*) AS known,
       count(*) FILTER (WHERE kind = 'data') AS data,
       count(*) FILTER (WHERE kind = 'image') AS image,
       count(*) FILTER (WHERE kind = 'other') AS other,
       count(*) FILTER (WHERE state = 'quarantined') AS quarantined
FROM source_object

-- name: images
SELECT count(*) FILTER (WHERE state = 'ready') AS ready,
       count(*) FILTER (WHERE state = 'corrupt') AS corrupt,
       count(*) FILTER (WHERE state = 'too-large') AS too_large,
       count(*) FILTER (WHERE state = 'unsupported') AS unsupported
FROM image

-- name: open_problems
-- Problems found when each object was last read.
SELECT code, CAST(sum(problems) AS bigint) AS count
FROM problem_tally WHERE problems > 0
GROUP BY code ORDER BY code

-- name: last_runs
SELECT id, trigger, state, started_at, finished_at, published_at, error, counts
FROM run ORDER BY id DESC LIMIT 5

-- name: output
SELECT name, etag, run_id, published_at FROM publication WHERE name = 'output.csv'

-- name: holds
-- Retirements that wait for permission.
SELECT dataset, run_id, opened_at, rows, live,
       (SELECT count(*) FROM held_object WHERE held_object.dataset = hold.dataset) AS objects
FROM hold
ORDER BY dataset

-- name: of_dataset
-- Parameter: :name.
SELECT coalesce(max(objects), 0) AS objects, coalesce(max(problems), 0) AS problems
FROM dataset_tally WHERE dataset = :name

-- name: existing
-- Which of the tables exist. Parameters: :schema, :names.
SELECT relname FROM pg_class
WHERE relnamespace = to_regnamespace(quote_ident(:schema))
  AND relname = ANY (CAST(:names AS text[]))

-- name: failing_datasets
-- Datasets that a run did not commit, and no later one did. A full run syncs every dataset that it
-- does not leave out, an event run those with changed objects. No parameters.
SELECT DISTINCT ON (name) name, failed.id, failed.finished_at, failed.error
FROM run AS failed
CROSS JOIN LATERAL unnest(string_to_array(failed.error->'facts'->>'failed', ', ')) AS name
WHERE failed.state = 'failed' AND failed.dataset_counts <> '{}'::jsonb
  AND failed.error->>'code' = 'DatasetsFailed'
  AND failed.finished_at > coalesce(
      (SELECT finished_at FROM run
       WHERE state = 'succeeded' AND trigger <> 'event' AND left_out = '{}'
       ORDER BY finished_at DESC LIMIT 1), '-infinity')
  AND NOT EXISTS (
      SELECT FROM run AS later
      WHERE (later.state = 'succeeded'
             OR (later.state = 'failed' AND later.dataset_counts <> '{}'::jsonb))
        AND later.finished_at > failed.finished_at AND name <> ALL (later.left_out)
        AND (later.trigger <> 'event'
             OR (SELECT sum(CAST(counted.value AS bigint))
                 FROM jsonb_each_text(later.dataset_counts->name) AS counted
                 WHERE counted.key IN ('objects_added', 'objects_modified', 'objects_removed')
                ) > 0))
ORDER BY name, failed.finished_at DESC
