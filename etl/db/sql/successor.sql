-- The successor of an empty table: a first load writes its rows there, and then lets it take the
-- place of the table. See etl.sync.successor. Some statements are templates, as those of merge.sql.
-- Parameters: as named; :table and :successor with schemas, quoted.

-- name: is_replaceable
-- Whether dropping the table loses nothing: it is empty, ours, and no object of another client
-- belongs to it. DROP TABLE itself refuses what depends on the table in another way, as views do.
-- Replication of single rows would miss those of the successor. Parameters: :schema; :table;
-- :indexes, the names of its indexes.
SELECT has_schema_privilege(to_regnamespace(quote_ident(:schema)), 'CREATE')
   AND has_schema_privilege(to_regnamespace(quote_ident(current_schema())), 'CREATE')
   AND relkind = 'r' AND reloptions IS NULL AND pg_has_role(relowner, 'USAGE')
   AND NOT EXISTS (SELECT FROM pg_class AS toast
                   WHERE toast.oid = pg_class.reltoastrelid AND toast.reloptions IS NOT NULL)
   AND NOT EXISTS (SELECT FROM {table})
   AND NOT EXISTS (SELECT FROM {retired})
   AND NOT EXISTS (
       SELECT FROM pg_depend
       WHERE refclassid = CAST('pg_class' AS regclass) AND refobjid = pg_class.oid
         AND NOT (
             classid IN (CAST('pg_attrdef' AS regclass), CAST('pg_type' AS regclass))
             OR classid = CAST('pg_constraint' AS regclass)
                AND objid IN (SELECT oid FROM pg_constraint
                              WHERE conrelid = pg_class.oid AND contype IN ('p', 'n'))
             OR classid = CAST('pg_class' AS regclass)
                AND objid IN (SELECT oid FROM pg_class WHERE relkind IN ('i', 't'))))
   AND NOT EXISTS (
       SELECT FROM pg_index JOIN pg_class AS index ON index.oid = indexrelid
       WHERE indrelid = pg_class.oid
         AND (index.reltablespace <> 0 OR index.reloptions IS NOT NULL OR indisclustered
              OR index.relname <> ALL (CAST(:indexes AS text[]))))
   AND NOT EXISTS (SELECT FROM pg_inherits WHERE pg_class.oid IN (inhrelid, inhparent))
   AND NOT EXISTS (SELECT FROM pg_description
                   WHERE classoid = CAST('pg_class' AS regclass) AND objoid = pg_class.oid)
   AND NOT EXISTS (SELECT FROM pg_seclabel
                   WHERE classoid = CAST('pg_class' AS regclass) AND objoid = pg_class.oid)
   AND NOT EXISTS (SELECT FROM pg_replication_slots
                   WHERE slot_type = 'logical' AND database = current_database())
FROM pg_class
WHERE oid = to_regclass(:table)

-- name: is_alike
-- Whether the successor has the owner, privileges, storage and columns of the table. Parameters:
-- :table; :successor; :missing, columns that it does not have yet; :varying, what differs always.
WITH relation AS (
    SELECT to_jsonb(pg_class) - CAST(:varying AS text[])
           || jsonb_build_object('relacl', ARRAY(
                  SELECT CAST(item AS text) FROM unnest(relacl) AS item ORDER BY 1)) AS traits
    FROM pg_class WHERE oid IN (to_regclass(:table), to_regclass(:successor))
), attribute AS (
    SELECT to_jsonb(pg_attribute) - CAST(:varying AS text[])
           || jsonb_build_object('default', pg_get_expr(adbin, adrelid)) AS traits
    FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attrelid IN (to_regclass(:table), to_regclass(:successor))
      AND attnum > 0 AND NOT attisdropped AND attname <> ALL (CAST(:missing AS text[]))
)
SELECT (SELECT count(DISTINCT traits) = 1 AND count(*) = 2 FROM relation)
   AND (SELECT coalesce(bool_and(found.places = 2), false)
        FROM (SELECT count(*) AS places FROM attribute GROUP BY traits) AS found)

-- name: copy_privileges
-- The statements that give the successor the privileges of the table, such as those of roles that
-- may read it, and no others. There are none if neither table has been granted to another role. Parameters: :table,
-- :successor.
WITH granted AS (
    SELECT pg_class.oid, item.privilege_type, item.is_grantable,
           CASE item.grantee WHEN 0 THEN 'PUBLIC'
                             ELSE quote_ident(pg_get_userbyid(item.grantee)) END AS grantee
    FROM pg_class CROSS JOIN LATERAL aclexplode(relacl) AS item
    WHERE pg_class.oid IN (to_regclass(:table), to_regclass(:successor))
      AND item.grantee <> relowner
)
SELECT statement
FROM (SELECT DISTINCT 1, format('REVOKE ALL ON %s FROM %s', CAST(oid AS regclass), grantee)
      FROM granted WHERE oid = to_regclass(:successor)
      UNION ALL
      SELECT 2, format('GRANT %s ON %s TO %s', privilege_type, to_regclass(:successor), grantee)
                || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
      FROM granted WHERE oid = to_regclass(:table)) AS found (place, statement)
ORDER BY place

-- name: take_staged
-- Rows that the run has staged already.
INSERT INTO {successor} ({row}) SELECT {row} FROM {own_staging}

-- name: clear_staged
TRUNCATE {own_staging}

-- name: open_transactions
-- The transactions of other sessions. The snapshot of one that began before the last row was
-- committed may contain some of the rows.
SELECT virtualtransaction
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'virtualxid' AND granted AND pid <> pg_backend_pid()
  AND datname = current_database() AND usesysid IS NOT NULL  -- not autovacuum

-- name: lock_table
LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE

-- name: complete
-- PostgreSQL stores the value of the new columns once, for all rows.
ALTER TABLE {successor}
    ADD COLUMN _run_id bigint NOT NULL DEFAULT :run_id,
    ADD COLUMN _updated_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE {successor}
    ALTER COLUMN _run_id DROP DEFAULT, ALTER COLUMN _updated_at DROP DEFAULT,
    RESET (autovacuum_enabled)

-- name: rename_constraints
-- The statements that give the constraints of NOT NULL, which have names since PostgreSQL 18, those
-- of the table. Parameters: :table, :successor.
SELECT format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', CAST(mine.conrelid AS regclass),
              mine.conname, theirs.conname)
FROM pg_constraint AS mine
JOIN pg_attribute AS own ON own.attrelid = mine.conrelid AND own.attnum = mine.conkey[1]
JOIN pg_attribute AS other ON other.attname = own.attname AND other.attrelid = to_regclass(:table)
JOIN pg_constraint AS theirs
     ON theirs.conrelid = other.attrelid AND theirs.conkey[1] = other.attnum
WHERE mine.conrelid = to_regclass(:successor)
  AND mine.contype = 'n' AND theirs.contype = 'n' AND mine.conname <> theirs.conname

-- name: swap
DROP TABLE {table};
{move_successor}
