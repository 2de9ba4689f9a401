-- Metadata of the images in the manifest, their problems and their thumbnails.
-- Parameters: as named under each.

-- name: register_thumbnails
-- Records thumbnails before they are put, so that none is unknown after a crash.
-- Parameters: :sha256s, :sizes, :keys, of one length.
INSERT INTO thumbnail (sha256, size, key)
SELECT * FROM unnest(CAST(:sha256s AS text[]), CAST(:sizes AS integer[]), CAST(:keys AS text[]))
ON CONFLICT DO NOTHING

-- name: find_not_put
-- Which of these thumbnails are not known to be in the bucket.
-- Parameters: :keys.
SELECT key FROM thumbnail WHERE key = ANY(:keys) AND put_at IS NULL

-- name: mark_put
-- Parameters: :keys.
UPDATE thumbnail SET put_at = now() WHERE key = ANY(:keys) AND put_at IS NULL

-- name: drop_problems
-- Deletes problems of unchanged images that were processed again with another result; returns their
-- runs and objects.
-- Parameters: :bucket, :codes, :keys.
DELETE FROM problem
USING image JOIN source_object USING (bucket, key)
WHERE problem.bucket = image.bucket
  AND problem.key = image.key
  AND problem.bucket = :bucket
  AND problem.key = ANY(:keys)
  AND problem.code = ANY(:codes)
  AND problem.run_id = source_object.run_id
  AND (image.state = 'ready' OR problem.note <> image.note)
RETURNING problem.run_id, problem.bucket, problem.key

-- name: write_problems
-- Records a faulty image as a problem of the run that read it, so it is open as long as that run is
-- the last to read the object. A run that reads the same bytes again copies the problem, unless it
-- started before this commit; :keys NULL finds such images of any bucket.
-- Parameters: :bucket, :codes, :keys.
INSERT INTO problem (run_id, bucket, key, dataset, etag, code, severity, note)
SELECT source_object.run_id, image.bucket, image.key, source_object.dataset, image.etag,
       CASE image.state WHEN 'corrupt' THEN 'corrupt-image'
                        WHEN 'too-large' THEN 'image-too-large'
                        ELSE 'unsupported-image' END,
       CASE image.state WHEN 'corrupt' THEN 'error' ELSE 'warning' END,
       image.note
FROM image JOIN source_object USING (bucket, key, etag)
WHERE image.state <> 'ready'
  AND (CAST(:keys AS text[]) IS NULL
       OR (image.bucket = :bucket AND image.key = ANY(CAST(:keys AS text[]))))
  AND NOT EXISTS (SELECT FROM problem
                  WHERE problem.bucket = image.bucket
                    AND problem.key = image.key
                    AND problem.run_id = source_object.run_id
                    AND problem.code = ANY(:codes))
ORDER BY image.bucket, image.key
RETURNING run_id, bucket, key

-- name: count_problems
-- Adds problems of images found later to the counts of their runs. It does not recount, because
-- problems of an old run may have been removed. The fixed order prevents deadlocks between
-- transactions that update the same runs. Parameters: :run_ids, :more, one per run.
UPDATE run
SET counts = jsonb_set(run.counts, '{problems}',
                       to_jsonb(coalesce(CAST(run.counts->>'problems' AS bigint), 0) + found.more))
FROM (SELECT run.id, changed.more
      FROM run JOIN unnest(CAST(:run_ids AS bigint[]), CAST(:more AS bigint[])) AS changed (id, more)
           ON changed.id = run.id
      ORDER BY run.id FOR NO KEY UPDATE OF run) AS found
WHERE run.id = found.id

-- name: delete_removed
-- Deletes metadata of objects that left the manifest or are no longer images.
DELETE FROM image
WHERE NOT EXISTS (SELECT FROM source_object
                  WHERE source_object.bucket = image.bucket
                    AND source_object.key = image.key
                    AND source_object.kind = 'image')

-- name: drop_sizes
-- Removes sizes that are no longer configured from the images.
-- Parameters: :sizes.
UPDATE image
SET sizes = ARRAY(SELECT size FROM unnest(sizes) WITH ORDINALITY AS made (size, place)
                  WHERE size = ANY(CAST(:sizes AS integer[]))
                  ORDER BY place)
WHERE NOT sizes <@ CAST(:sizes AS integer[])

-- name: claim_unused
-- Marks thumbnails that no image uses as not put before they are removed. An image that returns
-- meanwhile then has its thumbnails put again.
-- Parameters: :page.
UPDATE thumbnail SET put_at = NULL
WHERE key IN (SELECT key FROM thumbnail
              WHERE NOT EXISTS (SELECT FROM image WHERE image.sha256 = thumbnail.sha256
                                                    AND image.state = 'ready'
                                                    AND thumbnail.size = ANY(image.sizes))
              ORDER BY key
              LIMIT :page)
RETURNING key

-- name: drop_removed
-- Parameters: :keys.
DELETE FROM thumbnail WHERE key = ANY(:keys) AND put_at IS NULL

-- name: mark_missing
-- Marks thumbnails that are missing from the bucket as not put.
-- Parameters: :keys.
UPDATE thumbnail SET put_at = NULL WHERE key = ANY(:keys)
