-- Bucket events: stored as they are told, waiting until a run has looked at their keys.

-- name: store
-- Each event once, however often it is told. What concerns no run is handled as it comes.
-- In one order always, so that two that store the same events cannot block each other.
-- Parameters: :events, a JSON array of the columns; :bucket, the source bucket.
INSERT INTO bucket_event (bucket, key, mark, sequencer, event_name, event_time, etag, size,
                          version_id, record, handled_by_run)
SELECT bucket, key, mark, sequencer, event_name, event_time, etag, size, version_id, record,
       CASE WHEN bucket = :bucket AND is_hint THEN NULL ELSE 0 END
FROM jsonb_to_recordset(CAST(:events AS jsonb)) AS told (
    bucket text, key text, mark text, sequencer text, event_name text, event_time timestamptz,
    etag text, size bigint, version_id text, record jsonb, is_hint boolean)
ORDER BY bucket, key COLLATE "C", mark
ON CONFLICT (bucket, key, mark) DO NOTHING
RETURNING handled_by_run IS NULL AS waits

-- name: any_waiting
-- Parameters: :refused_too.
SELECT EXISTS (SELECT FROM bucket_event
               WHERE handled_by_run IS NULL AND (:refused_too OR refused_by_run IS NULL))

-- name: count_waiting
SELECT count(*) FROM bucket_event WHERE handled_by_run IS NULL

-- name: waiting
-- The events that have waited longest; their keys may repeat. Those whose object was refused
-- only where they are asked for. Parameters: :bucket, :limit, :refused_too.
SELECT id, key FROM bucket_event
WHERE handled_by_run IS NULL AND bucket = :bucket AND (:refused_too OR refused_by_run IS NULL)
ORDER BY id LIMIT :limit

-- name: handle
-- A run has checked the keys of these events and refused some, by key or by the form in which a
-- file-based store lists it. Parameters: :ids, :run_id, :refused, keys.
UPDATE bucket_event AS event
SET handled_by_run = CASE WHEN checked.is_refused THEN NULL ELSE :run_id END,
    refused_by_run = CASE WHEN checked.is_refused THEN :run_id END
FROM (SELECT id, ARRAY[key, ltrim(regexp_replace(key, '/+', '/', 'g'), '/')]
                 && CAST(:refused AS text[]) AS is_refused
      FROM bucket_event
      WHERE id = ANY(CAST(:ids AS bigint[])) AND handled_by_run IS NULL) AS checked
WHERE event.id = checked.id

-- name: handle_listed
-- A listing shows at least what was told before it began. Parameters: :began, :bucket, :run_id.
UPDATE bucket_event SET handled_by_run = :run_id
WHERE handled_by_run IS NULL AND bucket = :bucket AND received_at < :began

-- name: handle_strangers
-- Events of a bucket that is not the source any more. Parameters: :bucket.
UPDATE bucket_event SET handled_by_run = 0
WHERE handled_by_run IS NULL AND bucket <> :bucket

-- name: untold
-- How many staged changes no waiting event told of. Before the first event, and in the first
-- run of all, nothing can have been missed. What is only read again, for the date, is no change.
-- Run before the manifest is written. Parameters: :bucket.
SELECT count(*)
FROM staging_object AS staged
LEFT JOIN source_object AS known ON known.bucket = :bucket AND known.key = staged.key
WHERE EXISTS (SELECT FROM bucket_event WHERE bucket = :bucket)
  AND EXISTS (SELECT FROM run WHERE state = 'succeeded' AND trigger <> 'event')
  AND NOT EXISTS (
      SELECT FROM (
          SELECT key FROM bucket_event WHERE handled_by_run IS NULL AND bucket = :bucket
          UNION ALL  -- as a file-based store lists them
          SELECT ltrim(regexp_replace(key, '/+', '/', 'g'), '/') FROM bucket_event
          WHERE handled_by_run IS NULL AND bucket = :bucket AND (key LIKE '/%' OR key LIKE '%//%')
      ) AS waiting WHERE waiting.key = staged.key)
  AND (staged.change <> 'modified'
       OR (known.etag, known.size, known.last_modified)
          IS DISTINCT FROM (staged.etag, staged.size, staged.last_modified))
