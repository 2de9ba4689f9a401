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
