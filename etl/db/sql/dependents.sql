-- Objects that depend on columns or tables. Parameters: as named.

-- name: direct
-- The objects that depend directly on any of the given ones: what they are, the statement that drops
-- them and the one that creates them again; both null if there is none. PostgreSQL drops those with
-- `is_automatic` together with the given one. Without: internal parts, such as the rule of a view.
-- Parameters: :classes, :objects and :columns, of one length, as in pg_depend; column 0 stands for
-- the whole object.
WITH found AS (
    SELECT CASE WHEN rule.rulename = '_RETURN' THEN CAST('pg_class' AS regclass)
                ELSE d.classid END AS class,
           CASE WHEN rule.rulename = '_RETURN' THEN rule.ev_class ELSE d.objid END AS object,
           CASE WHEN d.classid = CAST('pg_class' AS regclass) THEN d.objsubid ELSE 0 END AS sub,
           bool_and(d.deptype = 'a') AS is_automatic
    FROM unnest(CAST(:classes AS oid[]), CAST(:objects AS oid[]), CAST(:columns AS integer[]))
         AS given (class, object, sub)
    JOIN pg_depend AS d ON d.refclassid = given.class AND d.refobjid = given.object
                       AND (given.sub = 0 OR d.refobjsubid = given.sub)
    LEFT JOIN pg_rewrite AS rule ON d.classid = CAST('pg_rewrite' AS regclass)
                                AND rule.oid = d.objid
    WHERE d.deptype IN ('n', 'a')
      AND NOT EXISTS (  -- the default of the given column itself, or of any column of the table
          SELECT FROM pg_attrdef
          WHERE d.classid = CAST('pg_attrdef' AS regclass) AND pg_attrdef.oid = d.objid
            AND adrelid = given.object AND given.sub IN (0, adnum))
    GROUP BY 1, 2, 3
)
SELECT found.class AS class_id, found.object AS object_id, found.sub AS column_id,
       found.is_automatic,
       pg_describe_object(found.class, found.object, found.sub) AS description,
       CASE
           WHEN relation.relkind = 'v' THEN 'DROP VIEW ' || relation.oid::regclass
           WHEN relation.relkind = 'm' THEN 'DROP MATERIALIZED VIEW ' || relation.oid::regclass
           WHEN relation.relkind IN ('i', 'I') THEN 'DROP INDEX ' || relation.oid::regclass
           WHEN found.sub > 0 THEN 'ALTER TABLE ' || relation.oid::regclass || ' DROP COLUMN '
               || quote_ident((SELECT attname FROM pg_attribute
                               WHERE attrelid = relation.oid AND attnum = found.sub))
           WHEN con.conrelid > 0 THEN 'ALTER TABLE ' || con.conrelid::regclass
               || ' DROP CONSTRAINT ' || quote_ident(con.conname)
           WHEN generated.oid IS NOT NULL THEN 'ALTER TABLE ' || generated.adrelid::regclass
               || ' DROP COLUMN ' || quote_ident((SELECT attname FROM pg_attribute
                    WHERE attrelid = generated.adrelid AND attnum = generated.adnum))
           WHEN rule.oid IS NOT NULL THEN 'DROP RULE ' || quote_ident(rule.rulename) || ' ON '
               || rule.ev_class::regclass
           WHEN policy.oid IS NOT NULL THEN 'DROP POLICY ' || quote_ident(policy.polname)
               || ' ON ' || policy.polrelid::regclass
           WHEN trigger.oid IS NOT NULL THEN 'DROP TRIGGER ' || quote_ident(trigger.tgname)
               || ' ON ' || trigger.tgrelid::regclass
           WHEN statistic.oid IS NOT NULL THEN 'DROP STATISTICS '
               || quote_ident(statistic_schema.nspname) || '.' || quote_ident(statistic.stxname)
           WHEN published.oid IS NOT NULL THEN 'ALTER PUBLICATION '
               || quote_ident(publication.pubname) || ' DROP TABLE ' || published.prrelid::regclass
           WHEN function.oid IS NOT NULL THEN 'DROP ROUTINE ' || function.oid::regprocedure
       END || ';' AS drop_statement,
       CASE
           WHEN relation.relkind = 'v' THEN 'CREATE VIEW ' || relation.oid::regclass || ' AS'
               || chr(10) || pg_get_viewdef(relation.oid, true)
           WHEN relation.relkind = 'm' THEN 'CREATE MATERIALIZED VIEW ' || relation.oid::regclass
               || ' AS' || chr(10) || pg_get_viewdef(relation.oid, true)
           WHEN relation.relkind IN ('i', 'I') THEN pg_get_indexdef(relation.oid) || ';'
           WHEN con.conrelid > 0 THEN 'ALTER TABLE ' || con.conrelid::regclass
               || ' ADD CONSTRAINT ' || quote_ident(con.conname) || ' '
               || pg_get_constraintdef(con.oid) || ';'
           WHEN generated.oid IS NOT NULL THEN 'ALTER TABLE ' || generated.adrelid::regclass
               || ' ADD COLUMN ' || (SELECT quote_ident(attname) || ' '
                                            || format_type(atttypid, atttypmod)
                                     FROM pg_attribute
                                     WHERE attrelid = generated.adrelid
                                       AND attnum = generated.adnum)
               || ' GENERATED ALWAYS AS (' || pg_get_expr(generated.adbin, generated.adrelid)
               || ') STORED;'
           WHEN rule.oid IS NOT NULL THEN pg_get_ruledef(rule.oid)
           WHEN policy.oid IS NOT NULL THEN 'CREATE POLICY ' || quote_ident(policy.polname)
               || ' ON ' || policy.polrelid::regclass
               || CASE WHEN policy.polpermissive THEN '' ELSE ' AS RESTRICTIVE' END
               || CASE policy.polcmd WHEN 'r' THEN ' FOR SELECT' WHEN 'a' THEN ' FOR INSERT'
                       WHEN 'w' THEN ' FOR UPDATE' WHEN 'd' THEN ' FOR DELETE' ELSE '' END
               || ' TO ' || (SELECT string_agg(CASE member WHEN 0 THEN 'PUBLIC'
                                               ELSE CAST(CAST(member AS regrole) AS text) END, ', ')
                             FROM unnest(policy.polroles) AS member)
               || coalesce(' USING (' || pg_get_expr(policy.polqual, policy.polrelid) || ')', '')
               || coalesce(' WITH CHECK (' || pg_get_expr(policy.polwithcheck, policy.polrelid)
                           || ')', '') || ';'
           WHEN trigger.oid IS NOT NULL THEN pg_get_triggerdef(trigger.oid) || ';'
           WHEN statistic.oid IS NOT NULL THEN pg_get_statisticsobjdef(statistic.oid) || ';'
           WHEN published.oid IS NOT NULL THEN 'ALTER PUBLICATION '
               || quote_ident(publication.pubname) || ' ADD TABLE ' || published.prrelid::regclass
               || ' (…);'
           WHEN function.prokind <> 'a' THEN pg_get_functiondef(function.oid) || ';'
       END AS create_statement,
       (SELECT string_agg('GRANT ' || privilege_type || ' ON ' || relation.oid::regclass || ' TO '
                          || CASE grantee WHEN 0 THEN 'PUBLIC'
                             ELSE CAST(CAST(grantee AS regrole) AS text) END || ';', chr(10))
        FROM aclexplode(relation.relacl) WHERE grantee <> relation.relowner) AS grants,
       relation.reltype AS row_type, generated.adrelid AS generated_in,
       generated.adnum AS generated_column, con.conindid AS index_id
FROM found
LEFT JOIN pg_class AS relation
     ON found.class = CAST('pg_class' AS regclass) AND relation.oid = found.object
LEFT JOIN pg_constraint AS con
     ON found.class = CAST('pg_constraint' AS regclass) AND con.oid = found.object
LEFT JOIN pg_attrdef AS generated
     ON found.class = CAST('pg_attrdef' AS regclass) AND generated.oid = found.object
LEFT JOIN pg_rewrite AS rule
     ON found.class = CAST('pg_rewrite' AS regclass) AND rule.oid = found.object
LEFT JOIN pg_policy AS policy
     ON found.class = CAST('pg_policy' AS regclass) AND policy.oid = found.object
LEFT JOIN pg_trigger AS trigger
     ON found.class = CAST('pg_trigger' AS regclass) AND trigger.oid = found.object
LEFT JOIN pg_statistic_ext AS statistic
     ON found.class = CAST('pg_statistic_ext' AS regclass) AND statistic.oid = found.object
LEFT JOIN pg_namespace AS statistic_schema ON statistic_schema.oid = statistic.stxnamespace
LEFT JOIN pg_publication_rel AS published
     ON found.class = CAST('pg_publication_rel' AS regclass) AND published.oid = found.object
LEFT JOIN pg_publication AS publication ON publication.oid = published.prpubid
LEFT JOIN pg_proc AS function
     ON found.class = CAST('pg_proc' AS regclass) AND function.oid = found.object
WHERE con.contype IS DISTINCT FROM 'n'
ORDER BY description

-- name: columns
-- The columns of a table, as in pg_depend. Parameters: :table, quoted; :names.
SELECT CAST('pg_class' AS regclass)::oid AS class, attrelid AS object, attnum AS sub
FROM pg_attribute
WHERE attrelid = CAST(:table AS regclass) AND attname = ANY(CAST(:names AS text[]))
ORDER BY attnum

-- name: children
-- The tables that inherit from a table. Parameter: :table, quoted.
SELECT quote_ident(nspname) || '.' || quote_ident(relname)
FROM pg_inherits
JOIN pg_class ON pg_class.oid = inhrelid
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE inhparent = CAST(:table AS regclass)
ORDER BY 1

-- name: references
-- The foreign keys that reference a table. `condition` joins `referencing` and `retired`.
-- Parameter: :table, quoted.
SELECT quote_ident(conname) AS constraint,
       quote_ident(nspname) || '.' || quote_ident(relname) AS referencing,
       conrelid = confrelid AS is_own, quote_ident(current_user) AS role,
       has_table_privilege(conrelid, 'SELECT') AS may_read,
       pg_total_relation_size(conrelid) AS bytes,
       EXISTS (SELECT FROM pg_index
               WHERE indrelid = conrelid AND indisvalid AND indpred IS NULL
                 AND indkey[0] = ANY(conkey)) AS is_indexed,
       (SELECT string_agg(quote_ident(attname), ', ' ORDER BY place)
        FROM unnest(conkey) WITH ORDINALITY AS own (number, place)
        JOIN pg_attribute ON attrelid = conrelid AND attnum = own.number) AS columns,
       (SELECT string_agg('referencing.' || quote_ident(own.attname) || ' = retired.'
                          || quote_ident(other.attname), ' AND ')
        FROM unnest(conkey, confkey) AS pair (own, other)
        JOIN pg_attribute AS own ON own.attrelid = conrelid AND own.attnum = pair.own
        JOIN pg_attribute AS other ON other.attrelid = confrelid AND other.attnum = pair.other
       ) AS condition
FROM pg_constraint
JOIN pg_class ON pg_class.oid = conrelid
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE confrelid = CAST(:table AS regclass) AND contype = 'f' AND conparentid = 0
ORDER BY 2, 1

-- name: triggers
-- The triggers and rules of a table that are in force, and how they are enabled.
-- Parameter: :table, quoted.
SELECT 'TRIGGER' AS kind, quote_ident(tgname) AS name,
       CASE tgenabled WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS'
                      ELSE 'ENABLE' END AS enable
FROM pg_trigger
WHERE tgrelid = CAST(:table AS regclass) AND NOT tgisinternal AND tgenabled <> 'D'
UNION ALL
SELECT 'RULE', quote_ident(rulename),
       CASE ev_enabled WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS'
                       ELSE 'ENABLE' END
FROM pg_rewrite
WHERE ev_class = CAST(:table AS regclass) AND ev_enabled <> 'D'

-- name: added_columns
-- The columns of `users` that others added and that the table of the retired ones lacks.
-- Parameters: :table and :target, quoted.
SELECT quote_ident(attname) AS name,
       format_type(atttypid, atttypmod)
       || CASE WHEN attcollation NOT IN (0, typcollation)
               THEN ' COLLATE ' || CAST(CAST(attcollation AS regcollation) AS text)
               ELSE '' END AS type
FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
WHERE attrelid = CAST(:table AS regclass) AND attnum > 0 AND NOT attisdropped
  AND attgenerated = ''
  AND attname NOT IN ('id', 'retired_at')
  AND attname NOT IN ('extra', 'source_key', 'source_line', 'run_id', 'updated_at')
  AND attname NOT IN (SELECT attname FROM pg_attribute
                      WHERE attrelid = CAST(:target AS regclass) AND attnum > 0)
ORDER BY attnum

-- name: users_of
-- The other sessions that hold locks on any of the tables. Parameter: :tables, quoted.
SELECT DISTINCT pid, application_name, usename
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE relation = ANY(CAST(CAST(:tables AS text[]) AS regclass[])) AND granted
  AND pid <> pg_backend_pid()
ORDER BY pid
