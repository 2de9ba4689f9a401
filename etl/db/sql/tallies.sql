-- Tallies, updated in the transaction that changes what they count; see etl.db.tallies.
-- Parameters: as named.

-- name: lock
-- Each transaction that counts problems or rows takes this lock first, as the last thing before its commit, so
-- that it sees what others have counted. Parameter: :lock.
SELECT pg_advisory_xact_lock(:lock)

-- name: staged
-- The objects that a run has changed. No parameters.
SELECT bucket, key FROM staging_object WHERE change <> 'left'

-- name: named
-- Parameters: :bucket, :keys.
SELECT CAST(:bucket AS text) AS bucket, key FROM unnest(CAST(:keys AS text[])) AS named (key)

-- name: count_problems
-- Counts the problems of some objects again: {touched} selects bucket and key. What differs from
-- the last time changes the tallies.
WITH touched AS MATERIALIZED ({touched}),
known AS MATERIALIZED (
    SELECT faulty.* FROM touched JOIN faulty_object AS faulty USING (bucket, key)
),
counted AS MATERIALIZED (
    SELECT bucket, key, coalesce(source_object.dataset, '') AS dataset, code,
           CASE severity WHEN 'error' THEN 'error' ELSE 'warning' END AS severity,
           count(*) AS problems
    FROM touched JOIN source_object USING (bucket, key) JOIN problem USING (bucket, key, run_id)
    GROUP BY 1, 2, 3, 4, 5
),
found AS (
    SELECT bucket, key, dataset,
           coalesce(sum(problems) FILTER (WHERE severity = 'error'), 0) AS errors,
           coalesce(sum(problems) FILTER (WHERE severity = 'warning'), 0) AS warnings,
           coalesce(jsonb_object_agg(code, problems) FILTER (WHERE severity = 'error'), '{}')
           AS error_codes,
           coalesce(jsonb_object_agg(code, problems) FILTER (WHERE severity = 'warning'), '{}')
           AS warning_codes
    FROM counted GROUP BY bucket, key, dataset
),
cleared AS (
    DELETE FROM faulty_object AS faulty USING known
    WHERE faulty.bucket = known.bucket AND faulty.key = known.key
      AND NOT EXISTS (SELECT FROM counted
                      WHERE counted.bucket = known.bucket AND counted.key = known.key)
),
written AS (
    INSERT INTO faulty_object AS faulty (bucket, key, dataset, errors, warnings, error_codes,
                                         warning_codes, first_seen_at)
    SELECT bucket, key, dataset, errors, warnings, error_codes, warning_codes, now()
    FROM found ORDER BY bucket, key
    ON CONFLICT (bucket, key) DO UPDATE SET
        dataset = excluded.dataset, errors = excluded.errors, warnings = excluded.warnings,
        error_codes = excluded.error_codes, warning_codes = excluded.warning_codes
    WHERE (faulty.dataset, faulty.errors, faulty.warnings, faulty.error_codes,
           faulty.warning_codes)
          IS DISTINCT FROM (excluded.dataset, excluded.errors, excluded.warnings,
                            excluded.error_codes, excluded.warning_codes)
),
differences AS MATERIALIZED (
    SELECT dataset, code, severity, sum(problems) AS problems, sum(objects) AS objects
    FROM (SELECT bucket, key, dataset, code, severity, problems, 1 AS objects FROM counted
          UNION ALL
          SELECT bucket, key, dataset, code, severity, - problems, -1
          FROM known CROSS JOIN LATERAL (
              SELECT key AS code, 'error' AS severity, CAST(value AS bigint) AS problems
              FROM jsonb_each_text(error_codes)
              UNION ALL
              SELECT key, 'warning', CAST(value AS bigint) FROM jsonb_each_text(warning_codes)
          ) AS former
    ) AS parts
    GROUP BY bucket, key, dataset, code, severity
    HAVING sum(problems) <> 0
),
changes AS MATERIALIZED (
    SELECT dataset, code, severity, sum(problems) AS problems, sum(objects) AS objects,
           coalesce(sum(problems) FILTER (WHERE problems > 0), 0) AS opened,
           coalesce(sum(- problems) FILTER (WHERE problems < 0), 0) AS closed
    FROM differences GROUP BY dataset, code, severity
),
by_code AS (
    INSERT INTO problem_tally AS tally (dataset, code, severity, problems, objects, first_seen_at,
                                        last_seen_at, closed_at)
    SELECT dataset, code, severity, problems, objects, now(), now(),
           CASE WHEN closed > 0 THEN now() END
    FROM changes ORDER BY dataset, code, severity
    ON CONFLICT (dataset, code, severity) DO UPDATE SET
        problems = tally.problems + excluded.problems,
        objects = tally.objects + excluded.objects,
        first_seen_at = CASE WHEN tally.problems = 0 THEN now() ELSE tally.first_seen_at END,
        last_seen_at = CASE WHEN excluded.problems > 0 THEN now() ELSE tally.last_seen_at END,
        closed_at = coalesce(excluded.closed_at, tally.closed_at)
),
by_hour AS (
    INSERT INTO problem_hour AS tally (dataset, hour, code, opened, closed)
    SELECT dataset, date_trunc('hour', now(), 'UTC'), code, sum(opened), sum(closed)
    FROM changes GROUP BY dataset, code ORDER BY dataset, code
    ON CONFLICT (dataset, hour, code) DO UPDATE SET
        opened = tally.opened + excluded.opened, closed = tally.closed + excluded.closed
)
INSERT INTO dataset_tally AS tally (dataset, problems, errors, faulty_objects)
SELECT dataset, sum(problems), sum(errors), sum(faulty)
FROM (SELECT dataset, problems, CASE severity WHEN 'error' THEN problems ELSE 0 END AS errors,
             0 AS faulty
      FROM changes
      UNION ALL
      SELECT dataset, 0, 0, 1 FROM found WHERE errors > 0
      UNION ALL
      SELECT dataset, 0, 0, -1 FROM known WHERE errors > 0) AS parts
GROUP BY dataset ORDER BY dataset
ON CONFLICT (dataset) DO UPDATE SET
    problems = tally.problems + excluded.problems, errors = tally.errors + excluded.errors,
    faulty_objects = tally.faulty_objects + excluded.faulty_objects

-- name: ended
-- Runs that have just ended. Parameter: :ids.
SELECT id, trigger, outcome, error, started_at, finished_at
FROM run WHERE id = ANY (CAST(:ids AS bigint[]))

-- name: end_runs
-- Counts runs: {ended} ends or selects them.
WITH ended AS ({ended}),
counted AS (
    SELECT id, trigger, outcome, coalesce(error->>'code', '') AS error, finished_at,
           coalesce(extract(epoch FROM finished_at - started_at), 0) AS seconds
    FROM ended
), by_half_hour AS (
    INSERT INTO run_half_hour AS tally (half_hour, outcome, runs, slowest_seconds, slowest_run)
    SELECT to_timestamp(floor(extract(epoch FROM finished_at) / 1800) * 1800) AS half_hour,
           outcome, count(*), max(seconds), (array_agg(id ORDER BY seconds DESC, id))[1]
    FROM counted GROUP BY half_hour, outcome
    ON CONFLICT (half_hour, outcome) DO UPDATE SET
        runs = tally.runs + excluded.runs,
        slowest_seconds = greatest(tally.slowest_seconds, excluded.slowest_seconds),
        slowest_run = CASE WHEN excluded.slowest_seconds > tally.slowest_seconds
                           THEN excluded.slowest_run ELSE tally.slowest_run END
), by_outcome AS (
    INSERT INTO run_total AS tally (trigger, outcome, error, runs, seconds, last_at)
    SELECT trigger, outcome, error, count(*), sum(seconds), max(finished_at)
    FROM counted GROUP BY trigger, outcome, error
    ON CONFLICT (trigger, outcome, error) DO UPDATE SET
        runs = tally.runs + excluded.runs, seconds = tally.seconds + excluded.seconds,
        last_at = greatest(tally.last_at, excluded.last_at)
)

-- name: add_rows
-- Goes on from `end_runs` of one run: what it did to the rows and objects of datasets. Parameter:
-- :changes, a JSON array with an element per dataset: totals `rows` and `attached`, and differences.
, changes AS (
    SELECT changes.*, id, finished_at,
           rows_inserted + rows_updated + rows_restored + rows_retired > 0 AS is_change
    FROM jsonb_to_recordset(CAST(:changes AS jsonb)) AS changes (
             dataset text, rows bigint, attached bigint, retired bigint, shadowed bigint,
             objects bigint, rows_read bigint, rows_inserted bigint, rows_updated bigint,
             rows_restored bigint, rows_retired bigint, rows_rejected bigint), ended
), by_hour AS (
    INSERT INTO dataset_hour AS tally (dataset, hour, rows, rows_read, rows_inserted, rows_updated,
                                       rows_restored, rows_retired, rows_rejected)
    SELECT dataset, date_trunc('hour', finished_at, 'UTC'), rows, rows_read, rows_inserted,
           rows_updated, rows_restored, rows_retired, rows_rejected
    FROM changes WHERE is_change OR rows_read > 0
    ON CONFLICT (dataset, hour) DO UPDATE SET
        rows = excluded.rows, rows_read = tally.rows_read + excluded.rows_read,
        rows_inserted = tally.rows_inserted + excluded.rows_inserted,
        rows_updated = tally.rows_updated + excluded.rows_updated,
        rows_restored = tally.rows_restored + excluded.rows_restored,
        rows_retired = tally.rows_retired + excluded.rows_retired,
        rows_rejected = tally.rows_rejected + excluded.rows_rejected
)
UPDATE dataset_tally AS tally SET
    rows = changes.rows, attached = changes.attached,
    retired = tally.retired + changes.retired, shadowed = tally.shadowed + changes.shadowed,
    objects = tally.objects + changes.objects,
    rows_read = tally.rows_read + changes.rows_read,
    rows_inserted = tally.rows_inserted + changes.rows_inserted,
    rows_updated = tally.rows_updated + changes.rows_updated,
    rows_restored = tally.rows_restored + changes.rows_restored,
    rows_retired = tally.rows_retired + changes.rows_retired,
    rows_rejected = tally.rows_rejected + changes.rows_rejected,
    run_id = CASE WHEN is_change THEN id ELSE tally.run_id END,
    changed_at = CASE WHEN is_change THEN finished_at ELSE tally.changed_at END
FROM changes WHERE changes.dataset = tally.dataset

-- name: count_objects
-- Counts the objects of all datasets. No parameters.
WITH found AS (
    SELECT coalesce(dataset, '') AS dataset, count(*) AS objects FROM source_object GROUP BY 1
), none AS (
    UPDATE dataset_tally SET objects = 0
    WHERE objects <> 0 AND dataset NOT IN (SELECT dataset FROM found)
)
INSERT INTO dataset_tally AS tally (dataset, objects) SELECT dataset, objects FROM found
ON CONFLICT (dataset) DO UPDATE SET objects = excluded.objects
WHERE tally.objects <> excluded.objects

-- name: add_steps
-- Parameters: :seconds and :rows, JSON by step.
INSERT INTO step_total AS tally (step, runs, rows, seconds)
SELECT key, 1, coalesce(CAST(CAST(:rows AS jsonb)->>key AS bigint), 0),
       CAST(value AS double precision)
FROM jsonb_each_text(CAST(:seconds AS jsonb))
ON CONFLICT (step) DO UPDATE SET
    runs = tally.runs + 1, rows = tally.rows + excluded.rows,
    seconds = tally.seconds + excluded.seconds

-- name: retire
-- Rows left a table of retired rows. Parameters: :dataset, :removed.
UPDATE dataset_tally SET retired = retired - :removed WHERE dataset = :dataset

-- name: forget
-- The tallies of a dropped dataset. Parameter: :name.
WITH hours AS (DELETE FROM dataset_hour WHERE dataset = :name),
     problem_hours AS (DELETE FROM problem_hour WHERE dataset = :name),
     problems AS (DELETE FROM problem_tally WHERE dataset = :name),
     objects AS (DELETE FROM faulty_object WHERE dataset = :name)
DELETE FROM dataset_tally WHERE dataset = :name
