-- What one run read becomes the users: insert, update, retire, shadow.
-- Run in this order in one transaction, behind the manifest. Parameters: :run_id, :bucket, and
-- :keys, those of the objects in staging where they are few, else null: PostgreSQL knows how many
-- users a key has that it can see, and takes an average for those it finds in a table.
-- Every statement depends on the staging and the tables only, never on earlier runs' order.
-- An `analyze_` statement is run only where the table before it came out large. It also makes the
-- indexes by which rows are looked up one by one: that is what PostgreSQL does where it knows too
-- little of `users` to foresee how many they are.

-- name: find_touched
-- What differs between the rows read and the rows held of the same objects, and no more: rows
-- that are new, or changed, or moved to another line, or whose user is held by another object or
-- retired; and users who lost their row (`is_lost`). All of the rest is level already. A user's
-- image is level too, unless this run saw a change of it; see find_contested.
CREATE TEMPORARY TABLE touched ON COMMIT DROP AS
SELECT coalesce(read.user_id, held.user_id) AS user_id, read.user_id IS NULL AS is_lost,
       read.first_name, read.last_name, read.birthts, read.extra,
       read.source_key, read.source_line,
       held.source_key AS held_key, held.source_line AS held_line,
       held.img_path AS held_img_path, held.retired_at AS held_retired_at
FROM staging_row AS read
FULL JOIN (
    SELECT users.* FROM staging_object JOIN users ON users.source_key = staging_object.key
    WHERE CAST(:keys AS text[]) IS NULL OR users.source_key = ANY (CAST(:keys AS text[]))
) AS held ON held.user_id = read.user_id
WHERE (read.user_id IS NULL AND held.retired_at IS NULL)
   OR held.user_id IS NULL
   OR (read.user_id IS NOT NULL
       AND (held.retired_at IS NOT NULL
            OR (held.source_line, held.birthts, held.first_name, held.last_name, held.source_key,
                held.extra)
               IS DISTINCT FROM
               (read.source_line, read.birthts, read.first_name, read.last_name, read.source_key,
                read.extra)))

-- name: analyze_touched
CREATE INDEX ON touched (user_id);
ANALYZE touched

-- name: find_contested
-- The users for whom more must be asked than "is the row read the row held?": those with
-- several rows in this run, with a shadowed row, with a row of an object this run did not
-- read, and those who only lose a row or change their image. Everybody else stays out of it.
CREATE TEMPORARY TABLE contested ON COMMIT DROP AS
SELECT user_id FROM touched GROUP BY user_id HAVING count(*) > 1 OR bool_or(is_lost)
UNION
SELECT moved.user_id  -- the row we hold was read as well, unchanged
FROM touched AS moved
JOIN staging_row AS kept
     ON kept.user_id = moved.user_id
        AND kept.source_key = moved.held_key AND kept.source_line = moved.held_line
WHERE (moved.source_key, moved.source_line) <> (moved.held_key, moved.held_line)
UNION
SELECT user_id FROM shadowed_row JOIN staging_row USING (user_id)
UNION
SELECT user_id
FROM touched JOIN users USING (user_id)
WHERE touched.held_key IS NULL AND users.retired_at IS NULL
UNION
SELECT shadowed_row.user_id
FROM staging_object JOIN shadowed_row ON shadowed_row.source_key = staging_object.key
WHERE staging_object.kind = 'csv'
UNION
SELECT user_id
FROM staging_object
WHERE kind = 'image'
  AND NOT EXISTS (SELECT FROM touched WHERE touched.user_id = staging_object.user_id)
UNION
SELECT users.user_id  -- ids that are an image's in another form of Unicode; see find_images
FROM staging_object JOIN users ON staging_object.user_id = normalize(users.user_id)
WHERE staging_object.kind = 'image'
  AND octet_length(staging_object.user_id) <> char_length(staging_object.user_id)
  AND octet_length(users.user_id) <> char_length(users.user_id)
  AND users.user_id IS NOT NFC NORMALIZED
  -- Asked once, before any user is looked at: no index helps to find these.
  AND (SELECT EXISTS (SELECT FROM staging_object
                      WHERE kind = 'image' AND octet_length(user_id) <> char_length(user_id)))

-- name: analyze_contested
CREATE INDEX ON contested (user_id);
ANALYZE contested

-- name: find_candidates
-- Every valid row the bucket holds for a contested user: what this run read, and of what
-- earlier runs read, the rows of objects this run did not touch. `place` 1 wins.
CREATE TEMPORARY TABLE candidate ON COMMIT DROP AS
SELECT everyone.*,
       row_number() OVER (
           PARTITION BY everyone.user_id
           ORDER BY source_object.last_modified DESC, everyone.source_key, everyone.source_line DESC
       ) AS place
FROM (
    SELECT user_id, first_name, last_name, birthts, extra, source_key, source_line, true AS fresh
    FROM staging_row JOIN contested USING (user_id)
    UNION ALL
    SELECT user_id, first_name, last_name, birthts, extra, source_key, source_line, false
    FROM users JOIN contested USING (user_id)
    WHERE retired_at IS NULL
      AND NOT EXISTS (SELECT FROM staging_object WHERE staging_object.key = users.source_key)
    UNION ALL
    SELECT user_id, first_name, last_name, birthts, extra, source_key, source_line, false
    FROM shadowed_row JOIN contested USING (user_id)
    WHERE NOT EXISTS (SELECT FROM staging_object WHERE staging_object.key = shadowed_row.source_key)
) AS everyone
JOIN source_object ON source_object.bucket = :bucket AND source_object.key = everyone.source_key

-- name: analyze_candidates
CREATE INDEX ON candidate (user_id);
CREATE INDEX ON candidate (source_key, source_line);
ANALYZE candidate

-- name: find_images
-- The image of each user this run looks at: the newest, then the smallest key. The manifest holds
-- the ids of images in NFC, users have theirs as written. Ids in ASCII, nearly all, are in NFC; one
-- that only NFC makes ASCII stays as it is, as etl.model.keys.image_id_of does it.
CREATE TEMPORARY TABLE portrait ON COMMIT DROP AS
SELECT DISTINCT ON (seen.user_id)
       seen.user_id, :bucket || '/' || source_object.key AS img_path
FROM source_object
JOIN (
    SELECT user_id,
           CASE WHEN octet_length(user_id) = char_length(user_id) THEN user_id
                WHEN octet_length(normalize(user_id)) = char_length(normalize(user_id)) THEN user_id
                ELSE normalize(user_id) END AS image_id
    FROM (SELECT user_id FROM contested UNION SELECT user_id FROM touched) AS found
) AS seen ON seen.image_id = source_object.user_id
WHERE source_object.bucket = :bucket AND source_object.kind = 'image'
ORDER BY seen.user_id, source_object.last_modified DESC, source_object.key

-- name: analyze_images
ANALYZE portrait

-- name: find_differences
-- The winners that are new, or differ from the row we hold; the rest stays untouched. Nobody is
-- looked up whose row is known to differ from the one held.
CREATE TEMPORARY TABLE difference ON COMMIT DROP AS
SELECT touched.user_id, touched.first_name, touched.last_name, touched.birthts, touched.extra,
       portrait.img_path, touched.source_key, touched.source_line, true AS fresh,
       false AS is_new, touched.held_retired_at IS NOT NULL AS is_back,
       touched.held_retired_at IS NULL AND touched.held_img_path IS NOT NULL AS had_image
FROM touched
LEFT JOIN portrait ON portrait.user_id = touched.user_id
WHERE touched.held_key IS NOT NULL
  AND NOT EXISTS (SELECT FROM contested WHERE contested.user_id = touched.user_id)
UNION ALL
SELECT winner.user_id, winner.first_name, winner.last_name, winner.birthts, winner.extra,
       portrait.img_path, winner.source_key, winner.source_line, winner.fresh,
       users.user_id IS NULL, users.retired_at IS NOT NULL,
       users.retired_at IS NULL AND users.img_path IS NOT NULL
FROM (
    SELECT user_id, first_name, last_name, birthts, extra, source_key, source_line, true AS fresh
    FROM touched
    WHERE held_key IS NULL
      AND NOT EXISTS (SELECT FROM contested WHERE contested.user_id = touched.user_id)
    UNION ALL
    SELECT user_id, first_name, last_name, birthts, extra, source_key, source_line, fresh
    FROM candidate
    WHERE place = 1
) AS winner
LEFT JOIN portrait ON portrait.user_id = winner.user_id
LEFT JOIN users ON users.user_id = winner.user_id
WHERE users.user_id IS NULL
   OR users.retired_at IS NOT NULL
   OR (users.first_name, users.last_name, users.birthts, users.extra, users.img_path,
       users.source_key, users.source_line)
      IS DISTINCT FROM
      (winner.first_name, winner.last_name, winner.birthts, winner.extra, portrait.img_path,
       winner.source_key, winner.source_line)

-- name: analyze_differences
ANALYZE difference

-- name: update_users
-- Winners replace what we held of them.
UPDATE users SET
    first_name = difference.first_name, last_name = difference.last_name,
    birthts = difference.birthts, extra = difference.extra, img_path = difference.img_path,
    source_key = difference.source_key, source_line = difference.source_line,
    run_id = :run_id, updated_at = now(), retired_at = NULL
FROM difference
WHERE difference.user_id = users.user_id AND NOT difference.is_new

-- name: insert_users
-- New users, in the order of the key, which spares the index.
INSERT INTO users (user_id, first_name, last_name, birthts, extra, img_path,
                   source_key, source_line, run_id, updated_at)
SELECT user_id, first_name, last_name, birthts, extra, img_path,
       source_key, source_line, :run_id, now()
FROM difference
WHERE is_new
ORDER BY user_id

-- name: retire_users
-- Contested users for whom the bucket holds no valid row any more are kept, but not served.
UPDATE users SET retired_at = now(), updated_at = now(), run_id = :run_id
FROM contested
WHERE contested.user_id = users.user_id
  AND users.retired_at IS NULL
  AND NOT EXISTS (SELECT FROM candidate WHERE candidate.user_id = users.user_id)

-- name: drop_shadows
-- Shadowed rows that are gone from the bucket, or won.
DELETE FROM shadowed_row
USING contested
WHERE contested.user_id = shadowed_row.user_id
  AND NOT EXISTS (
      SELECT FROM candidate AS loser
      WHERE loser.place > 1
        AND loser.source_key = shadowed_row.source_key
        AND loser.source_line = shadowed_row.source_line)

-- name: write_shadows
-- Valid rows that lost are kept, to come back when the winner goes.
INSERT INTO shadowed_row (source_key, source_line, user_id, first_name, last_name, birthts,
                          extra, run_id)
SELECT loser.source_key, loser.source_line, loser.user_id, loser.first_name, loser.last_name,
       loser.birthts, loser.extra, :run_id
FROM candidate AS loser
LEFT JOIN shadowed_row AS known USING (source_key, source_line)
WHERE loser.place > 1
  AND (known.user_id IS NULL
       OR (known.user_id, known.first_name, known.last_name, known.birthts, known.extra)
          IS DISTINCT FROM
          (loser.user_id, loser.first_name, loser.last_name, loser.birthts, loser.extra))
ON CONFLICT (source_key, source_line) DO UPDATE SET
    user_id = excluded.user_id, first_name = excluded.first_name,
    last_name = excluded.last_name, birthts = excluded.birthts, extra = excluded.extra,
    run_id = excluded.run_id
