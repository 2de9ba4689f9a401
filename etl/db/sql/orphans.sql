-- Objects with rows in the tables of a dataset, but without an entry in the manifest, because the
-- dataset was not declared for some time. The statements are templates, as those of merge.sql.

-- name: adopt
-- Enters the objects as unknown versions, so that the next full run reads or removes them.
-- Parameters: :dataset, :bucket.
INSERT INTO source_object (bucket, key, dataset, kind, etag, size, last_modified, state, rows_read,
                           rows_rejected, run_id)
SELECT :bucket, key, :dataset, kind, '', 0, to_timestamp(0), 'loaded', 0, 0, 0
FROM (
    SELECT _source_key AS key, 'data' AS kind FROM {table}
--:keyed
    UNION
    SELECT _source_key, 'data' FROM {shadowed}
--:end
--:attached
    UNION
    SELECT substr(path, strpos(path, '/') + 1), 'other'  -- an image, but not to be processed yet
    FROM {table} AS live CROSS JOIN unnest(ARRAY[{live.attached}]) AS path
    WHERE path IS NOT NULL
--:end
) AS found
WHERE NOT EXISTS (SELECT FROM source_object AS known
                  WHERE known.bucket = :bucket AND known.key = found.key)
ON CONFLICT DO NOTHING

-- name: stage
-- Stages the objects of rows, but not those of images, as removed, unless the listing has them. For
-- a preview, which adopts nothing. Parameters: :dataset, :bucket.
INSERT INTO staging_object (change, bucket, key, dataset, kind, etag, size, last_modified, state,
                            rows_read, rows_rejected)
SELECT 'removed', :bucket, key, :dataset, 'data', '', 0, to_timestamp(0), 'loaded', 0, 0
FROM (
    SELECT _source_key AS key FROM {table}
--:keyed
    UNION
    SELECT _source_key FROM {shadowed}
--:end
) AS found
WHERE NOT EXISTS (SELECT FROM source_object AS known
                  WHERE known.bucket = :bucket AND known.key = found.key)
  AND NOT EXISTS (SELECT FROM staging_object AS staged
                  WHERE staged.bucket = :bucket AND staged.key = found.key)
