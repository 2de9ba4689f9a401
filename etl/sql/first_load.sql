-- Filling an empty table of users: its indexes are made afterwards, which takes half as long.
-- All within the merge's transaction; there is nobody to serve before it ends.

-- name: drop_indexes
ALTER TABLE users DROP CONSTRAINT users_pkey;
DROP INDEX users_source_key_idx, users_birthdate_idx

-- name: create_indexes
ALTER TABLE users ADD CONSTRAINT users_pkey PRIMARY KEY (user_id);
CREATE INDEX users_source_key_idx ON users (source_key);
CREATE INDEX users_birthdate_idx ON users (birthdate) WHERE retired_at IS NULL
