-- A large instance of the dataset users, without its objects, as it is after years of runs.
-- Parameters: bucket, users, runs, problems (each at least 1), user_objects. It takes the tables as
-- an instance has them after its first run over an empty bucket, and counts all tallies again.
--
-- Users are in objects of equal size. Every second object is faulty, and the problems are spread over
-- those; nine of ten are errors, whose rows were rejected. The first run loaded all of it. Afterwards
-- there was a run every 150 seconds: every tenth a full run, the others for an event that changed two
-- rows; one of 37 of these found problems, which are closed again, and one of 500 runs failed.

-- The runs.
INSERT INTO run (trigger, state, outcome, requested_at, started_at, finished_at, counts,
                 dataset_counts, step_seconds, step_rows, step_spans, error)
SELECT CASE WHEN kind = 'event' THEN 'event' ELSE 'interval' END,
       CASE kind WHEN 'failed' THEN 'failed' ELSE 'succeeded' END,
       CASE kind WHEN 'failed' THEN 'failed' ELSE 'succeeded' END,
       at, at, at + took * interval '1 second',
       CASE kind
           WHEN 'failed' THEN '{}'
           WHEN 'first' THEN jsonb_build_object(
               'objects_listed', objects, 'objects_added', objects,
               'rows_read', %(users)s + errors, 'rows_loaded', %(users)s, 'rows_rejected', errors,
               'rows_inserted', %(users)s, 'users_inserted', %(users)s, 'users_live', %(users)s,
               'problems', %(problems)s)
           WHEN 'full' THEN jsonb_build_object(
               'objects_listed', objects, 'objects_unchanged', objects, 'users_live', %(users)s)
           ELSE jsonb_build_object(
               'objects_listed', 1, 'objects_modified', 1, 'rows_read', 2 + rejected,
               'rows_loaded', 2, 'rows_rejected', rejected, 'rows_updated', 2, 'users_updated', 2,
               'users_live', %(users)s, 'problems', rejected)
       END,
       CASE kind
           WHEN 'failed' THEN '{}'
           WHEN 'first' THEN jsonb_build_object('users', jsonb_build_object(
               'objects_added', objects, 'rows_read', %(users)s + errors,
               'rows_loaded', %(users)s, 'rows_rejected', errors, 'inserted', %(users)s,
               'live', %(users)s))
           WHEN 'full' THEN jsonb_build_object('users', jsonb_build_object('live', %(users)s))
           ELSE jsonb_build_object('users', jsonb_build_object(
               'objects_modified', 1, 'rows_read', 2 + rejected, 'rows_loaded', 2,
               'rows_rejected', rejected, 'updated', 2, 'live', %(users)s))
       END,
       jsonb_build_object('list', took / 10, 'read', took / 2, 'merge', took * 4 / 10),
       jsonb_build_object('list', 1, 'read', 2, 'merge', 2),
       jsonb_build_object('list', jsonb_build_array(0, took / 10),
                          'read', jsonb_build_array(took / 10, took * 6 / 10),
                          'merge', jsonb_build_array(took * 6 / 10, took)),
       CASE kind WHEN 'failed' THEN jsonb_build_object(
           'code', 'object-store-unavailable', 'message', 'The object store does not answer.',
           'hint', 'Start the store.') END
FROM (
    SELECT number, now() - (%(runs)s - number + 1) * interval '150 seconds' AS at,
           CASE WHEN number = 1 THEN 'first' WHEN mod(number, 500) = 250 THEN 'failed'
                WHEN mod(number, 10) = 0 THEN 'full' ELSE 'event' END AS kind,
           CASE WHEN mod(number, 37) = 0 THEN 3 ELSE 0 END AS rejected,
           CAST(1 + mod(number * 7919, 100) AS double precision) / 16 AS took,
           (%(users)s + %(user_objects)s - 1) / %(user_objects)s AS objects,
           %(problems)s - %(problems)s / 10 AS errors
    FROM generate_series(1, %(runs)s) AS numbers (number)
) AS made
ORDER BY number;

-- The first of them, and its objects.
CREATE TEMPORARY TABLE first_load ON COMMIT DROP AS
SELECT max(id) - %(runs)s + 1 AS run_id, now() - %(runs)s * interval '150 seconds' AS at,
       (%(users)s + %(user_objects)s - 1) / %(user_objects)s AS objects
FROM run;

INSERT INTO users (user_id, first_name, last_name, birthts, _source_key, _source_line, _run_id,
                   _updated_at)
SELECT lpad(CAST(number AS text), 7, '0'),
       (ARRAY['Ada', 'Bo', 'Chidi', 'Dana', 'Elif', 'Fumiko', 'Grace', 'Hugo'])[1 + mod(number, 8)],
       (ARRAY['Lee', 'Okafor', 'Korhonen', 'Sato', 'Ng', 'Silva', 'Wagner'])[1 + mod(number, 7)],
       (mod(number * 7919, 25000) - 10000) * 86400000,
       'users/' || lpad(CAST(number / %(user_objects)s AS text), 6, '0') || '.csv',
       mod(number, %(user_objects)s) + 2, run_id, at
FROM generate_series(CAST(0 AS bigint), %(users)s - 1) AS numbers (number), first_load;

INSERT INTO problem (run_id, bucket, key, dataset, etag, line, "column", code, severity, value, note)
SELECT run_id, %(bucket)s,
       'users/' || lpad(CAST(2 * mod(number, faulty) AS text), 6, '0') || '.csv', 'users',
       md5(CAST(2 * mod(number, faulty) AS text)), %(user_objects)s + 2 + number / faulty,
       CASE WHEN mod(number, 10) < 9 THEN 'birthts' END,
       CASE WHEN mod(number, 10) < 5 THEN 'not-an-integer'
            WHEN mod(number, 10) < 8 THEN 'missing-cell'
            WHEN mod(number, 10) < 9 THEN 'birthdate-out-of-range'
            ELSE 'missing-trailing-cells' END,
       CASE WHEN mod(number, 10) < 9 THEN 'error' ELSE 'warning' END,
       'value ' || number, 'The cell is not as it should be.'
FROM (SELECT *, (objects + 1) / 2 AS faulty FROM first_load) AS load,
     generate_series(0, %(problems)s - 1) AS numbers (number);

INSERT INTO source_object (bucket, key, dataset, kind, etag, size, last_modified, state, rows_read,
                           rows_rejected, run_id)
SELECT %(bucket)s, key, 'users', 'csv', md5(CAST(number AS text)), 40 * %(user_objects)s, at,
       'loaded', rows + coalesce(rejected, 0), coalesce(rejected, 0), run_id
FROM (
    SELECT first_load.*, number,
           ('users/' || lpad(CAST(number AS text), 6, '0') || '.csv') COLLATE "C" AS key,
           least(%(user_objects)s, %(users)s - number * %(user_objects)s) AS rows
    FROM first_load, generate_series(0, objects - 1) AS numbers (number)
) AS made
LEFT JOIN (
    SELECT key, count(*) AS rejected FROM problem WHERE severity = 'error' GROUP BY key
) AS errors USING (key);

INSERT INTO bucket_event (bucket, key, mark, event_name, event_time, size, record, received_at,
                          handled_by_run)
SELECT %(bucket)s, 'users/' || lpad(CAST(mod(run.id, objects) AS text), 6, '0') || '.csv',
       'made ' || run.id, 's3:ObjectCreated:Put', started_at, 40 * %(user_objects)s, '{}',
       started_at, run.id
FROM run, first_load WHERE trigger = 'event' AND run.id > first_load.run_id ORDER BY run.id;

-- The tallies, as a count over all of it.
TRUNCATE dataset_tally, problem_tally, faulty_object, dataset_hour, problem_hour, run_half_hour,
         run_total, step_total;

INSERT INTO faulty_object (bucket, key, dataset, errors, warnings, error_codes, warning_codes,
                           first_seen_at)
SELECT bucket, key, dataset,
       coalesce(sum(problems) FILTER (WHERE severity = 'error'), 0),
       coalesce(sum(problems) FILTER (WHERE severity = 'warning'), 0),
       coalesce(jsonb_object_agg(code, problems) FILTER (WHERE severity = 'error'), '{}'),
       coalesce(jsonb_object_agg(code, problems) FILTER (WHERE severity = 'warning'), '{}'), at
FROM (SELECT bucket, key, dataset, code, severity, count(*) AS problems
      FROM problem GROUP BY 1, 2, 3, 4, 5) AS counted, first_load
GROUP BY bucket, key, dataset, at;

INSERT INTO problem_tally (dataset, code, severity, problems, objects, first_seen_at, last_seen_at)
SELECT dataset, code, severity, count(*), count(DISTINCT key), at, at
FROM problem, first_load GROUP BY dataset, code, severity, at;

INSERT INTO problem_hour (dataset, hour, code, opened)
SELECT dataset, date_trunc('hour', at, 'UTC'), code, count(*)
FROM problem, first_load GROUP BY dataset, code, at;

INSERT INTO dataset_hour (dataset, hour, rows, rows_read, rows_inserted, rows_updated, rows_rejected)
SELECT 'users', date_trunc('hour', finished_at, 'UTC'), %(users)s, sum(counted.rows_read),
       sum(coalesce(inserted, 0)), sum(coalesce(updated, 0)), sum(rows_rejected)
FROM run, jsonb_to_record(dataset_counts->'users') AS counted (
    rows_read bigint, inserted bigint, updated bigint, rows_rejected bigint)
WHERE counted.rows_read > 0 GROUP BY 2;

INSERT INTO dataset_tally (dataset, rows, objects, problems, errors, faulty_objects, rows_read,
                           rows_inserted, rows_updated, rows_rejected, run_id, changed_at)
SELECT 'users', %(users)s, objects, %(problems)s, %(problems)s - %(problems)s / 10,
       (SELECT count(*) FROM faulty_object WHERE errors > 0),
       (SELECT sum(rows_read) FROM dataset_hour), (SELECT sum(rows_inserted) FROM dataset_hour),
       (SELECT sum(rows_updated) FROM dataset_hour), (SELECT sum(rows_rejected) FROM dataset_hour),
       changed.id, changed.finished_at
FROM first_load, LATERAL (
    SELECT id, finished_at FROM run
    WHERE CAST(dataset_counts->'users'->>'rows_read' AS bigint) > 0 ORDER BY id DESC LIMIT 1
) AS changed;

INSERT INTO run_half_hour (half_hour, outcome, runs, slowest_seconds, slowest_run)
SELECT to_timestamp(floor(extract(epoch FROM finished_at) / 1800) * 1800), outcome, count(*),
       max(seconds), (array_agg(id ORDER BY seconds DESC, id))[1]
FROM (SELECT *, coalesce(extract(epoch FROM finished_at - started_at), 0) AS seconds FROM run
      WHERE outcome IS NOT NULL) AS ended
GROUP BY 1, 2;

INSERT INTO run_total (trigger, outcome, error, runs, seconds, last_at)
SELECT trigger, outcome, coalesce(error->>'code', ''), count(*),
       sum(coalesce(extract(epoch FROM finished_at - started_at), 0)), max(finished_at)
FROM run WHERE outcome IS NOT NULL GROUP BY 1, 2, 3;

INSERT INTO step_total (step, runs, rows, seconds)
SELECT step.key, count(*), coalesce(sum(CAST(step_rows->>step.key AS bigint)), 0),
       sum(CAST(step.value AS double precision))
FROM run, jsonb_each_text(step_seconds) AS step GROUP BY 1;
