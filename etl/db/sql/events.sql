-- Bucket events: stored on arrival, pending until a run has checked their keys.

-- name: source_buckets
-- The buckets of the installed datasets, or that of SOURCE_BUCKET before the first run.
-- Parameter: :bucket, that of SOURCE_BUCKET.
SELECT coalesce(nullif(declaration->>'bucket', ''), :bucket) FROM dataset
UNION
SELECT :bucket WHERE NOT EXISTS (SELECT FROM dataset)
ORDER BY 1

-- name: store
-- Stores each event once, however often it is delivered. Events that need no run are stored as
-- handled. The fixed order prevents deadlocks between clients that store the same events. Returns
-- how many are new, and notifies if one is pending.
-- Parameters: :events, a JSON array of the columns; :bucket, that of SOURCE_BUCKET; :channel.
WITH stored AS (
    INSERT INTO bucket_event (bucket, key, mark, sequencer, event_name, event_time, etag, size,
                              version_id, record, handled_by_run)
    SELECT bucket, key, dedup_key, sequencer, event_name, event_time, etag, size, version_id,
           record, CASE WHEN may_change AND bucket IN (
               SELECT coalesce(nullif(declaration->>'bucket', ''), :bucket) FROM dataset
               UNION
               SELECT :bucket WHERE NOT EXISTS (SELECT FROM dataset)) THEN NULL ELSE 0 END
    FROM jsonb_to_recordset(CAST(:events AS jsonb)) AS received (
        bucket text, key text, dedup_key text, sequencer text, event_name text,
        event_time timestamptz, etag text, size bigint, version_id text, record jsonb,
        may_change boolean)
    ORDER BY bucket, key COLLATE "C", dedup_key
    ON CONFLICT (bucket, key, mark) DO NOTHING
    RETURNING handled_by_run IS NULL AS is_pending
)
SELECT count(*) AS new, (SELECT pg_notify(:channel, '')
                         WHERE EXISTS (SELECT FROM stored WHERE is_pending)) AS notified
FROM stored

-- name: any_pending
-- Parameters: :include_refused.
SELECT EXISTS (SELECT FROM bucket_event
               WHERE handled_by_run IS NULL AND (:include_refused OR refused_by_run IS NULL))

-- name: any_refused
SELECT EXISTS (SELECT FROM bucket_event
               WHERE handled_by_run IS NULL AND refused_by_run IS NOT NULL)

-- name: count_pending
-- Parameters: :include_refused.
SELECT count(*) FROM bucket_event
WHERE handled_by_run IS NULL AND (:include_refused OR refused_by_run IS NULL)

-- name: oldest_pending
-- The oldest pending events of each source bucket; keys may repeat. Events whose object could not be
-- synced are included only with :include_refused.
-- Parameters: :limit, :include_refused; :bucket, that of SOURCE_BUCKET.
SELECT source.bucket, event.id, event.key
FROM (SELECT coalesce(nullif(declaration->>'bucket', ''), :bucket) AS bucket FROM dataset
      UNION
      SELECT :bucket WHERE NOT EXISTS (SELECT FROM dataset)) AS source
CROSS JOIN LATERAL (
    SELECT id, key FROM bucket_event
    WHERE handled_by_run IS NULL AND bucket = source.bucket
      AND (:include_refused OR refused_by_run IS NULL)
    ORDER BY id LIMIT :limit
) AS event

-- name: pass_over_former
-- Marks events of former source buckets as handled. Parameter: :bucket, that of SOURCE_BUCKET.
UPDATE bucket_event SET handled_by_run = 0
WHERE handled_by_run IS NULL AND bucket NOT IN (
    SELECT coalesce(nullif(declaration->>'bucket', ''), :bucket) FROM dataset
    UNION
    SELECT :bucket WHERE NOT EXISTS (SELECT FROM dataset))

-- name: entries
-- The manifest entries of the keys of the events that {oldest_pending} selects, as keys are and as a
-- file-based store lists them. LIMIT has each looked up by the index, however many PostgreSQL
-- expects. An object whose time has come, or whose dataset is read in another way now, has no ETag.
-- Parameters: those of that statement, and :today.
SELECT spelled.bucket, entry.*
FROM (SELECT bucket, key FROM ({oldest_pending}) AS event
      UNION
      SELECT bucket, ltrim(regexp_replace(key, '/+', '/', 'g'), '/')
      FROM ({oldest_pending}) AS event) AS spelled
CROSS JOIN LATERAL (
    SELECT key, size, last_modified,
           CASE WHEN reread_on <= CAST(:today AS date) OR object.reading_hash IS DISTINCT FROM
                     (SELECT reading_hash FROM dataset WHERE dataset.name = object.dataset)
                THEN '' ELSE etag END AS etag
    FROM source_object AS object
    WHERE object.bucket = spelled.bucket AND object.key = spelled.key LIMIT 1
) AS entry
ORDER BY spelled.bucket, entry.key COLLATE "C"

-- name: handle
-- Marks events whose keys a run has checked as handled. Events of refused objects, and of datasets
-- that it did not commit, stay pending; a file-based store may list such a key in another form.
-- Parameters: :ids, :run_id, :refused.
UPDATE bucket_event AS event
SET handled_by_run = CASE WHEN checked.is_refused THEN NULL ELSE :run_id END,
    refused_by_run = CASE WHEN checked.is_refused THEN :run_id END
FROM (SELECT id, ARRAY[key, ltrim(regexp_replace(key, '/+', '/', 'g'), '/')]
                 && CAST(:refused AS text[]) AS is_refused
      FROM bucket_event
      WHERE id = ANY(CAST(:ids AS bigint[])) AND handled_by_run IS NULL) AS checked
WHERE event.id = checked.id

-- name: handle_listed
-- A listing includes every change whose event arrived before it began.
-- Parameters: :began, :bucket, :run_id.
UPDATE bucket_event SET handled_by_run = :run_id
WHERE handled_by_run IS NULL AND bucket = :bucket AND received_at < :began

-- name: listed
-- The events that `handle_listed` marks. Parameters: :began, :bucket.
SELECT id, key FROM bucket_event
WHERE handled_by_run IS NULL AND bucket = :bucket AND received_at < :began

-- name: refuse
-- Marks events of a bucket that cannot be read now. Parameters: :ids, :run_id.
UPDATE bucket_event SET refused_by_run = :run_id
WHERE id = ANY (CAST(:ids AS bigint[])) AND handled_by_run IS NULL

-- name: missed_by_events
-- Counts the staged changes without a pending event. Before the first event of a bucket, and in the
-- first run, nothing can be missed. An object that is reread only because of its date has not
-- changed, and a held one is found again by each listing. Must run before the manifest is written.
-- No parameters.
SELECT count(*)
FROM staging_object AS staged
LEFT JOIN source_object AS known USING (bucket, key)
WHERE EXISTS (SELECT FROM bucket_event WHERE bucket_event.bucket = staged.bucket)
  AND EXISTS (SELECT FROM run WHERE state = 'succeeded' AND trigger <> 'event')
  AND NOT EXISTS (SELECT FROM held_object AS held
                  WHERE held.bucket = staged.bucket AND held.key = staged.key)
  AND NOT EXISTS (
      SELECT FROM (
          SELECT bucket, key FROM bucket_event WHERE handled_by_run IS NULL
          UNION ALL  -- as a file-based store lists them
          SELECT bucket, ltrim(regexp_replace(key, '/+', '/', 'g'), '/') FROM bucket_event
          WHERE handled_by_run IS NULL AND (key LIKE '/%' OR key LIKE '%//%')
      ) AS pending WHERE pending.bucket = staged.bucket AND pending.key = staged.key)
  AND (staged.change <> 'modified'
       OR (known.etag, known.size, known.last_modified)
          IS DISTINCT FROM (staged.etag, staged.size, staged.last_modified))
