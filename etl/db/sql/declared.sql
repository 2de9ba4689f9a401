-- The installed datasets. Parameters: none, or as named.

-- name: load
-- In the order of the declaration, which `installed_at` keeps. `is_new`: no run has committed since
-- they were changed, and the manifest has objects from before. Event runs then wait for a full run,
-- but not for datasets that it could not sync, or they would request one for each event.
SELECT name, declaration, reading_hash, added_columns,
       EXISTS (SELECT FROM source_object)
       AND installed_at > coalesce((SELECT max(finished_at) FROM run
                                    WHERE state = 'succeeded'
                                       OR state = 'failed' AND dataset_counts <> '{}'::jsonb),
                                   '-infinity') AS is_new
FROM dataset
ORDER BY installed_at

-- name: delete_others
-- Parameter: :names.
DELETE FROM dataset WHERE name <> ALL (CAST(:names AS text[]))

-- name: write
-- Parameters: :name, :declaration, :reading_hash; :columns, those declared, which are not added any
-- more; :place, in the declaration.
INSERT INTO dataset (name, declaration, reading_hash, installed_at)
VALUES (:name, CAST(:declaration AS jsonb), :reading_hash,
        clock_timestamp() + :place * interval '1 microsecond')
ON CONFLICT (name) DO UPDATE SET
    declaration = excluded.declaration, reading_hash = excluded.reading_hash,
    installed_at = excluded.installed_at,
    added_columns = ARRAY(SELECT name FROM unnest(dataset.added_columns) WITH ORDINALITY
                                           AS added (name, place)
                          WHERE name <> ALL (CAST(:columns AS text[])) ORDER BY place)

-- name: adopt
-- Parameters: :name, :hash.
UPDATE source_object SET reading_hash = :hash WHERE dataset = :name AND reading_hash IS NULL

-- name: add_columns
-- Parameters: :name, :columns.
UPDATE dataset SET added_columns = CAST(:columns AS text[]) WHERE name = :name

-- name: keep_new
-- Makes the installation later than every run; the order stays.
UPDATE dataset SET installed_at = installed_at + (
    SELECT greatest(clock_timestamp(), (SELECT max(finished_at) FROM run)
                                       + interval '1 microsecond')
           - min(installed_at)
    FROM dataset)

-- name: forget_hold
-- The state of a dropped dataset. Parameter of these: :name.
DELETE FROM hold WHERE dataset = :name

-- name: forget_held
DELETE FROM held_object WHERE dataset = :name

-- name: forget_problems
DELETE FROM problem WHERE dataset = :name

-- name: forget_objects
DELETE FROM source_object WHERE dataset = :name

-- name: forget
DELETE FROM dataset WHERE name = :name
