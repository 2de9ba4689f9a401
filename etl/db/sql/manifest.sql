-- Writes the manifest of the objects of a dataset that a run read, and their problems.
-- Parameters: :run_id; :dataset, null for the objects of none; :reading_hash, of its declaration.

-- name: remove_from_manifest
-- Removes deleted objects from the manifest, but not those that now belong to another dataset.
DELETE FROM source_object
USING staging_object AS staged
WHERE staged.dataset IS NOT DISTINCT FROM CAST(:dataset AS text)
  AND source_object.bucket = staged.bucket
  AND source_object.key = staged.key
  AND staged.change = 'removed'

-- name: write_manifest
-- Inserts or updates the objects that were read.
INSERT INTO source_object (bucket, key, dataset, kind, attachment, attachment_id, etag, size,
                           last_modified, state, rows_read, rows_rejected, reread_on,
                           reading_hash, run_id)
SELECT bucket, key, dataset, kind, attachment, attachment_id, etag, size, last_modified, state,
       rows_read, rows_rejected, reread_on, CAST(:reading_hash AS text), :run_id
FROM staging_object
WHERE dataset IS NOT DISTINCT FROM CAST(:dataset AS text) AND change IN ('added', 'modified')
ORDER BY bucket, key
ON CONFLICT (bucket, key) DO UPDATE SET
    dataset = excluded.dataset, kind = excluded.kind, attachment = excluded.attachment,
    attachment_id = excluded.attachment_id, etag = excluded.etag,
    size = excluded.size, last_modified = excluded.last_modified, state = excluded.state,
    rows_read = excluded.rows_read, rows_rejected = excluded.rows_rejected,
    reread_on = excluded.reread_on, reading_hash = excluded.reading_hash,
    run_id = excluded.run_id

-- name: analyze_manifest
-- Runs only after a run that wrote many entries; autovacuum handles the other runs.
ANALYZE source_object

-- name: write_problems
INSERT INTO problem (run_id, bucket, key, dataset, etag, line, "column", code, severity, value, note)
SELECT :run_id, bucket, key, dataset, etag, line, "column", code, severity, value, note
FROM staging_problem
WHERE dataset IS NOT DISTINCT FROM CAST(:dataset AS text)
ORDER BY bucket, key, line, "column", code

-- name: carry_image_problems
-- Copies the known problems of faulty images whose bytes are unchanged, so that they stay open.
INSERT INTO problem (run_id, bucket, key, dataset, etag, code, severity, note)
SELECT DISTINCT ON (problem.bucket, problem.key)
       :run_id, problem.bucket, problem.key, staging_object.dataset, problem.etag, problem.code,
       problem.severity, problem.note
FROM staging_object
JOIN image USING (bucket, key, etag)
JOIN problem USING (bucket, key, etag)
WHERE staging_object.dataset IS NOT DISTINCT FROM CAST(:dataset AS text)
  AND staging_object.kind = 'image'
  AND staging_object.change IN ('added', 'modified')
  AND image.state <> 'ready'
  AND problem.code IN ('corrupt-image', 'image-too-large', 'unsupported-image')
ORDER BY problem.bucket, problem.key, problem.id DESC

-- name: notify_image_worker
-- PostgreSQL delivers the notification when the transaction commits. The channel is that of
-- `channel_name` in etl.db.names; the first schema of the session's path is STATE_SCHEMA.
SELECT pg_notify('images_waiting'
                 || CASE WHEN current_schema() <> 'bucketline'
                         THEN '_' || left(encode(sha256(convert_to(current_schema(), 'UTF8')),
                                                 'hex'), 32)
                         ELSE '' END, '')
WHERE EXISTS (SELECT FROM staging_object
              WHERE kind = 'image'
                AND (dataset IS NOT DISTINCT FROM CAST(:dataset AS text) OR change = 'left'))
