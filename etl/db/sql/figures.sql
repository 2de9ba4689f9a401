-- Counts of a merge, taken from its tables. Parameters: none, or as named.

-- name: is_small
-- Whether staging and each table have at most :small rows of the staged objects. Counting stops
-- there. Parameters: :keys, the keys in staging; :small.
SELECT (SELECT count(*) FROM (SELECT FROM staging_row LIMIT :small + 1) AS read) <= :small
   AND (SELECT count(*) FROM (SELECT FROM users
                              WHERE source_key = ANY (CAST(:keys AS text[]))
                              LIMIT :small + 1) AS stored) <= :small
   AND (SELECT count(*) FROM (SELECT FROM shadowed_row
                              WHERE source_key = ANY (CAST(:keys AS text[]))
                              LIMIT :small + 1) AS shadowed) <= :small

-- name: unbalanced
-- An object for which staging lacks a row that was read and not rejected. The CTE is materialized
-- because of LIMIT 1: PostgreSQL would expect an early match and choose a nested loop, but
-- normally no object matches.
WITH unbalanced AS MATERIALIZED (
    SELECT staged.key, staged.rows_read, staged.rows_rejected, coalesce(good.rows, 0) AS rows_staged
    FROM staging_object AS staged
    LEFT JOIN (SELECT source_key, count(*) AS rows FROM staging_row GROUP BY source_key) AS good
         ON good.source_key = staged.key
    WHERE staged.rows_read <> staged.rows_rejected + coalesce(good.rows, 0)
)
SELECT * FROM unbalanced LIMIT 1

-- name: objects
SELECT count(*) FILTER (WHERE change = 'added') AS objects_added,
       count(*) FILTER (WHERE change = 'modified') AS objects_modified,
       count(*) FILTER (WHERE change = 'removed') AS objects_removed,
       count(*) FILTER (WHERE state = 'quarantined') AS objects_quarantined,
       coalesce(sum(rows_read), 0)::bigint AS rows_read,
       coalesce(sum(rows_rejected), 0)::bigint AS rows_rejected
FROM staging_object

-- name: merged_rows
-- A row that was read is loaded, unchanged or shadowed; each is counted separately. Unchanged rows
-- belong to users of the objects read that no statement wrote.
SELECT (SELECT count(*) FROM upserts WHERE from_this_run) AS rows_loaded,
       (SELECT count(*) FROM candidate WHERE from_this_run AND rank > 1) AS rows_shadowed,
       (SELECT count(*)
        FROM staging_object JOIN users ON users.source_key = staging_object.key
        WHERE users.run_id <> :run_id AND users.retired_at IS NULL
          AND (CAST(:keys AS text[]) IS NULL
               OR users.source_key = ANY (CAST(:keys AS text[])))) AS rows_unchanged

-- name: merged_users
SELECT count(*) FILTER (WHERE is_new) AS users_inserted,
       count(*) FILTER (WHERE NOT is_new AND NOT is_restored) AS users_updated,
       count(*) FILTER (WHERE is_restored) AS users_restored
FROM upserts

-- name: images_gained
-- The increase in live users with an image. A retired user keeps its img_path. The outer join makes
-- PostgreSQL start with `conflicts`, whose size it cannot estimate.
SELECT (SELECT count(img_path) - count(*) FILTER (WHERE had_image) FROM upserts)
       - (SELECT count(users.img_path) FILTER (WHERE users.run_id = :run_id
                                                 AND users.retired_at IS NOT NULL)
          FROM conflicts LEFT JOIN users USING (user_id)) AS images_gained

-- name: problems
-- Problems found by this run, and known problems of its images. Parameter: :run_id.
SELECT count(*) AS problems FROM problem WHERE run_id = :run_id

-- name: live_users
-- Totals over all users, for bulk merges only.
SELECT count(*) AS users_live, count(img_path) AS users_with_image
FROM users WHERE retired_at IS NULL
