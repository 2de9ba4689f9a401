-- What a hold would retire, for those who decide. Templates, as those of merge.sql. Parameters:
-- :dataset, or as named.

-- name: outdated
-- Whether the summary of the hold is missing, or of other objects.
SELECT CAST(summary->>'rows' AS bigint) IS DISTINCT FROM hold.rows
       OR CAST(summary->>'objects' AS bigint)
          <> (SELECT count(*) FROM held_object WHERE held_object.dataset = hold.dataset)
FROM hold WHERE dataset = :dataset

-- name: folders
-- By folder of the dataset's objects: those held and those kept, the rows that would go and the
-- newest of them. Objects of which only some rows would go count for no newest row. Folders without
-- held objects come last. Parameter: :most, how many folders; others are summed in a last row.
WITH objects AS (
    SELECT regexp_replace(known.key, '[^/]*$', '') AS folder, held.rows, held.newest,
           held.key IS NOT NULL AS is_held
    FROM (SELECT bucket, key FROM source_object WHERE dataset = :dataset AND kind = 'data'
          UNION SELECT bucket, key FROM held_object WHERE dataset = :dataset) AS known
    LEFT JOIN (
        SELECT held.bucket, held.key, held.rows,
               CASE WHEN count(live._source_key) = held.rows THEN max(live.{newest}) END AS newest
        FROM held_object AS held LEFT JOIN {table} AS live ON live._source_key = held.key
        WHERE held.dataset = :dataset GROUP BY held.bucket, held.key, held.rows
    ) AS held USING (bucket, key)
), folders AS (
    SELECT folder, count(*) FILTER (WHERE is_held) AS objects_held,
           count(*) FILTER (WHERE NOT is_held) AS objects_kept,
           coalesce(sum(rows), 0) AS rows, max(newest) AS newest,
           row_number() OVER (ORDER BY coalesce(sum(rows), 0) DESC, folder) AS place
    FROM objects GROUP BY folder
)
SELECT CASE WHEN place <= :most THEN folder END AS folder, count(*) AS folders,
       CAST(sum(objects_held) AS bigint) AS objects_held,
       CAST(sum(objects_kept) AS bigint) AS objects_kept, CAST(sum(rows) AS bigint) AS rows,
       to_jsonb(max(newest)) AS newest
FROM folders
GROUP BY least(place, :most + 1), CASE WHEN place <= :most THEN folder END
ORDER BY least(place, :most + 1)

-- name: sample
-- The newest rows of objects that would lose all of theirs. Parameter: :most.
SELECT to_jsonb(live) AS row
FROM {table} AS live
WHERE _source_key IN (
    SELECT key FROM held_object AS held
    WHERE dataset = :dataset
      AND rows = (SELECT count(*) FROM {table} AS own WHERE own._source_key = held.key))
ORDER BY {newest} DESC NULLS LAST, _source_key, _source_line
LIMIT :most

-- name: events
-- The removals of held objects that events announced: each object's last event.
SELECT count(*) AS count, min(at) AS first, max(at) AS last
FROM (SELECT DISTINCT ON (bucket, key) coalesce(event_time, received_at) AS at, event_name
      FROM bucket_event JOIN held_object USING (bucket, key)
      WHERE held_object.dataset = :dataset
      ORDER BY bucket, key, bucket_event.id DESC) AS newest
WHERE event_name LIKE '%ObjectRemoved%'
