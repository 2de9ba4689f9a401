-- Loads many users into an empty table. No row can be unchanged, restored or retired, and none is
-- shadowed unless a user has two rows, which the primary key rejects. It is created after the rows
-- are inserted, as are the other indexes, in half the time that filling them row by row takes.
-- The statements run in this order in a savepoint. Parameters: :run_id, :bucket.

-- name: find_attachments
-- The image of each user read: the newest one, then the smallest key. See merge.sql on NFC.
CREATE TEMPORARY TABLE attachment ON COMMIT DROP AS
SELECT DISTINCT ON (seen.user_id)
       seen.user_id, :bucket || '/' || source_object.key AS img_path
FROM source_object
JOIN (
    SELECT user_id,
           CASE WHEN octet_length(user_id) = char_length(user_id) THEN user_id
                WHEN octet_length(normalize(user_id)) = char_length(normalize(user_id)) THEN user_id
                ELSE normalize(user_id) END AS image_id
    FROM staging_row
) AS seen ON seen.image_id = source_object.user_id
WHERE source_object.bucket = :bucket AND source_object.kind = 'image'
ORDER BY seen.user_id, source_object.last_modified DESC, source_object.key

-- name: drop_indexes
ALTER TABLE users DROP CONSTRAINT users_pkey;
DROP INDEX users_source_key_idx, users_birthdate_idx

-- name: insert_users
-- In key order, in which most queries read them.
INSERT INTO users (user_id, first_name, last_name, birthts, extra, img_path,
                   source_key, source_line, run_id, updated_at)
SELECT user_id, first_name, last_name, birthts, extra, img_path,
       source_key, source_line, :run_id, now()
FROM staging_row LEFT JOIN attachment USING (user_id)
ORDER BY user_id

-- name: create_indexes
ALTER TABLE users ADD CONSTRAINT users_pkey PRIMARY KEY (user_id);
CREATE INDEX users_source_key_idx ON users (source_key);
CREATE INDEX users_birthdate_idx ON users (birthdate) WHERE retired_at IS NULL

-- name: update_statistics
ANALYZE users
