-- Rows of replaced objects, compared with the stored ones while they are read; see
-- etl.sync.unchanged. The tables are temporary and belong to the connection of the run. The
-- statements are templates, as those of merge.sql. Parameters: as named.

-- name: create
-- {gone}: stored rows that differ from the row read, or whose line has none. {compared_objects}:
-- objects whose stored rows up to `last_line`, or all if it is null, are in {gone} or equal to the
-- row read.
CREATE TEMPORARY TABLE IF NOT EXISTS {gone} AS SELECT {key_and_place} FROM {staging} WITH NO DATA;
CREATE TEMPORARY TABLE IF NOT EXISTS {compared_objects} (
    key text COLLATE "C" PRIMARY KEY, rows_same bigint NOT NULL, last_line integer
)

-- name: forget
-- What an earlier attempt to read the object found. Parameter: :key.
DELETE FROM {gone} WHERE _source_key = :key

-- name: add
-- Parameters: :key, :rows_same, :last_line.
INSERT INTO {compared_objects} (key, rows_same, last_line) VALUES (:key, :rows_same, :last_line)
