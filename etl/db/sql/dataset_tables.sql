-- The tables of a dataset, as they exist. Parameters: as named.

-- name: found
-- The relations and types with these names, and whether each is a table of ours, which has our
-- columns. Parameters: :schema, :names.
SELECT found.name, bool_or(found.is_ours) AS is_ours
FROM (
    SELECT relname AS name,
           relkind IN ('r', 'p')
           AND (SELECT count(*) FROM pg_attribute
                WHERE attrelid = pg_class.oid AND NOT attisdropped
                  AND attname IN ('_source_key', '_source_line', '_run_id')) = 3 AS is_ours
    FROM pg_class
    WHERE relnamespace = to_regnamespace(quote_ident(:schema))
      AND relname = ANY(CAST(:names AS text[]))
    UNION ALL
    SELECT typname, false
    FROM pg_type
    WHERE typnamespace = to_regnamespace(quote_ident(:schema)) AND typrelid = 0
      AND typname = ANY(CAST(:names AS text[]))
) AS found
GROUP BY found.name

-- name: differing
-- Columns whose type differs from the declared one. Parameters: :table, :staging.
SELECT stored.attname AS name, format_type(stored.atttypid, stored.atttypmod) AS stored,
       format_type(declared.atttypid, declared.atttypmod) AS declared
FROM pg_attribute AS stored JOIN pg_attribute AS declared ON declared.attname = stored.attname
WHERE stored.attrelid = to_regclass(:table) AND declared.attrelid = to_regclass(:staging)
  AND stored.attnum > 0 AND NOT stored.attisdropped
  AND (stored.atttypid, stored.atttypmod) <> (declared.atttypid, declared.atttypmod)
ORDER BY stored.attnum

-- name: primary_key
-- The columns of the primary key, in its order. Parameter: :table.
SELECT attname
FROM pg_index
CROSS JOIN LATERAL unnest(indkey) WITH ORDINALITY AS part (number, place)
JOIN pg_attribute ON attrelid = indrelid AND attnum = part.number
WHERE indrelid = to_regclass(:table) AND indisprimary
ORDER BY part.place

-- name: required
-- NOT NULL columns that are not declared as required, or not declared at all. Parameters: :table,
-- :staging.
SELECT stored.attname AS name, declared.attname IS NOT NULL AS is_declared
FROM pg_attribute AS stored
LEFT JOIN pg_attribute AS declared
     ON declared.attrelid = to_regclass(:staging) AND declared.attname = stored.attname
WHERE stored.attrelid = to_regclass(:table) AND stored.attnum > 0 AND NOT stored.attisdropped
  AND stored.attnotnull AND NOT stored.atthasdef AND NOT starts_with(stored.attname, '_')
  AND declared.attnotnull IS NOT TRUE
ORDER BY stored.attnum

-- name: left
-- Columns that are not declared. Those of other programs are in one table only. `may_be_added`: data
-- may have added it. Parameters: :table, :retired; :columns, those declared.
SELECT stored.attname AS name,
       stored.atttypid = CAST('text' AS regtype) AND NOT stored.attnotnull AND NOT stored.atthasdef
           AS may_be_added
FROM pg_attribute AS stored JOIN pg_attribute AS retired ON retired.attname = stored.attname
WHERE stored.attrelid = to_regclass(:table) AND retired.attrelid = to_regclass(:retired)
  AND stored.attnum > 0 AND NOT stored.attisdropped AND NOT starts_with(stored.attname, '_')
  AND stored.attname <> ALL (CAST(:columns AS text[]))
ORDER BY stored.attnum
