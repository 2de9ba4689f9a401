-- The database and the schemas in which the tables are, or will be, created. No parameters, or as
-- named.

-- name: target
-- What the role may do in the database; locks no row.
SELECT current_database() AS database, current_user AS role,
       quote_ident(current_database()) AS quoted_database, quote_ident(current_user) AS quoted_role,
       pg_encoding_to_char(encoding) AS encoding, pg_is_in_recovery() AS is_replica,
       current_setting('transaction_read_only') = 'on' AS is_read_only,
       has_database_privilege(current_database(), 'CREATE') AS may_create_schemas,
       has_database_privilege(current_database(), 'TEMPORARY') AS may_make_temporary
FROM pg_database WHERE datname = current_database()

-- name: schemas
-- The given schemas that exist, and whether the role may create tables in them. Parameter: :names.
SELECT nspname AS name,
       has_schema_privilege(oid, 'CREATE') AND has_schema_privilege(oid, 'USAGE') AS may_create
FROM pg_namespace WHERE nspname = ANY(CAST(:names AS text[]))

-- name: clashes
-- Existing relations and types with names that the migrations need; each table creates a type.
-- Parameters: :schema; :names, of tables and indexes; :tables, of tables only.
SELECT relname AS name, pg_get_userbyid(relowner) AS owner,
       CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view'
                    WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
                    WHEN 'f' THEN 'foreign table' WHEN 'c' THEN 'type' ELSE 'index' END AS kind
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = :schema AND relname = ANY(CAST(:names AS text[]))
UNION ALL
SELECT typname, pg_get_userbyid(typowner), 'type'
FROM pg_type JOIN pg_namespace ON pg_namespace.oid = typnamespace
WHERE nspname = :schema AND typrelid = 0 AND typname = ANY(CAST(:tables AS text[]))
ORDER BY name

-- name: is_of_earlier
-- Whether a schema has the tables of versions before 0008, and not only an `alembic_version`, which
-- other programs have too. Parameter: :schema.
SELECT count(*) = 3
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = :schema AND relkind = 'r'
  AND relname IN ('alembic_version', 'source_object', 'shadowed_row')

-- name: lock_runs
-- Waits until no run is active, at most as long as lock_timeout. Parameter: :key.
SELECT pg_advisory_xact_lock(:key)
