-- Objects that leave a dataset, because another claims them now, or none. Parameters: as named.

-- name: stage
-- Objects that another dataset, or none, now claims leave the dataset of their rows. Must run before
-- the manifest is written. Sets whether there are any, and whether any had another dataset or none,
-- for `found`. No parameters.
WITH moved AS MATERIALIZED (
    SELECT known.*
    FROM staging_object AS staged JOIN source_object AS known USING (bucket, key)
    WHERE known.dataset IS DISTINCT FROM staged.dataset
), staged AS (
    INSERT INTO staging_object (change, bucket, key, dataset, kind, attachment, attachment_id, etag,
                                size, last_modified, state, rows_read, rows_rejected)
    SELECT 'left', bucket, key, dataset, kind, attachment, attachment_id, etag, size,
           last_modified, state, 0, 0
    FROM moved WHERE dataset IS NOT NULL
)
SELECT set_config('bucketline.has_left',
                  CAST(coalesce(bool_or(dataset IS NOT NULL), false) AS text), true),
       set_config('bucketline.has_moved', CAST(count(*) > 0 AS text), true)
FROM moved

-- name: found
-- What `stage` found. No parameters.
SELECT CAST(current_setting('bucketline.has_left') AS boolean) AS has_left,
       CAST(current_setting('bucketline.has_moved') AS boolean) AS has_moved

-- name: remember
-- Their manifest entries, before other datasets write theirs.
CREATE TEMPORARY TABLE left_object ON COMMIT DROP AS
SELECT known.*
FROM staging_object AS staged JOIN source_object AS known USING (bucket, key)
WHERE staged.change = 'left'

-- name: keep
-- Restores the entries of datasets that still have the rows, so that the next run reads the objects
-- again. Parameters: :unchanged, datasets; :datasets and :keys, of one length, those held.
INSERT INTO source_object (bucket, key, dataset, kind, attachment, attachment_id, etag, size,
                           last_modified, state, rows_read, rows_rejected, reread_on,
                           reading_hash, run_id)
SELECT bucket, key, dataset, kind, attachment, attachment_id, etag, size,
       last_modified, state, rows_read, rows_rejected, DATE '1970-01-01', reading_hash, run_id
FROM left_object
WHERE dataset = ANY (CAST(:unchanged AS text[]))
   OR (dataset, key) IN (SELECT * FROM unnest(CAST(:datasets AS text[]), CAST(:keys AS text[])))
ON CONFLICT (bucket, key) DO UPDATE SET
    dataset = excluded.dataset, kind = excluded.kind, attachment = excluded.attachment,
    attachment_id = excluded.attachment_id, etag = excluded.etag, size = excluded.size,
    last_modified = excluded.last_modified, state = excluded.state,
    rows_read = excluded.rows_read, rows_rejected = excluded.rows_rejected,
    reread_on = excluded.reread_on, reading_hash = excluded.reading_hash,
    run_id = excluded.run_id
