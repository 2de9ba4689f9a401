-- Merges staging into the users: insert, update, retire, shadow. The statements run in this order
-- in one transaction, after those of manifest.sql (see etl.sync.merge). Parameters: :run_id,
-- :bucket and :keys, the keys in staging for a small merge, else null. PostgreSQL estimates the
-- users of a literal key from statistics, and assumes an average for keys that it reads from a
-- table.
-- Every statement depends only on staging and the tables, never on the order of earlier runs.
-- An `analyze_` statement runs only if the statement before it wrote many rows. It also creates
-- indexes: if the statistics of `users` are stale, PostgreSQL looks the rows up one by one.

-- name: find_changed_rows
-- The differences between the rows read and the rows stored for the same objects. A row read is
-- new, changed, moved to another line, or its user is retired or stored from another object. A user
-- whose row is gone has `is_removed`. Every other row is in sync. So is each user's image, unless
-- this run read a change of it; see find_conflicts.
CREATE TEMPORARY TABLE changed_rows ON COMMIT DROP AS
SELECT coalesce(read.user_id, stored.user_id) AS user_id, read.user_id IS NULL AS is_removed,
       read.first_name, read.last_name, read.birthts, read.extra,
       read.source_key, read.source_line,
       stored.source_key AS stored_key, stored.source_line AS stored_line,
       stored.img_path AS stored_img_path, stored.retired_at AS stored_retired_at
FROM staging_row AS read
FULL JOIN (
    SELECT users.* FROM staging_object JOIN users ON users.source_key = staging_object.key
    WHERE CAST(:keys AS text[]) IS NULL OR users.source_key = ANY (CAST(:keys AS text[]))
) AS stored ON stored.user_id = read.user_id
WHERE (read.user_id IS NULL AND stored.retired_at IS NULL)
   OR stored.user_id IS NULL
   OR (read.user_id IS NOT NULL
       AND (stored.retired_at IS NOT NULL
            OR (stored.source_line, stored.birthts, stored.first_name, stored.last_name,
                stored.source_key, stored.extra)
               IS DISTINCT FROM
               (read.source_line, read.birthts, read.first_name, read.last_name, read.source_key,
                read.extra)))

-- name: analyze_changed_rows
CREATE INDEX ON changed_rows (user_id);
ANALYZE changed_rows

-- name: find_conflicts
-- Users that cannot be settled by comparing the row read with the row stored: users with several
-- rows in this run, with a shadowed row, with a row of an object that this run did not read, and
-- users who only lose a row or change their image. All other users skip find_candidates.
CREATE TEMPORARY TABLE conflicts ON COMMIT DROP AS
SELECT user_id FROM changed_rows GROUP BY user_id HAVING count(*) > 1 OR bool_or(is_removed)
UNION
SELECT moved.user_id  -- the stored row was read too, unchanged
FROM changed_rows AS moved
JOIN staging_row AS kept
     ON kept.user_id = moved.user_id
        AND kept.source_key = moved.stored_key AND kept.source_line = moved.stored_line
WHERE (moved.source_key, moved.source_line) <> (moved.stored_key, moved.stored_line)
UNION
SELECT user_id FROM shadowed_row JOIN staging_row USING (user_id)
UNION
SELECT user_id
FROM changed_rows JOIN users USING (user_id)
WHERE changed_rows.stored_key IS NULL AND users.retired_at IS NULL
UNION
SELECT shadowed_row.user_id
FROM staging_object JOIN shadowed_row ON shadowed_row.source_key = staging_object.key
WHERE staging_object.kind = 'csv'
UNION
SELECT user_id
FROM staging_object
WHERE kind = 'image'
  AND NOT EXISTS (SELECT FROM changed_rows WHERE changed_rows.user_id = staging_object.user_id)
UNION
SELECT users.user_id  -- ids that equal an image's only after NFC; see find_attachments
FROM staging_object JOIN users ON staging_object.user_id = normalize(users.user_id)
WHERE staging_object.kind = 'image'
  AND octet_length(staging_object.user_id) <> char_length(staging_object.user_id)
  AND octet_length(users.user_id) <> char_length(users.user_id)
  AND users.user_id IS NOT NFC NORMALIZED
  -- Evaluated once, before users are read, because no index finds these ids.
  AND (SELECT EXISTS (SELECT FROM staging_object
                      WHERE kind = 'image' AND octet_length(user_id) <> char_length(user_id)))

-- name: analyze_conflicts
CREATE INDEX ON conflicts (user_id);
ANALYZE conflicts

-- name: find_candidates
-- Every valid row of the users in `conflicts`: rows that this run read, and rows of earlier runs
-- whose objects this run did not read. `rank` 1 wins.
CREATE TEMPORARY TABLE candidate ON COMMIT DROP AS
SELECT valid_row.*,
       row_number() OVER (
           PARTITION BY valid_row.user_id
           ORDER BY source_object.last_modified DESC, valid_row.source_key,
                    valid_row.source_line DESC
       ) AS rank
FROM (
    SELECT user_id, first_name, last_name, birthts, extra, source_key, source_line,
           true AS from_this_run
    FROM staging_row JOIN conflicts USING (user_id)
    UNION ALL
    SELECT user_id, first_name, last_name, birthts, extra, source_key, source_line, false
    FROM users JOIN conflicts USING (user_id)
    WHERE retired_at IS NULL
      AND NOT EXISTS (SELECT FROM staging_object WHERE staging_object.key = users.source_key)
    UNION ALL
    SELECT user_id, first_name, last_name, birthts, extra, source_key, source_line, false
    FROM shadowed_row JOIN conflicts USING (user_id)
    WHERE NOT EXISTS (SELECT FROM staging_object WHERE staging_object.key = shadowed_row.source_key)
) AS valid_row
JOIN source_object ON source_object.bucket = :bucket AND source_object.key = valid_row.source_key

-- name: analyze_candidates
CREATE INDEX ON candidate (user_id);
CREATE INDEX ON candidate (source_key, source_line);
ANALYZE candidate

-- name: find_attachments
-- The image of each user in this merge: the newest one, then the smallest key. The manifest stores
-- image ids in NFC; users keep their ids as written. ASCII ids, nearly all of them, are in NFC. An
-- id that only NFC turns into ASCII stays as it is, as in etl.model.keys.image_id_of.
CREATE TEMPORARY TABLE attachment ON COMMIT DROP AS
SELECT DISTINCT ON (seen.user_id)
       seen.user_id, :bucket || '/' || source_object.key AS img_path
FROM source_object
JOIN (
    SELECT user_id,
           CASE WHEN octet_length(user_id) = char_length(user_id) THEN user_id
                WHEN octet_length(normalize(user_id)) = char_length(normalize(user_id)) THEN user_id
                ELSE normalize(user_id) END AS image_id
    FROM (SELECT user_id FROM conflicts UNION SELECT user_id FROM changed_rows) AS found
) AS seen ON seen.image_id = source_object.user_id
WHERE source_object.bucket = :bucket AND source_object.kind = 'image'
ORDER BY seen.user_id, source_object.last_modified DESC, source_object.key

-- name: analyze_attachments
ANALYZE attachment

-- name: find_upserts
-- The winners that are new, or differ from the stored row. Rows already known to differ from the
-- stored row skip the second lookup.
CREATE TEMPORARY TABLE upserts ON COMMIT DROP AS
SELECT changed_rows.user_id, changed_rows.first_name, changed_rows.last_name,
       changed_rows.birthts, changed_rows.extra, attachment.img_path, changed_rows.source_key,
       changed_rows.source_line, true AS from_this_run,
       false AS is_new, changed_rows.stored_retired_at IS NOT NULL AS is_restored,
       changed_rows.stored_retired_at IS NULL AND changed_rows.stored_img_path IS NOT NULL
           AS had_image
FROM changed_rows
LEFT JOIN attachment ON attachment.user_id = changed_rows.user_id
WHERE changed_rows.stored_key IS NOT NULL
  AND NOT EXISTS (SELECT FROM conflicts WHERE conflicts.user_id = changed_rows.user_id)
UNION ALL
SELECT winner.user_id, winner.first_name, winner.last_name, winner.birthts, winner.extra,
       attachment.img_path, winner.source_key, winner.source_line, winner.from_this_run,
       users.user_id IS NULL, users.retired_at IS NOT NULL,
       users.retired_at IS NULL AND users.img_path IS NOT NULL
FROM (
    SELECT user_id, first_name, last_name, birthts, extra, source_key, source_line,
           true AS from_this_run
    FROM changed_rows
    WHERE stored_key IS NULL
      AND NOT EXISTS (SELECT FROM conflicts WHERE conflicts.user_id = changed_rows.user_id)
    UNION ALL
    SELECT user_id, first_name, last_name, birthts, extra, source_key, source_line, from_this_run
    FROM candidate
    WHERE rank = 1
) AS winner
LEFT JOIN attachment ON attachment.user_id = winner.user_id
LEFT JOIN users ON users.user_id = winner.user_id
WHERE users.user_id IS NULL
   OR users.retired_at IS NOT NULL
   OR (users.first_name, users.last_name, users.birthts, users.extra, users.img_path,
       users.source_key, users.source_line)
      IS DISTINCT FROM
      (winner.first_name, winner.last_name, winner.birthts, winner.extra, attachment.img_path,
       winner.source_key, winner.source_line)

-- name: analyze_upserts
ANALYZE upserts

-- name: update_users
-- Winners replace the stored rows.
UPDATE users SET
    first_name = upserts.first_name, last_name = upserts.last_name,
    birthts = upserts.birthts, extra = upserts.extra, img_path = upserts.img_path,
    source_key = upserts.source_key, source_line = upserts.source_line,
    run_id = :run_id, updated_at = now(), retired_at = NULL
FROM upserts
WHERE upserts.user_id = users.user_id AND NOT upserts.is_new

-- name: insert_users
-- New users in key order, which makes index insertion cheaper.
INSERT INTO users (user_id, first_name, last_name, birthts, extra, img_path,
                   source_key, source_line, run_id, updated_at)
SELECT user_id, first_name, last_name, birthts, extra, img_path,
       source_key, source_line, :run_id, now()
FROM upserts
WHERE is_new
ORDER BY user_id

-- name: retire_users
-- Users without any valid row left in the bucket are kept, but not served.
UPDATE users SET retired_at = now(), updated_at = now(), run_id = :run_id
FROM conflicts
WHERE conflicts.user_id = users.user_id
  AND users.retired_at IS NULL
  AND NOT EXISTS (SELECT FROM candidate WHERE candidate.user_id = users.user_id)

-- name: drop_shadows
-- Shadowed rows that left the bucket or now win.
DELETE FROM shadowed_row
USING conflicts
WHERE conflicts.user_id = shadowed_row.user_id
  AND NOT EXISTS (
      SELECT FROM candidate AS loser
      WHERE loser.rank > 1
        AND loser.source_key = shadowed_row.source_key
        AND loser.source_line = shadowed_row.source_line)

-- name: write_shadows
-- Valid rows that lost are kept, so that one can win once the current winner is gone.
INSERT INTO shadowed_row (source_key, source_line, user_id, first_name, last_name, birthts,
                          extra, run_id)
SELECT loser.source_key, loser.source_line, loser.user_id, loser.first_name, loser.last_name,
       loser.birthts, loser.extra, :run_id
FROM candidate AS loser
LEFT JOIN shadowed_row AS known USING (source_key, source_line)
WHERE loser.rank > 1
  AND (known.user_id IS NULL
       OR (known.user_id, known.first_name, known.last_name, known.birthts, known.extra)
          IS DISTINCT FROM
          (loser.user_id, loser.first_name, loser.last_name, loser.birthts, loser.extra))
ON CONFLICT (source_key, source_line) DO UPDATE SET
    user_id = excluded.user_id, first_name = excluded.first_name,
    last_name = excluded.last_name, birthts = excluded.birthts, extra = excluded.extra,
    run_id = excluded.run_id
