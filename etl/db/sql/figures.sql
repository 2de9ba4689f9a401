-- What a merge did, counted from the tables it left. Parameters: none, or as named.

-- name: rows_are_few
-- Whether staging, and what was held of its objects, have no more than :few rows each; no more are
-- counted. Parameters: :keys, those of the objects in staging; :few.
SELECT (SELECT count(*) FROM (SELECT FROM staging_row LIMIT :few + 1) AS read) <= :few
   AND (SELECT count(*) FROM (SELECT FROM users
                              WHERE source_key = ANY (CAST(:keys AS text[]))
                              LIMIT :few + 1) AS held) <= :few
   AND (SELECT count(*) FROM (SELECT FROM shadowed_row
                              WHERE source_key = ANY (CAST(:keys AS text[]))
                              LIMIT :few + 1) AS lost) <= :few

-- name: unbalanced
-- Objects of which staging does not hold every row that was read and not rejected.
-- All of them, materialized, and then one: told that one is enough, PostgreSQL expects to find it
-- at once, and compares every object with every other; there is none to find.
WITH unbalanced AS MATERIALIZED (
    SELECT staged.key, staged.rows_read, staged.rows_rejected, coalesce(held.rows, 0) AS rows_staged
    FROM staging_object AS staged
    LEFT JOIN (SELECT source_key, count(*) AS rows FROM staging_row GROUP BY source_key) AS held
         ON held.source_key = staged.key
    WHERE staged.rows_read <> staged.rows_rejected + coalesce(held.rows, 0)
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
-- A row that was read is loaded, or unchanged, or shadowed; each is counted for itself. The
-- unchanged ones are users that hold a row of an object read, and that no statement touched.
SELECT (SELECT count(*) FROM difference WHERE fresh) AS rows_loaded,
       (SELECT count(*) FROM candidate WHERE fresh AND place > 1) AS rows_shadowed,
       (SELECT count(*)
        FROM staging_object JOIN users ON users.source_key = staging_object.key
        WHERE users.run_id <> :run_id AND users.retired_at IS NULL
          AND (CAST(:keys AS text[]) IS NULL
               OR users.source_key = ANY (CAST(:keys AS text[])))) AS rows_unchanged

-- name: merged_users
SELECT count(*) FILTER (WHERE is_new) AS users_inserted,
       count(*) FILTER (WHERE NOT is_new AND NOT is_back) AS users_updated,
       count(*) FILTER (WHERE is_back) AS users_restored
FROM difference

-- name: images_gained
-- By how many the live users with an image became more. Of a retired user the path is kept.
-- By an outer join, which begins with the contested: how few they are PostgreSQL cannot know.
SELECT (SELECT count(img_path) - count(*) FILTER (WHERE had_image) FROM difference)
       - (SELECT count(users.img_path) FILTER (WHERE users.run_id = :run_id
                                                 AND users.retired_at IS NOT NULL)
          FROM contested LEFT JOIN users USING (user_id)) AS images_gained

-- name: problems
-- Those that were read and those of images that were known before. Parameter: :run_id.
SELECT count(*) AS problems FROM problem WHERE run_id = :run_id

-- name: live_users
-- Of all users: only where much else was done.
SELECT count(*) AS users_live, count(img_path) AS users_with_image
FROM users WHERE retired_at IS NULL
