-- A table as it is, next to the columns that it should have; see etl.db.reshape. Parameters: as
-- named; tables with schemas, quoted.

-- name: columns
-- The columns of a table, and those of the table :wanted. A generated column has its expression.
-- Parameters: :table, :wanted.
SELECT coalesce(stored.name, wanted.name) AS name, stored.type AS stored_type,
       wanted.type AS wanted_type, coalesce(stored.is_required, false) AS is_required,
       coalesce(stored.has_default, false) AS has_default, stored.generated AS stored_generated,
       wanted.generated AS wanted_generated,
       stored.traits IS NOT DISTINCT FROM wanted.traits AS is_same
FROM (SELECT * FROM (
          SELECT attname AS name, format_type(atttypid, atttypmod) AS type,
                 attnotnull AS is_required, atthasdef AS has_default,
                 CASE WHEN attgenerated <> '' THEN pg_get_expr(adbin, adrelid) END AS generated,
                 ROW (atttypid, atttypmod, attcollation) AS traits, attnum
          FROM pg_attribute
          LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
          WHERE attrelid = to_regclass(:table) AND attnum > 0 AND NOT attisdropped) AS one
     ) AS stored
FULL JOIN (
    SELECT attname AS name, format_type(atttypid, atttypmod) AS type,
           CASE WHEN attgenerated <> '' THEN pg_get_expr(adbin, adrelid) END AS generated,
           ROW (atttypid, atttypmod, attcollation) AS traits
    FROM pg_attribute
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attrelid = to_regclass(:wanted) AND attnum > 0 AND NOT attisdropped
) AS wanted ON wanted.name = stored.name
ORDER BY stored.attnum

-- name: indexes
-- The indexes of a table: their names, their columns in order, whether one is the primary key, and
-- how PostgreSQL describes them. Parameter: :table.
SELECT CAST(relname AS text) AS name, indisprimary AS is_key,
       ARRAY(SELECT coalesce(CAST(attname AS text), '')
             FROM unnest(indkey) WITH ORDINALITY AS part (number, place)
             LEFT JOIN pg_attribute ON attrelid = indrelid AND attnum = part.number
             ORDER BY part.place) AS columns,
       quote_ident(nspname) || '.' || quote_ident(relname) AS qualified,
       pg_describe_object(CAST('pg_class' AS regclass), indexrelid, 0) AS description,
       pg_describe_object(CAST('pg_constraint' AS regclass), con.oid, 0) AS constraint_description
FROM pg_index
JOIN pg_class ON pg_class.oid = indexrelid
JOIN pg_namespace ON pg_namespace.oid = relnamespace
LEFT JOIN pg_constraint AS con ON conindid = indexrelid AND conrelid = indrelid
WHERE indrelid = to_regclass(:table)
ORDER BY 1

-- name: generated
-- The generated columns of a table as PostgreSQL describes them. Parameters: :table; :names.
SELECT pg_describe_object(CAST('pg_attrdef' AS regclass), pg_attrdef.oid, 0)
FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
WHERE adrelid = to_regclass(:table) AND attgenerated <> ''
  AND attname = ANY (CAST(:names AS text[]))

-- name: constraints
-- The constraints of a table, which PostgreSQL makes again for columns of another type, as it
-- describes them. Parameter: :table.
SELECT pg_describe_object(CAST('pg_constraint' AS regclass), oid, 0)
FROM pg_constraint WHERE conrelid = to_regclass(:table)

-- name: last_column
-- The number of the table's last column, 0 without a table; dropped ones count. Parameter: :table.
SELECT coalesce(max(attnum), 0) AS number FROM pg_attribute WHERE attrelid = to_regclass(:table)

-- name: copied_traits
-- The statements that give a new table the owner, options, comments and privileges on columns of
-- another one. Parameters: :table; :target.
SELECT statement
FROM (
    SELECT 1 AS place, format('ALTER TABLE %s SET (%s)', CAST(:target AS text),
                              array_to_string(reloptions, ', ')) AS statement
    FROM pg_class WHERE oid = to_regclass(:table) AND reloptions IS NOT NULL
    UNION ALL
    SELECT 1, format('ALTER TABLE %s REPLICA IDENTITY FULL', CAST(:target AS text))
    FROM pg_class WHERE oid = to_regclass(:table) AND relreplident = 'f'
    UNION ALL
    SELECT 1, format('COMMENT ON %s %s IS %L',
                     CASE WHEN objsubid = 0 THEN 'TABLE' ELSE 'COLUMN' END,
                     CAST(:target AS text) || coalesce('.' || quote_ident(attname), ''),
                     description)
    FROM pg_description
    LEFT JOIN pg_attribute ON attrelid = objoid AND attnum = objsubid AND objsubid > 0
    WHERE classoid = CAST('pg_class' AS regclass) AND objoid = to_regclass(:table)
      AND (objsubid = 0 OR attname IN (SELECT attname FROM pg_attribute
                                       WHERE attrelid = to_regclass(:target)
                                         AND NOT attisdropped))
    UNION ALL
    SELECT 1, format('GRANT %s (%I) ON %s TO %s', privilege_type, attname, CAST(:target AS text),
                     CASE grantee WHEN 0 THEN 'PUBLIC'
                                  ELSE CAST(CAST(grantee AS regrole) AS text) END)
           || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
    FROM pg_attribute CROSS JOIN aclexplode(attacl)
    WHERE attrelid = to_regclass(:table) AND NOT attisdropped
      AND attname IN (SELECT attname FROM pg_attribute
                      WHERE attrelid = to_regclass(:target) AND NOT attisdropped)
    UNION ALL
    SELECT 2, format('ALTER TABLE %s OWNER TO %I', CAST(:target AS text),
                     pg_get_userbyid(mine.relowner))
    FROM pg_class AS mine JOIN pg_class AS new ON new.oid = to_regclass(:target)
    WHERE mine.oid = to_regclass(:table) AND mine.relowner <> new.relowner
) AS found
ORDER BY place
