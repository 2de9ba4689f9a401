-- Published files. Parameters: none, or as named.

-- name: pending_datasets
-- The datasets that unpublished runs changed. Runs of earlier versions changed only users.
SELECT DISTINCT coalesce(one.key, 'users')
FROM run LEFT JOIN LATERAL jsonb_each(run.dataset_counts) AS one ON true
WHERE run.publish_pending
  AND (one.key IS NULL
       OR coalesce(CAST(one.value->>'inserted' AS bigint), 0)
          + coalesce(CAST(one.value->>'updated' AS bigint), 0)
          + coalesce(CAST(one.value->>'restored' AS bigint), 0)
          + coalesce(CAST(one.value->>'retired' AS bigint), 0) > 0)

-- name: record
-- Parameters: :name, :dataset, :etag, :run_id.
INSERT INTO publication (name, dataset, etag, run_id, published_at)
VALUES (:name, :dataset, :etag, :run_id, now())
ON CONFLICT (name) DO UPDATE SET
    dataset = excluded.dataset, etag = excluded.etag, run_id = excluded.run_id,
    published_at = excluded.published_at
