-- The schema in which the tables are, or will be, created. Parameters: none, or as named.

-- name: target
-- The schema in which the role would create tables; locks no row.
SELECT current_database() AS database, current_schema() AS schema, current_user AS role,
       quote_ident(current_database()) AS quoted_database,
       quote_ident(current_schema()) AS quoted_schema, quote_ident(current_user) AS quoted_role,
       pg_encoding_to_char(encoding) AS encoding, pg_is_in_recovery() AS is_replica,
       current_setting('transaction_read_only') = 'on' AS is_read_only,
       current_setting('search_path') AS search_path,
       has_schema_privilege(current_schema(), 'CREATE') AS may_create,
       has_database_privilege(current_database(), 'TEMPORARY') AS may_make_temporary
FROM pg_database WHERE datname = current_database()

-- name: clashes
-- Existing relations and types with names that the migrations need; each table creates a type.
-- Parameters: :names, of tables and indexes; :tables, of tables only.
SELECT relname AS name, pg_get_userbyid(relowner) AS owner,
       CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'table' WHEN 'v' THEN 'view'
                    WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
                    WHEN 'f' THEN 'foreign table' WHEN 'c' THEN 'type' ELSE 'index' END AS kind
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = current_schema() AND relname = ANY(CAST(:names AS text[]))
UNION ALL
SELECT typname, pg_get_userbyid(typowner), 'type'
FROM pg_type JOIN pg_namespace ON pg_namespace.oid = typnamespace
WHERE nspname = current_schema() AND typrelid = 0 AND typname = ANY(CAST(:tables AS text[]))
ORDER BY name
