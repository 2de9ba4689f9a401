-- What is known of the images in the manifest, and the thumbnails made of them.
-- Parameters: as named under each.

-- name: intend_thumbnails
-- Thumbnails that are about to be put: what a kill leaves in the bucket is known here.
-- Parameters: :sha256s, :sizes, :keys, of one length.
INSERT INTO thumbnail (sha256, size, key)
SELECT * FROM unnest(CAST(:sha256s AS text[]), CAST(:sizes AS integer[]), CAST(:keys AS text[]))
ON CONFLICT DO NOTHING

-- name: find_unput
-- Those of the intended thumbnails that are not known to be in the bucket.
-- Parameters: :keys.
SELECT key FROM thumbnail WHERE key = ANY(:keys) AND put_at IS NULL

-- name: note_put
-- Parameters: :keys.
UPDATE thumbnail SET put_at = now() WHERE key = ANY(:keys) AND put_at IS NULL

-- name: drop_problems
-- Problems of images that are as they were, but looked at again with another end; whose they were.
-- Parameters: :bucket, :codes, :keys.
DELETE FROM problem
USING image JOIN source_object ON source_object.bucket = :bucket
                              AND source_object.key = image.key
WHERE problem.key = image.key
  AND problem.key = ANY(:keys)
  AND problem.code = ANY(:codes)
  AND problem.run_id = source_object.run_id
  AND (image.state = 'ready' OR problem.note <> image.note)
RETURNING problem.run_id

-- name: write_problems
-- A faulty image is a problem of the run that brought it, so it is open as long as that run
-- is the last that read the object, as any other problem. A run that brings the same bytes
-- again carries it on, unless it looked before this was committed: hence :keys NULL.
-- Parameters: :bucket, :codes, and :keys, NULL for all.
INSERT INTO problem (run_id, key, etag, code, severity, note)
SELECT source_object.run_id, image.key, image.etag,
       CASE image.state WHEN 'corrupt' THEN 'corrupt-image'
                        WHEN 'too-large' THEN 'image-too-large'
                        ELSE 'unsupported-image' END,
       CASE image.state WHEN 'corrupt' THEN 'error' ELSE 'warning' END,
       image.note
FROM image
JOIN source_object ON source_object.bucket = :bucket
                  AND source_object.key = image.key
                  AND source_object.etag = image.etag
WHERE image.state <> 'ready'
  AND (CAST(:keys AS text[]) IS NULL OR image.key = ANY(CAST(:keys AS text[])))
  AND NOT EXISTS (SELECT FROM problem
                  WHERE problem.key = image.key
                    AND problem.run_id = source_object.run_id
                    AND problem.code = ANY(:codes))
ORDER BY image.key
RETURNING run_id

-- name: count_problems
-- Adds what images showed later to the problems of their runs. Not a new count: of an old run some
-- problems may have been removed since. Updates runs in a fixed order, so that two transactions
-- that update the same runs cannot deadlock. Parameters: :run_ids, :more, one for each.
UPDATE run
SET counts = jsonb_set(run.counts, '{problems}',
                       to_jsonb(coalesce(CAST(run.counts->>'problems' AS bigint), 0) + found.more))
FROM (SELECT run.id, changed.more
      FROM run JOIN unnest(CAST(:run_ids AS bigint[]), CAST(:more AS bigint[])) AS changed (id, more)
           ON changed.id = run.id
      ORDER BY run.id FOR NO KEY UPDATE OF run) AS found
WHERE run.id = found.id

-- name: forget_images
-- Facts about objects that left the manifest, or are no images any more.
-- Parameters: :bucket.
DELETE FROM image
WHERE NOT EXISTS (SELECT FROM source_object
                  WHERE source_object.bucket = :bucket
                    AND source_object.key = image.key
                    AND source_object.kind = 'image')

-- name: drop_sizes
-- Thumbnails of sizes that are not asked for any more are no longer the images'.
-- Parameters: :sizes.
UPDATE image
SET sizes = ARRAY(SELECT size FROM unnest(sizes) WITH ORDINALITY AS made (size, place)
                  WHERE size = ANY(CAST(:sizes AS integer[]))
                  ORDER BY place)
WHERE NOT sizes <@ CAST(:sizes AS integer[])

-- name: claim_unused
-- Thumbnails that no image uses any more are about to be removed: from here on they count as
-- not put, so that an image which comes back meanwhile has them put again.
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

-- name: lose_thumbnail
-- It was put, and is no longer there: as if it had never been.
-- Parameters: :keys.
UPDATE thumbnail SET put_at = NULL WHERE key = ANY(:keys)
