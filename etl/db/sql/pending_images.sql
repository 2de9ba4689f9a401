-- The images that wait to be processed. Parameters: as named.

-- name: buckets
-- The buckets that may have images: that of SOURCE_BUCKET and those of datasets.
-- Parameters: :source_bucket.
SELECT CAST(:source_bucket AS text) AS bucket
UNION
SELECT declaration ->> 'bucket' FROM dataset WHERE declaration ->> 'bucket' <> ''

-- name: pending
-- The images that are new or changed, or lack a thumbnail: it was not made in one of the :sizes, or
-- is not known to be in the bucket. If :again, faulty images too. The caller may add conditions.
-- Parameters: :sizes, :again.
SELECT source_object.bucket, source_object.key, source_object.etag, source_object.size,
       source_object.last_modified
FROM source_object LEFT JOIN image USING (bucket, key)
WHERE source_object.kind = 'image'
  AND (image.key IS NULL
       OR image.etag <> source_object.etag
       OR (image.state = 'ready'
           AND (NOT image.sizes @> CAST(:sizes AS integer[])
                OR image.sha256 IN (SELECT sha256 FROM thumbnail
                                    WHERE put_at IS NULL AND size = ANY(CAST(:sizes AS integer[])))))
       OR (CAST(:again AS boolean) AND image.state <> 'ready'))
