-- The objects of a dataset whose tables are rebuilt; see etl.sync.rebuild. Templates, as those of
-- merge.sql. Parameters: as named.

-- name: stage_rest
-- Stages as removed the objects that the manifest has of the dataset, but that were not read: they
-- are gone, or now belong to another dataset. Parameter: :dataset.
INSERT INTO staging_object (change, bucket, key, dataset, kind, attachment, attachment_id, etag,
                            size, last_modified, state, rows_read, rows_rejected)
SELECT 'removed', bucket, key, dataset, kind, attachment, attachment_id, etag, size,
       last_modified, state, 0, 0
FROM source_object AS known
WHERE dataset = :dataset
  AND NOT EXISTS (SELECT FROM staging_object AS staged
                  WHERE staged.bucket = known.bucket AND staged.key = known.key)

-- name: stage_orphans
-- As `orphans.stage`, but of a table that may have another name and other columns. Parameters:
-- :dataset, :bucket.
INSERT INTO staging_object (change, bucket, key, dataset, kind, etag, size, last_modified, state,
                            rows_read, rows_rejected)
SELECT 'removed', :bucket, key, :dataset, 'data', '', 0, to_timestamp(0), 'loaded', 0, 0
FROM (SELECT DISTINCT _source_key AS key FROM {table}) AS found
WHERE NOT EXISTS (SELECT FROM staging_object AS staged
                  WHERE staged.key = found.key AND staged.dataset = :dataset)
  AND NOT EXISTS (SELECT FROM source_object AS known
                  WHERE known.key = found.key AND known.dataset = :dataset)
ON CONFLICT DO NOTHING

-- name: drop_returned
-- Retired rows whose new key is that of a live row.
DELETE FROM {retired} AS retired USING {table} AS live WHERE ({live.key}) = ({retired.key})

-- name: outdate_files
-- Lets the published files of the dataset be written again. Parameter: :dataset.
UPDATE publication SET etag = '' WHERE dataset = :dataset

-- name: found_rows
-- As `figures.merged_rows`, before anything is written.
SELECT found.rows_loaded, found.rows_shadowed,
       (SELECT count(*) FROM {staging}) - found.rows_loaded - found.rows_shadowed AS rows_unchanged
FROM (SELECT (SELECT count(*) FROM upserts WHERE _from_this_run) AS rows_loaded,
             (SELECT count(*) FROM candidate
              WHERE _from_this_run AND _rank > 1) AS rows_shadowed) AS found

-- name: prepare_rows
-- The live rows as they will be, in key order, apart from those that the merge retires; {table}
-- stands for the stored rows in their new shape. Parameter: :run_id.
CREATE TEMPORARY TABLE prepared_rows ON COMMIT DROP AS
SELECT {stored.row}{,stored.attached}, stored._run_id, stored._updated_at
FROM {table} AS stored
WHERE NOT EXISTS (SELECT FROM upserts WHERE ({upserts.key}) = ({stored.key}))
UNION ALL
SELECT {row}{,attached}, :run_id, now()
FROM upserts
ORDER BY {key}

-- name: fill
INSERT INTO {table} ({row}{,attached}, _run_id, _updated_at)
SELECT {row}{,attached}, _run_id, _updated_at FROM prepared_rows

-- name: is_fillable
-- Whether PostgreSQL empties the table at once. Parameter: :table, quoted.
SELECT NOT EXISTS (SELECT FROM pg_constraint
                   WHERE contype = 'f' AND confrelid = to_regclass(:table)
                     AND conrelid <> confrelid)
   AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = to_regclass(:table))
