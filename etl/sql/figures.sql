-- What a merge did, counted from the tables it left. Parameters: none, or as named.

-- name: unbalanced
-- Objects whose rows read are not rows loaded + unchanged + shadowed + rejected.
SELECT staged.key, staged.rows_read, staged.rows_rejected,
       coalesce(fate.loaded, 0) AS loaded, coalesce(fate.unchanged, 0) AS unchanged,
       coalesce(fate.shadowed, 0) AS shadowed
FROM staging_object AS staged
LEFT JOIN (
    SELECT candidate.source_key,
           count(*) FILTER (WHERE place = 1 AND difference.user_id IS NOT NULL) AS loaded,
           count(*) FILTER (WHERE place = 1 AND difference.user_id IS NULL) AS unchanged,
           count(*) FILTER (WHERE place > 1) AS shadowed
    FROM candidate LEFT JOIN difference USING (user_id)
    WHERE candidate.fresh
    GROUP BY candidate.source_key
) AS fate ON fate.source_key = staged.key
WHERE staged.rows_read
      <> staged.rows_rejected + coalesce(loaded, 0) + coalesce(unchanged, 0) + coalesce(shadowed, 0)
LIMIT 1

-- name: objects
SELECT count(*) FILTER (WHERE change = 'added') AS objects_added,
       count(*) FILTER (WHERE change = 'modified') AS objects_modified,
       count(*) FILTER (WHERE change = 'removed') AS objects_removed,
       count(*) FILTER (WHERE state = 'quarantined') AS objects_quarantined,
       coalesce(sum(rows_read), 0)::bigint AS rows_read,
       coalesce(sum(rows_rejected), 0)::bigint AS rows_rejected
FROM staging_object

-- name: rows
SELECT count(*) FILTER (WHERE place = 1 AND difference.user_id IS NOT NULL) AS rows_loaded,
       count(*) FILTER (WHERE place = 1 AND difference.user_id IS NULL) AS rows_unchanged,
       count(*) FILTER (WHERE place > 1) AS rows_shadowed
FROM candidate LEFT JOIN difference USING (user_id)
WHERE candidate.fresh

-- name: differences
SELECT count(*) FILTER (WHERE is_new) AS users_inserted,
       count(*) FILTER (WHERE NOT is_new) AS users_updated
FROM difference

-- name: problems
SELECT count(*) AS problems FROM staging_problem

-- name: live_users
SELECT count(*) AS users_live, count(img_path) AS users_with_image
FROM users WHERE retired_at IS NULL
