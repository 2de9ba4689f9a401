-- Image announcements: messages that are due, and the record of those sent.

-- name: changed
-- The next images, by key, that differ from their last announcement. `sizes` and `thumbnails` list
-- only thumbnails that are in the bucket. Parameters: :after, a key; :bucket, the source; :limit.
SELECT i.key, i.etag, i.state, i.note, i.format, i.mode, i.width, i.height, i.bytes, i.sha256,
       i.updated_at, o.user_id, t.sizes, t.thumbnails,
       (a.etag, a.updated_at) IS DISTINCT FROM (i.etag, i.updated_at) AS has_new_metadata,
       (a.etag, a.sizes) IS DISTINCT FROM (i.etag, t.sizes) AND t.sizes <> '{}'
           AS has_new_thumbnails
FROM image i
LEFT JOIN announced_image a USING (key)
LEFT JOIN source_object o ON o.bucket = :bucket AND o.key = i.key
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(size ORDER BY size), '{}') AS sizes,
           coalesce(jsonb_agg(jsonb_build_object('size', size, 'key', thumbnail.key)
                              ORDER BY size), '[]') AS thumbnails
    FROM thumbnail
    WHERE sha256 = i.sha256 AND size = ANY(i.sizes) AND put_at IS NOT NULL
) t
WHERE i.key > :after
  AND ((a.etag, a.updated_at) IS DISTINCT FROM (i.etag, i.updated_at)
       OR NOT (a.sizes @> i.sizes AND a.sizes <@ i.sizes))
ORDER BY i.key LIMIT :limit

-- name: record_sent
-- Records sent announcements. Parameter: :images, a JSON array of the columns.
INSERT INTO announced_image (key, etag, sizes, updated_at)
SELECT key, etag, sizes, updated_at
FROM jsonb_to_recordset(CAST(:images AS jsonb)) AS sent (
    key text, etag text, sizes integer[], updated_at timestamptz)
ON CONFLICT (key) DO UPDATE
SET etag = excluded.etag, sizes = excluded.sizes, updated_at = excluded.updated_at

-- name: removed
-- The next announced images that no longer exist. Parameters: :after, a key; :limit.
SELECT a.key, a.etag FROM announced_image a LEFT JOIN image i USING (key)
WHERE i.key IS NULL AND a.key > :after
ORDER BY a.key LIMIT :limit

-- name: delete_removed
-- Deletes the records of images whose removal was announced. Parameter: :keys.
DELETE FROM announced_image WHERE key = ANY(:keys)
