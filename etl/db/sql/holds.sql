-- Holds of datasets; see etl.sync.holds. The statements on staging are templates, as those of
-- merge.sql. Parameters: :dataset, or as named.

-- name: open
SELECT dataset FROM hold

-- name: staged
-- What was read of some objects. Parameter: :keys.
SELECT count(*) FILTER (WHERE change <> 'left') AS objects,
       count(*) FILTER (WHERE change IN ('added', 'modified')) AS listed,
       coalesce(sum(rows_read), 0) AS rows
FROM staging_object
WHERE dataset = :dataset AND key = ANY (CAST(:keys AS text[]))

-- name: drop_rows
DELETE FROM {staging} WHERE _source_key = ANY (CAST(:keys AS text[]))

-- name: drop_compared
--:compared
DELETE FROM {compared_objects} WHERE key = ANY (CAST(:keys AS text[]))
--:end

-- name: drop_problems
DELETE FROM staging_problem
WHERE dataset = :dataset AND key = ANY (CAST(:keys AS text[]))

-- name: drop_objects
DELETE FROM staging_object
WHERE dataset = :dataset AND key = ANY (CAST(:keys AS text[]))

-- name: release
-- Objects that a run settled are no longer held. Parameters: :bucket; :is_full.
DELETE FROM held_object
WHERE dataset = :dataset
  AND (:is_full OR (bucket, key) IN (SELECT bucket, key FROM staging_object
                                     WHERE dataset = :dataset))

-- name: hold
-- Parameters: :bucket; :keys and :rows, of one length.
INSERT INTO held_object (bucket, key, dataset, rows)
SELECT :bucket, key, :dataset, rows
FROM unnest(CAST(:keys AS text[]), CAST(:rows AS bigint[])) AS held (key, rows)
ON CONFLICT (bucket, key) DO UPDATE SET dataset = excluded.dataset, rows = excluded.rows

-- name: write
-- Parameters: :run_id, :live.
INSERT INTO hold (dataset, run_id, opened_at, rows, live)
SELECT :dataset, :run_id, now(), sum(rows), :live
FROM held_object WHERE dataset = :dataset
HAVING count(*) > 0
ON CONFLICT (dataset) DO UPDATE SET rows = excluded.rows, live = excluded.live

-- name: end
DELETE FROM hold
WHERE dataset = :dataset AND NOT EXISTS (SELECT FROM held_object WHERE dataset = :dataset)
