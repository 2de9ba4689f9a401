-- Image announcements: messages that are due, and the record of those sent.

-- name: changed
-- The next images, by bucket and key, that differ from their last announcement. `sizes` and
-- `thumbnails` list only thumbnails that are in the bucket.
-- Parameters: :after_bucket and :after_key, of the last image seen; :limit.
SELECT i.bucket, i.key, i.etag, i.state, i.note, i.format, i.mode, i.width, i.height, i.bytes, i.sha256,
       i.updated_at, o.dataset, o.attachment_id, t.sizes, t.thumbnails,
       (a.etag, a.updated_at) IS DISTINCT FROM (i.etag, i.updated_at) AS has_new_metadata,
       (a.etag, a.sizes) IS DISTINCT FROM (i.etag, t.sizes) AND t.sizes <> '{}'
           AS has_new_thumbnails
FROM image i
LEFT JOIN announced_image a ON a.bucket = i.bucket AND a.key = i.key
LEFT JOIN source_object o ON o.bucket = i.bucket AND o.key = i.key
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(size ORDER BY size), '{}') AS sizes,
           coalesce(jsonb_agg(jsonb_build_object('size', size, 'key', thumbnail.key)
                              ORDER BY size), '[]') AS thumbnails
    FROM thumbnail
    WHERE sha256 = i.sha256 AND size = ANY(i.sizes) AND put_at IS NOT NULL
) t
WHERE (i.bucket, i.key) > (:after_bucket, :after_key)
  AND ((a.etag, a.updated_at) IS DISTINCT FROM (i.etag, i.updated_at)
       OR NOT (a.sizes @> i.sizes AND a.sizes <@ i.sizes))
ORDER BY i.bucket, i.key LIMIT :limit

-- name: record_sent
-- Records sent announcements. Parameter: :images, a JSON array of the columns.
INSERT INTO announced_image (bucket, key, etag, sizes, updated_at)
SELECT bucket, key, etag, sizes, updated_at
FROM jsonb_to_recordset(CAST(:images AS jsonb)) AS sent (
    bucket text, key text, etag text, sizes integer[], updated_at timestamptz)
ON CONFLICT (bucket, key) DO UPDATE
SET etag = excluded.etag, sizes = excluded.sizes, updated_at = excluded.updated_at

-- name: removed
-- The next announced images that no longer exist.
-- Parameters: :after_bucket and :after_key, of the last image seen; :limit.
SELECT bucket, key, etag FROM announced_image
WHERE NOT EXISTS (SELECT FROM image
                  WHERE image.bucket = announced_image.bucket AND image.key = announced_image.key)
  AND (bucket, key) > (:after_bucket, :after_key)
ORDER BY bucket, key LIMIT :limit

-- name: delete_removed
-- Deletes the records of images whose removal was announced.
-- Parameters: :buckets and :keys, of one length.
DELETE FROM announced_image
USING unnest(CAST(:buckets AS text[]), CAST(:keys AS text[])) AS removed (bucket, key)
WHERE announced_image.bucket = removed.bucket AND announced_image.key = removed.key
