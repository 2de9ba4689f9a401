-- Lists of runs, and what belongs to one run.

-- name: eventful
-- Runs, newest first. Parameters, each of which may be null: :outcome, :trigger, :dataset, :before;
-- :folds, whether event runs of which nothing has to be seen are left out; :limit.
SELECT id, trigger, state, requested_at, started_at, finished_at, counts, error, published_at,
       step_seconds, step_rows, step_spans, dataset_counts, coalesce(outcome, state) AS outcome
FROM run
WHERE (CAST(:before AS bigint) IS NULL OR id < :before)
  AND (CAST(:trigger AS text) IS NULL OR trigger = :trigger)
  AND (CAST(:outcome AS text) IS NULL OR coalesce(outcome, state) = :outcome)
  AND (CAST(:dataset AS text) IS NULL OR EXISTS (
      SELECT FROM jsonb_each_text(dataset_counts->:dataset) AS counted
      WHERE counted.key NOT IN ('live', 'attached') AND counted.value <> '0'))
  AND (NOT :folds OR NOT uneventful)
ORDER BY id DESC LIMIT :limit

-- name: folded
-- The event runs in each gap between two ids that are listed; those of earlier versions have fewer
-- counters. Parameters: arrays :after and :before; the first of :before may be null.
SELECT found.*
FROM unnest(CAST(:after AS bigint[]), CAST(:before AS bigint[])) WITH ORDINALITY
    AS gap (after, before, place)
CROSS JOIN LATERAL (
    SELECT count(*) AS runs, min(id) AS first_id, max(id) AS last_id, min(started_at) AS first_at,
           max(finished_at) AS last_at, avg(finished_at - started_at) AS took,
           coalesce(sum(added + modified + removed), 0) AS objects,
           coalesce(sum(rows_read), 0) AS rows_read,
           coalesce(sum(inserted + updated + restored + retired), 0) AS rows_changed
    FROM run CROSS JOIN LATERAL (
        SELECT coalesce(CAST(counts->>'objects_added' AS bigint), 0) AS added,
               coalesce(CAST(counts->>'objects_modified' AS bigint), 0) AS modified,
               coalesce(CAST(counts->>'objects_removed' AS bigint), 0) AS removed,
               coalesce(CAST(counts->>'rows_read' AS bigint), 0) AS rows_read,
               coalesce(CAST(counts->>'rows_inserted' AS bigint), 0) AS inserted,
               coalesce(CAST(counts->>'rows_updated' AS bigint), 0) AS updated,
               coalesce(CAST(counts->>'rows_restored' AS bigint), 0) AS restored,
               coalesce(CAST(counts->>'rows_retired' AS bigint), 0) AS retired
    ) AS counted
    WHERE id > gap.after AND id < coalesce(gap.before, 9223372036854775807) AND uneventful
) AS found
ORDER BY place

-- name: before
-- The live rows by dataset after the commit before that of a run. Parameter: :finished_at.
SELECT dataset_counts FROM run
WHERE (state = 'succeeded' OR (state = 'failed' AND dataset_counts <> '{}'::jsonb))
  AND finished_at < :finished_at
ORDER BY finished_at DESC LIMIT 1

-- name: recovered
-- The first full run that succeeded after a run. Parameter: :finished_at.
SELECT id, finished_at FROM run
WHERE state = 'succeeded' AND trigger <> 'event' AND finished_at > :finished_at
ORDER BY finished_at LIMIT 1
