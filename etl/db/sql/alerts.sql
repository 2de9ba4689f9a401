-- Incidents and their alerts. An alert is written in the transaction that begins or ends its
-- incidents, and sent after it.

-- name: settle
-- Opens the given incidents unless they are open, ends other open ones of some events, and writes
-- an alert for each event that this changes. Parameters: :incidents, a JSON array; :events, whose
-- incidents are complete; :run_id; :channel.
WITH given AS (
    SELECT event, dataset, code, facts
    FROM jsonb_to_recordset(CAST(:incidents AS jsonb))
         AS one (event text, dataset text, code text, facts jsonb)
), opened AS (
    INSERT INTO incident (event, dataset, code, opened_at, run_id, facts)
    SELECT event, dataset, code, clock_timestamp(), :run_id, facts FROM given
    ON CONFLICT DO NOTHING
    RETURNING event, dataset, code, opened_at, facts
), ended AS (
    DELETE FROM incident
    WHERE event = ANY (CAST(:events AS text[]))
      AND (event, dataset, code) NOT IN (SELECT event, dataset, code FROM given)
    RETURNING event, dataset, code, opened_at, facts
), changed AS (
    SELECT event, NULL AS recovers, dataset, code, opened_at, facts FROM opened
    UNION ALL
    SELECT 'recovered', event, dataset, code, opened_at, facts FROM ended
), written AS (
    INSERT INTO alert (event, recovers, run_id, incidents)
    SELECT event, recovers, :run_id, jsonb_agg(
        facts || jsonb_build_object('dataset', dataset, 'code', code, 'since', opened_at)
        ORDER BY dataset, code)
    FROM changed GROUP BY event, recovers ORDER BY recovers IS NULL, recovers, event
    RETURNING id
)
SELECT pg_notify(:channel, '') FROM written LIMIT 1

-- name: of_commit
-- The incidents after a run that commits. A failure of a full run is ended by a full run only.
-- Parameters: :failing, a JSON object with the error of each dataset that is not committed;
-- :covers_all.
SELECT 'run-failed' AS event, key AS dataset, '' AS code,
       jsonb_build_object('error', value) AS facts
FROM jsonb_each(CAST(:failing AS jsonb))
UNION ALL
SELECT event, dataset, code, facts FROM incident
WHERE event = 'run-failed' AND dataset = '' AND NOT :covers_all
  AND facts->>'trigger' IS DISTINCT FROM 'event'
UNION ALL
SELECT 'retirement-held', dataset, '', jsonb_build_object(
    'rows', rows, 'live', live,
    'objects', (SELECT count(*) FROM held_object WHERE held_object.dataset = hold.dataset))
FROM hold
UNION ALL
SELECT 'new-problems', dataset, code, jsonb_build_object('count', problems)
FROM problem_tally WHERE severity = 'error' AND problems > 0

-- name: was_interrupted_before
-- Whether the last two runs that ended were interrupted. No parameters.
SELECT count(*) = 2 AND bool_and(error->>'code' IS NOT DISTINCT FROM 'Interrupted')
FROM (SELECT error FROM run WHERE finished_at IS NOT NULL ORDER BY id DESC LIMIT 2) AS last

-- name: late
-- What is late, and since when: the last full run, a change that no run has checked, and a file to
-- be published; the first of them. Events of refused objects and of failed datasets have alerts of
-- their own. Parameters: :late_after; :publish_after.
SELECT reason, since, count FROM (
    SELECT 1 AS place, 'full-run' AS reason, 0 AS count, coalesce(
        (SELECT finished_at FROM run
         WHERE trigger <> 'event' AND (trigger <> 'cli' OR left_out = '{}')
           AND (state = 'succeeded' OR (state = 'failed' AND dataset_counts <> '{}'::jsonb))
         ORDER BY finished_at DESC LIMIT 1),
        (SELECT requested_at FROM run ORDER BY id LIMIT 1)) AS since
    UNION ALL
    SELECT 2, 'changes', count(*), min(received_at) FROM bucket_event
    WHERE handled_by_run IS NULL AND refused_by_run IS NULL
    UNION ALL
    SELECT 3, 'output', count(*), min(finished_at) FROM run WHERE publish_pending
) AS found
WHERE since < clock_timestamp()
              - CASE reason WHEN 'output' THEN CAST(:publish_after AS interval)
                            ELSE CAST(:late_after AS interval) END
ORDER BY place LIMIT 1

-- name: is_open
-- Parameter: :event.
SELECT EXISTS (SELECT FROM incident WHERE event = :event)

-- name: give_up
-- Alerts that could not be delivered for long. Parameter: :age.
UPDATE alert SET given_up_at = clock_timestamp()
WHERE sent_at IS NULL AND given_up_at IS NULL AND created_at < clock_timestamp() - :age
RETURNING id, event, last_error

-- name: pending
-- Alerts to be sent, oldest first. Parameters: :after, an id; :limit.
SELECT id, delivery_id, event, recovers, run_id, incidents, created_at
FROM alert WHERE sent_at IS NULL AND given_up_at IS NULL AND id > :after
ORDER BY id LIMIT :limit

-- name: record_sent
-- Parameter: :id.
UPDATE alert SET sent_at = clock_timestamp(), attempts = attempts + 1, last_error = NULL
WHERE id = :id

-- name: record_failed
-- Parameters: :id; :reason.
UPDATE alert SET attempts = attempts + 1, last_error = :reason WHERE id = :id

-- name: last
-- The last alerts, newest first. Parameter: :limit.
SELECT id, delivery_id, event, recovers, run_id, incidents, created_at, attempts, last_error,
       sent_at, given_up_at
FROM alert ORDER BY id DESC LIMIT :limit

-- name: open
-- The open incidents, oldest first. No parameters.
SELECT event, dataset, code, opened_at, run_id, facts
FROM incident ORDER BY opened_at, event, dataset, code
