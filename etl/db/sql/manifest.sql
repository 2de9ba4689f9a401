-- Writes the manifest of the objects that a run read, and their problems.
-- Parameters: :run_id, :bucket.

-- name: remove_from_manifest
-- Removes deleted objects from the manifest.
DELETE FROM source_object
USING staging_object AS staged
WHERE source_object.bucket = :bucket
  AND source_object.key = staged.key
  AND staged.change = 'removed'

-- name: write_manifest
-- Inserts or updates the objects that were read.
INSERT INTO source_object (bucket, key, kind, user_id, etag, size, last_modified, state,
                           rows_read, rows_rejected, reread_on, run_id)
SELECT :bucket, key, kind, user_id, etag, size, last_modified, state,
       rows_read, rows_rejected, reread_on, :run_id
FROM staging_object
WHERE change <> 'removed'
ORDER BY key
ON CONFLICT (bucket, key) DO UPDATE SET
    kind = excluded.kind, user_id = excluded.user_id, etag = excluded.etag,
    size = excluded.size, last_modified = excluded.last_modified, state = excluded.state,
    rows_read = excluded.rows_read, rows_rejected = excluded.rows_rejected,
    reread_on = excluded.reread_on,
    run_id = excluded.run_id

-- name: analyze_manifest
-- Runs only after a run that wrote many entries; autovacuum handles the other runs.
ANALYZE source_object

-- name: write_problems
INSERT INTO problem (run_id, key, etag, line, "column", code, severity, value, note)
SELECT :run_id, key, etag, line, "column", code, severity, value, note
FROM staging_problem
ORDER BY key, line, "column", code

-- name: carry_image_problems
-- Copies the known problems of faulty images whose bytes are unchanged, so that they stay open.
INSERT INTO problem (run_id, key, etag, code, severity, note)
SELECT DISTINCT ON (problem.key)
       :run_id, problem.key, problem.etag, problem.code, problem.severity, problem.note
FROM staging_object
JOIN image USING (key, etag)
JOIN problem USING (key, etag)
WHERE staging_object.kind = 'image'
  AND staging_object.change <> 'removed'
  AND image.state <> 'ready'
  AND problem.code IN ('corrupt-image', 'image-too-large', 'unsupported-image')
ORDER BY problem.key, problem.id DESC

-- name: notify_image_worker
-- PostgreSQL delivers the notification when the transaction commits.
SELECT pg_notify('images_waiting', '')
WHERE EXISTS (SELECT FROM staging_object WHERE kind = 'image')
