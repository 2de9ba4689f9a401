-- Objects of buckets that are no longer sources. Parameters: as named.

-- name: datasets_of
-- Parameter: :bucket.
SELECT DISTINCT dataset FROM source_object WHERE bucket = :bucket AND dataset IS NOT NULL

-- name: stage_former
-- Parameters: :buckets; :datasets, all that are declared.
INSERT INTO staging_object (change, bucket, key, dataset, kind, attachment, attachment_id, etag,
                            size, last_modified, state, rows_read, rows_rejected)
SELECT 'removed', bucket, key, CASE WHEN dataset = ANY (CAST(:datasets AS text[])) THEN dataset END,
       kind, attachment, attachment_id, etag, size, last_modified, state, 0, 0
FROM source_object
WHERE bucket = ANY (CAST(:buckets AS text[]))
