-- Counts of a merge, taken from its tables. The statements are templates, as those of merge.sql.
-- Parameters: :dataset, or as named.

-- name: small_keys
-- The keys in staging, if it and each table have at most :small rows of their objects, else no row.
-- Counting stops there. Parameters: :dataset, :small.
SELECT staged.keys
FROM (SELECT ARRAY(SELECT key FROM staging_object WHERE dataset = :dataset) AS keys) AS staged
WHERE (SELECT count(*) FROM (SELECT FROM {staging} LIMIT :small + 1) AS read) <= :small
  AND (SELECT count(*) FROM (SELECT FROM {table} WHERE _source_key = ANY (staged.keys)
                             LIMIT :small + 1) AS stored) <= :small
--:keyed
  AND (SELECT count(*) FROM (SELECT FROM {shadowed} WHERE _source_key = ANY (staged.keys)
                             LIMIT :small + 1) AS shadowed) <= :small
--:end

-- name: unbalanced
-- An object for which staging lacks a row that was read and not rejected. In a successor that has
-- become the table, also one with rows that was not read. The CTE is materialized because of
-- LIMIT 1: PostgreSQL would expect an early match and choose a nested loop, but normally no object
-- matches.
WITH unbalanced AS MATERIALIZED (
    SELECT coalesce(staged.key, good._source_key) AS key, staged.rows_read, staged.rows_rejected,
           coalesce(good.rows, 0) AS rows_staged
    FROM (SELECT key, rows_read, rows_rejected FROM staging_object
          WHERE dataset = :dataset AND change <> 'left') AS staged
--:taken
    FULL
--:end
--:untaken
    LEFT
--:end
    JOIN (
        SELECT _source_key, sum(rows) AS rows
        FROM (
            SELECT _source_key, count(*) AS rows FROM {staging} GROUP BY _source_key
--:compared
            UNION ALL
            SELECT key, rows_same FROM {compared_objects}
--:end
        ) AS parts
        GROUP BY _source_key
    ) AS good ON good._source_key = staged.key
    WHERE coalesce(staged.rows_read - staged.rows_rejected, 0) <> coalesce(good.rows, 0)
)
SELECT * FROM unbalanced LIMIT 1

-- name: merged_rows
-- A row that was read is loaded, unchanged or shadowed; each is counted separately. Unchanged rows
-- belong to the objects read, and no statement wrote them.
SELECT (SELECT count(*) FROM upserts WHERE _from_this_run) AS rows_loaded,
       (SELECT count(*) FROM candidate WHERE _from_this_run AND _rank > 1) AS rows_shadowed,
       (SELECT count(*) FROM {table} AS live
        WHERE live._source_key IN (SELECT key FROM staging_object WHERE dataset = :dataset)
          AND live._run_id <> :run_id
          AND (CAST(:keys AS text[]) IS NULL
               OR live._source_key = ANY (CAST(:keys AS text[])))) AS rows_unchanged

-- name: upserted
-- `attached` is the number of attachments that the rows gained.
SELECT count(*) FILTER (WHERE _is_new AND NOT _is_restored) AS inserted,
       count(*) FILTER (WHERE NOT _is_new) AS updated,
       count(*) FILTER (WHERE _is_restored) AS restored,
       coalesce(sum({attached_count} - _had_attached), 0)::bigint AS attached
FROM upserts

-- name: retired
-- The rows of this merge without any version left, and their attachments.
SELECT count(*) AS retired, coalesce(sum(_stored_attached), 0)::bigint AS attached
FROM changed_rows
WHERE _is_removed
  AND NOT EXISTS (SELECT FROM candidate WHERE ({candidate.key}) = ({changed_rows.key}))

-- name: losing_objects
-- The objects that lose rows by this merge: their keys, and how many rows. Rows without a primary
-- key are replaced by those of the same object.
SELECT lost._stored_key AS key,
--:keyed
       lost.rows AS rows
--:end
--:keyless
       lost.rows - coalesce(gained.rows, 0) AS rows
--:end
FROM (
    SELECT _stored_key, count(*) AS rows
    FROM changed_rows
    WHERE _is_removed
      AND NOT EXISTS (SELECT FROM candidate WHERE ({candidate.key}) = ({changed_rows.key}))
    GROUP BY _stored_key
) AS lost
--:keyless
LEFT JOIN (
    SELECT _source_key, count(*) AS rows FROM upserts WHERE _is_new GROUP BY _source_key
) AS gained ON gained._source_key = lost._stored_key
WHERE lost.rows > coalesce(gained.rows, 0)
--:end

-- name: live
-- Totals over all rows, for bulk merges only.
SELECT count(*) AS live, coalesce(sum({attached_count}), 0)::bigint AS attached FROM {table}

-- name: good_rows
-- The rows that staging should have.
SELECT coalesce(sum(rows_read - rows_rejected), 0)::bigint AS rows
FROM staging_object WHERE dataset = :dataset AND change <> 'left'

-- name: staged
-- By dataset, the objects in staging; also of datasets with nothing but problems, or an open hold.
-- `gone` are the objects that left the dataset for another. No parameters.
SELECT dataset, CAST(sum(objects) AS bigint) AS objects, CAST(sum(images) AS bigint) AS images,
       CAST(sum(gone) AS bigint) AS gone, bool_or(in_staging) AS in_staging,
       bool_or(is_held) AS is_held
FROM (SELECT dataset, count(*) FILTER (WHERE change <> 'left') AS objects,
             count(*) FILTER (WHERE change <> 'left' AND kind = 'image') AS images,
             count(*) FILTER (WHERE change = 'left') AS gone, true AS in_staging, false AS is_held
      FROM staging_object GROUP BY dataset
      UNION ALL
      SELECT DISTINCT dataset, 0, 0, 0, true, false FROM staging_problem
      UNION ALL
      SELECT dataset, 0, 0, 0, false, true FROM hold) AS found
GROUP BY dataset

-- name: objects
-- By dataset, the objects and rows of staging, and the problems found by this run with the known
-- ones of its images. Without objects, there is one row with the problems. `had_problems`: a staged
-- object had open problems. Parameter: :run_id.
SELECT objects.*, problem.problems, problem.had_problems
FROM (SELECT (SELECT count(*) FROM problem WHERE run_id = :run_id) AS problems,
             EXISTS (SELECT FROM staging_object JOIN faulty_object USING (bucket, key))
             AS had_problems) AS problem
LEFT JOIN (
    SELECT dataset,
           count(*) FILTER (WHERE change = 'added') AS objects_added,
           count(*) FILTER (WHERE change = 'modified') AS objects_modified,
           count(*) FILTER (WHERE change = 'removed') AS objects_removed,
           count(*) FILTER (WHERE state = 'quarantined') AS objects_quarantined,
           coalesce(sum(rows_read), 0)::bigint AS rows_read,
           coalesce(sum(rows_rejected), 0)::bigint AS rows_rejected
    FROM staging_object
    WHERE change <> 'left'
    GROUP BY dataset
) AS objects ON true

-- name: shadow_change
-- How many more rows will be shadowed, before they are written; see `note_shadows` of merge.sql.
SELECT CAST(current_setting('bucketline.shadow_change') AS bigint) AS more

-- name: recount
-- Counts the rows and objects of a dataset for its tallies.
INSERT INTO dataset_tally (dataset, rows, attached, retired, shadowed, objects)
SELECT :dataset, live.rows, live.attached, (SELECT count(*) FROM {retired}),
--:keyed
       (SELECT count(*) FROM {shadowed}),
--:end
--:keyless
       0,
--:end
       (SELECT count(*) FROM source_object WHERE source_object.dataset = :dataset)
FROM (SELECT count(*) AS rows, coalesce(sum({attached_count}), 0) AS attached FROM {table}) AS live
ON CONFLICT (dataset) DO UPDATE SET
    rows = excluded.rows, attached = excluded.attached, retired = excluded.retired,
    shadowed = excluded.shadowed, objects = excluded.objects
