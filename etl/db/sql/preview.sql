-- The first keys of each outcome of a merge, as templates like those of merge.sql. Parameter: :most.

-- name: inserted
SELECT {key} FROM upserts WHERE _is_new AND NOT _is_restored ORDER BY {key} LIMIT :most

-- name: updated
SELECT {key} FROM upserts WHERE NOT _is_new ORDER BY {key} LIMIT :most

-- name: restored
SELECT {key} FROM upserts WHERE _is_restored ORDER BY {key} LIMIT :most

-- name: retired
SELECT DISTINCT {changed_rows.key}
FROM changed_rows
WHERE _is_removed
  AND NOT EXISTS (SELECT FROM candidate WHERE ({candidate.key}) = ({changed_rows.key}))
ORDER BY {changed_rows.key} LIMIT :most

-- name: shadowed
-- By object and line.
SELECT _source_key, _source_line
FROM candidate
WHERE _from_this_run AND _rank > 1
ORDER BY _source_key, _source_line LIMIT :most

-- name: first_inserted
-- After a first load, which has no temporary tables.
SELECT {key} FROM {table} ORDER BY {key} LIMIT :most
