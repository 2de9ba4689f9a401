-- tables
CREATE TABLE "public"."orders" (
    "order_id" text COLLATE "C" NOT NULL,
    "amount" numeric(12,2),
    "rank" bigint,
    "updated" bigint,
    "_extra" jsonb,
    "_source_key" text COLLATE "C" NOT NULL,
    "_source_line" integer NOT NULL,
    "_run_id" bigint NOT NULL,
    "_updated_at" timestamptz NOT NULL,
    CONSTRAINT "orders_7bbba768_pkey" PRIMARY KEY ("order_id"));
CREATE INDEX "orders__source_key_bf6b1066_idx" ON "public"."orders" ("_source_key");
CREATE INDEX "orders_amount_a13edce6_idx" ON "public"."orders" ("amount");
CREATE INDEX "orders_updated_rank_92ca7dd2_idx" ON "public"."orders" ("updated", "rank");
CREATE TABLE "public"."orders_retired" (
    "order_id" text COLLATE "C" NOT NULL,
    "amount" numeric(12,2),
    "rank" bigint,
    "updated" bigint,
    "_extra" jsonb,
    "_source_key" text COLLATE "C" NOT NULL,
    "_source_line" integer NOT NULL,
    "_run_id" bigint NOT NULL,
    "_updated_at" timestamptz NOT NULL,
    "_retired_at" timestamptz NOT NULL,
    CONSTRAINT "orders_retired_344ffeb5_pkey" PRIMARY KEY ("order_id"));
CREATE TABLE "public"."orders_shadowed" (
    "order_id" text COLLATE "C" NOT NULL,
    "amount" numeric(12,2),
    "rank" bigint,
    "updated" bigint,
    "_extra" jsonb,
    "_source_key" text COLLATE "C" NOT NULL,
    "_source_line" integer NOT NULL,
    "_run_id" bigint NOT NULL,
    CONSTRAINT "orders_shadowed_c81d86b5_pkey" PRIMARY KEY ("_source_key", "_source_line"));
CREATE INDEX "orders_shadowed_order_id_94afceb4_idx" ON "public"."orders_shadowed" ("order_id");
CREATE UNLOGGED TABLE "staging_orders" ("order_id" text COLLATE "C" NOT NULL, "amount" numeric(12,2), "rank" bigint, "updated" bigint, "_extra" jsonb, "_source_key" text COLLATE "C" NOT NULL, "_source_line" integer NOT NULL) WITH (autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 2147483647);
CREATE TABLE "successor_orders" ("order_id" text COLLATE "C" NOT NULL, "amount" numeric(12,2), "rank" bigint, "updated" bigint, "_extra" jsonb, "_source_key" text COLLATE "C" NOT NULL, "_source_line" integer NOT NULL) WITH (autovacuum_enabled = false);
-- merge: find_changed_rows
CREATE TEMPORARY TABLE changed_rows ON COMMIT DROP AS
SELECT coalesce(read."order_id", stored."order_id") AS "order_id", read._source_key IS NULL AS _is_removed, read."amount", read."rank", read."updated", read."_extra", read."_source_key", read."_source_line",
       stored._source_key AS _stored_key, stored._source_line AS _stored_line,
       0 AS _stored_attached
FROM "staging_orders" AS read
FULL JOIN (
    SELECT live.* FROM "public"."orders" AS live
    WHERE live._source_key IN (SELECT key FROM staging_object WHERE dataset = :dataset
                              )
      AND (CAST(:keys AS text[]) IS NULL OR live._source_key = ANY (CAST(:keys AS text[])))
) AS stored ON (stored."order_id") = (read."order_id")
WHERE read._source_key IS NULL
   OR stored._source_key IS NULL
   OR (stored."amount", stored."rank", stored."updated", stored."_extra", stored."_source_key", stored."_source_line") IS DISTINCT FROM (read."amount", read."rank", read."updated", read."_extra", read."_source_key", read."_source_line");
-- merge: find_changed_rows, of compared objects
CREATE TEMPORARY TABLE changed_rows ON COMMIT DROP AS
SELECT coalesce(read."order_id", stored."order_id") AS "order_id", read._source_key IS NULL AS _is_removed, read."amount", read."rank", read."updated", read."_extra", read."_source_key", read."_source_line",
       stored._source_key AS _stored_key, stored._source_line AS _stored_line,
       0 AS _stored_attached
FROM "staging_orders" AS read
FULL JOIN (
    SELECT live.* FROM "public"."orders" AS live
    WHERE live._source_key IN (SELECT key FROM staging_object WHERE dataset = :dataset
                               EXCEPT SELECT key FROM "compared_orders"
                              )
      AND (CAST(:keys AS text[]) IS NULL OR live._source_key = ANY (CAST(:keys AS text[])))
      AND (SELECT EXISTS (SELECT key FROM staging_object WHERE dataset = :dataset
                          EXCEPT SELECT key FROM "compared_orders"))
    UNION ALL
    SELECT live.*
    FROM "gone_orders" AS gone
    JOIN "compared_orders" AS compared ON compared.key = gone._source_key
    JOIN "public"."orders" AS live ON (live."order_id") = (gone."order_id") AND live._source_key = gone._source_key
    UNION ALL
    SELECT live.*
    FROM "compared_orders" AS compared JOIN "public"."orders" AS live ON live._source_key = compared.key
    WHERE live._source_line > compared.last_line
      AND (SELECT EXISTS (SELECT FROM "compared_orders" WHERE last_line IS NOT NULL))
) AS stored ON (stored."order_id") = (read."order_id")
WHERE read._source_key IS NULL
   OR stored._source_key IS NULL
   OR (stored."amount", stored."rank", stored."updated", stored."_extra", stored."_source_key", stored."_source_line") IS DISTINCT FROM (read."amount", read."rank", read."updated", read."_extra", read."_source_key", read."_source_line");
-- merge: analyze_changed_rows
CREATE INDEX ON changed_rows ("order_id");
ANALYZE changed_rows;
-- merge: find_conflicts
CREATE TEMPORARY TABLE conflicts ON COMMIT DROP AS
SELECT "order_id" FROM changed_rows GROUP BY "order_id" HAVING count(*) > 1 OR bool_or(_is_removed)
UNION
SELECT moved."order_id"
FROM changed_rows AS moved
JOIN "staging_orders" AS kept
     ON (kept."order_id") = (moved."order_id")
        AND kept._source_key = moved._stored_key AND kept._source_line = moved._stored_line
WHERE (moved._source_key, moved._source_line) <> (moved._stored_key, moved._stored_line)
UNION
SELECT shadow."order_id"
FROM "public"."orders_shadowed" AS shadow JOIN "staging_orders" AS read ON (read."order_id") = (shadow."order_id")
UNION
SELECT changed_rows."order_id"
FROM changed_rows JOIN "public"."orders" AS live ON (live."order_id") = (changed_rows."order_id")
WHERE changed_rows._stored_key IS NULL
UNION
SELECT shadow."order_id"
FROM staging_object JOIN "public"."orders_shadowed" AS shadow ON shadow._source_key = staging_object.key
WHERE staging_object.dataset = :dataset AND staging_object.kind <> 'image';
-- merge: find_conflicts, of compared objects
CREATE TEMPORARY TABLE conflicts ON COMMIT DROP AS
SELECT "order_id" FROM changed_rows GROUP BY "order_id" HAVING count(*) > 1 OR bool_or(_is_removed)
UNION
SELECT moved."order_id"
FROM changed_rows AS moved
JOIN "staging_orders" AS kept
     ON (kept."order_id") = (moved."order_id")
        AND kept._source_key = moved._stored_key AND kept._source_line = moved._stored_line
WHERE (moved._source_key, moved._source_line) <> (moved._stored_key, moved._stored_line)
UNION
SELECT shadow."order_id"
FROM "public"."orders_shadowed" AS shadow JOIN "staging_orders" AS read ON (read."order_id") = (shadow."order_id")
UNION
SELECT shadow."order_id"
FROM "public"."orders_shadowed" AS shadow
JOIN "public"."orders" AS live ON (live."order_id") = (shadow."order_id")
JOIN "compared_orders" AS compared ON compared.key = live._source_key
UNION
SELECT changed_rows."order_id"
FROM changed_rows JOIN "public"."orders" AS live ON (live."order_id") = (changed_rows."order_id")
WHERE changed_rows._stored_key IS NULL
UNION
SELECT shadow."order_id"
FROM staging_object JOIN "public"."orders_shadowed" AS shadow ON shadow._source_key = staging_object.key
WHERE staging_object.dataset = :dataset AND staging_object.kind <> 'image';
-- merge: analyze_conflicts
CREATE INDEX ON conflicts ("order_id");
ANALYZE conflicts;
-- merge: find_candidates
CREATE TEMPORARY TABLE candidate ON COMMIT DROP AS
SELECT valid_row.*,
       row_number() OVER (
           PARTITION BY valid_row."order_id"
           ORDER BY valid_row."updated" DESC NULLS LAST, source_object.last_modified DESC, valid_row._source_key,
                    valid_row._source_line DESC
       ) AS _rank
FROM (
    SELECT "order_id", "amount", "rank", "updated", "_extra", "_source_key", "_source_line", true AS _from_this_run
    FROM "staging_orders" JOIN conflicts USING ("order_id")
    UNION ALL
    SELECT "order_id", "amount", "rank", "updated", "_extra", "_source_key", "_source_line", false
    FROM "public"."orders" AS live JOIN conflicts USING ("order_id")
    WHERE NOT EXISTS (SELECT FROM staging_object
                      WHERE staging_object.key = live._source_key
                        AND staging_object.dataset = :dataset)
    UNION ALL
    SELECT "order_id", "amount", "rank", "updated", "_extra", "_source_key", "_source_line", false
    FROM "public"."orders_shadowed" AS shadow JOIN conflicts USING ("order_id")
    WHERE NOT EXISTS (SELECT FROM staging_object
                      WHERE staging_object.key = shadow._source_key
                        AND staging_object.dataset = :dataset)
) AS valid_row
JOIN source_object ON source_object.bucket = :bucket AND source_object.key = valid_row._source_key;
-- merge: find_candidates, of compared objects
CREATE TEMPORARY TABLE candidate ON COMMIT DROP AS
SELECT valid_row.*,
       row_number() OVER (
           PARTITION BY valid_row."order_id"
           ORDER BY valid_row."updated" DESC NULLS LAST, source_object.last_modified DESC, valid_row._source_key,
                    valid_row._source_line DESC
       ) AS _rank
FROM (
    SELECT "order_id", "amount", "rank", "updated", "_extra", "_source_key", "_source_line", true AS _from_this_run
    FROM "staging_orders" JOIN conflicts USING ("order_id")
    UNION ALL
    SELECT "order_id", "amount", "rank", "updated", "_extra", "_source_key", "_source_line", true
    FROM "public"."orders" AS live JOIN conflicts USING ("order_id")
    WHERE EXISTS (SELECT FROM "compared_orders" AS compared
                  WHERE compared.key = live._source_key
                    AND live._source_line <= coalesce(compared.last_line, live._source_line))
      AND NOT EXISTS (SELECT FROM "gone_orders" AS gone WHERE (gone."order_id") = (live."order_id"))
    UNION ALL
    SELECT "order_id", "amount", "rank", "updated", "_extra", "_source_key", "_source_line", false
    FROM "public"."orders" AS live JOIN conflicts USING ("order_id")
    WHERE NOT EXISTS (SELECT FROM staging_object
                      WHERE staging_object.key = live._source_key
                        AND staging_object.dataset = :dataset)
    UNION ALL
    SELECT "order_id", "amount", "rank", "updated", "_extra", "_source_key", "_source_line", false
    FROM "public"."orders_shadowed" AS shadow JOIN conflicts USING ("order_id")
    WHERE NOT EXISTS (SELECT FROM staging_object
                      WHERE staging_object.key = shadow._source_key
                        AND staging_object.dataset = :dataset)
) AS valid_row
JOIN source_object ON source_object.bucket = :bucket AND source_object.key = valid_row._source_key;
-- merge: analyze_candidates
CREATE INDEX ON candidate ("order_id");
CREATE INDEX ON candidate (_source_key, _source_line);
ANALYZE candidate;
-- merge: find_upserts
CREATE TEMPORARY TABLE upserts ON COMMIT DROP AS
SELECT changed_rows."order_id", changed_rows."amount", changed_rows."rank", changed_rows."updated", changed_rows."_extra", changed_rows."_source_key", changed_rows."_source_line", true AS _from_this_run,
       false AS _is_new, false AS _is_restored, changed_rows._stored_attached AS _had_attached
FROM changed_rows
WHERE changed_rows._stored_key IS NOT NULL
  AND NOT EXISTS (SELECT FROM conflicts WHERE (conflicts."order_id") = (changed_rows."order_id"))
UNION ALL
SELECT winner."order_id", winner."amount", winner."rank", winner."updated", winner."_extra", winner."_source_key", winner."_source_line", winner._from_this_run,
       stored._source_key IS NULL, retired._source_key IS NOT NULL, 0
FROM (
    SELECT "order_id", "amount", "rank", "updated", "_extra", "_source_key", "_source_line", true AS _from_this_run
    FROM changed_rows
    WHERE _stored_key IS NULL
      AND NOT EXISTS (SELECT FROM conflicts WHERE (conflicts."order_id") = (changed_rows."order_id"))
    UNION ALL
    SELECT "order_id", "amount", "rank", "updated", "_extra", "_source_key", "_source_line", _from_this_run
    FROM candidate
    WHERE _rank = 1
) AS winner
LEFT JOIN "public"."orders" AS stored ON (stored."order_id") = (winner."order_id")
LEFT JOIN "public"."orders_retired" AS retired ON (retired."order_id") = (winner."order_id")
WHERE stored._source_key IS NULL
   OR (stored."amount", stored."rank", stored."updated", stored."_extra", stored."_source_key", stored."_source_line") IS DISTINCT FROM (winner."amount", winner."rank", winner."updated", winner."_extra", winner."_source_key", winner."_source_line");
-- merge: analyze_upserts
ANALYZE upserts;
-- merge: update_rows
UPDATE "public"."orders" AS stored SET
    "amount" = upserts."amount", "rank" = upserts."rank", "updated" = upserts."updated", "_extra" = upserts."_extra", "_source_key" = upserts."_source_key", "_source_line" = upserts."_source_line", _run_id = :run_id, _updated_at = now()
FROM upserts
WHERE (upserts."order_id") = (stored."order_id") AND NOT upserts._is_new;
-- merge: insert_rows
INSERT INTO "public"."orders" ("order_id", "amount", "rank", "updated", "_extra", "_source_key", "_source_line", _run_id, _updated_at)
SELECT "order_id", "amount", "rank", "updated", "_extra", "_source_key", "_source_line", :run_id, now()
FROM upserts
WHERE _is_new
ORDER BY "order_id";
-- merge: drop_restored
DELETE FROM "public"."orders_retired" AS retired
USING upserts
WHERE upserts._is_restored AND (upserts."order_id") = (retired."order_id");
-- merge: note_shadows
SELECT set_config('bucketline.shadow_change', CAST(
    (SELECT count(*) FROM candidate WHERE _rank > 1)
    - (SELECT count(*) FROM "public"."orders_shadowed" JOIN conflicts USING ("order_id")) AS text), true);
-- merge: drop_shadows
DELETE FROM "public"."orders_shadowed" AS shadow
USING conflicts
WHERE (conflicts."order_id") = (shadow."order_id")
  AND NOT EXISTS (
      SELECT FROM candidate AS loser
      WHERE loser._rank > 1
        AND loser._source_key = shadow._source_key
        AND loser._source_line = shadow._source_line);
-- merge: write_shadows
INSERT INTO "public"."orders_shadowed" ("order_id", "amount", "rank", "updated", "_extra", "_source_key", "_source_line", _run_id)
SELECT loser."order_id", loser."amount", loser."rank", loser."updated", loser."_extra", loser."_source_key", loser."_source_line", :run_id
FROM candidate AS loser
LEFT JOIN "public"."orders_shadowed" AS known USING (_source_key, _source_line)
WHERE loser._rank > 1
  AND (known._run_id IS NULL
       OR (known."order_id", known."amount", known."rank", known."updated", known."_extra") IS DISTINCT FROM (loser."order_id", loser."amount", loser."rank", loser."updated", loser."_extra"))
ON CONFLICT (_source_key, _source_line) DO UPDATE SET
    "order_id" = excluded."order_id", "amount" = excluded."amount", "rank" = excluded."rank", "updated" = excluded."updated", "_extra" = excluded."_extra", _run_id = excluded._run_id;
-- merge: retire_rows
WITH gone AS (
    DELETE FROM "public"."orders" AS stored
    USING conflicts
    WHERE (conflicts."order_id") = (stored."order_id")
      AND NOT EXISTS (SELECT FROM candidate WHERE (candidate."order_id") = (stored."order_id"))
    RETURNING stored."order_id", stored."amount", stored."rank", stored."updated", stored."_extra", stored."_source_key", stored."_source_line"
)
INSERT INTO "public"."orders_retired" AS retired ("order_id", "amount", "rank", "updated", "_extra", "_source_key", "_source_line", _run_id, _updated_at, _retired_at)
SELECT "order_id", "amount", "rank", "updated", "_extra", "_source_key", "_source_line", :run_id, now(), now() FROM gone
ON CONFLICT ("order_id") DO UPDATE SET
    "amount" = excluded."amount", "rank" = excluded."rank", "updated" = excluded."updated", "_extra" = excluded."_extra", "_source_key" = excluded."_source_key", "_source_line" = excluded."_source_line", _run_id = excluded._run_id,
    _updated_at = excluded._updated_at, _retired_at = excluded._retired_at;
-- first_load: drop_indexes
ALTER TABLE "public"."orders" DROP CONSTRAINT IF EXISTS "orders_7bbba768_pkey";
DROP INDEX IF EXISTS "public"."orders__source_key_bf6b1066_idx", "public"."orders_amount_a13edce6_idx", "public"."orders_updated_rank_92ca7dd2_idx";
-- first_load: insert_rows
INSERT INTO "public"."orders" ("order_id", "amount", "rank", "updated", "_extra", "_source_key", "_source_line", _run_id, _updated_at)
SELECT read."order_id", read."amount", read."rank", read."updated", read."_extra", read."_source_key", read."_source_line", :run_id, now()
FROM "staging_orders" AS read
ORDER BY read."order_id";
-- first_load: create_indexes
ALTER TABLE "public"."orders" ADD CONSTRAINT "orders_7bbba768_pkey" PRIMARY KEY ("order_id");
CREATE INDEX "orders__source_key_bf6b1066_idx" ON "public"."orders" ("_source_key");
CREATE INDEX "orders_amount_a13edce6_idx" ON "public"."orders" ("amount");
CREATE INDEX "orders_updated_rank_92ca7dd2_idx" ON "public"."orders" ("updated", "rank");
-- first_load: update_statistics
ANALYZE "public"."orders";
-- successor: is_replaceable
SELECT has_schema_privilege(to_regnamespace(quote_ident(:schema)), 'CREATE')
   AND has_schema_privilege(to_regnamespace(quote_ident(current_schema())), 'CREATE')
   AND relkind = 'r' AND reloptions IS NULL AND pg_has_role(relowner, 'USAGE')
   AND NOT EXISTS (SELECT FROM pg_class AS toast
                   WHERE toast.oid = pg_class.reltoastrelid AND toast.reloptions IS NOT NULL)
   AND NOT EXISTS (SELECT FROM "public"."orders")
   AND NOT EXISTS (SELECT FROM "public"."orders_retired")
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
WHERE oid = to_regclass(:table);
-- successor: is_alike
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
        FROM (SELECT count(*) AS places FROM attribute GROUP BY traits) AS found);
-- successor: copy_privileges
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
ORDER BY place;
-- successor: take_staged
INSERT INTO "successor_orders" ("order_id", "amount", "rank", "updated", "_extra", "_source_key", "_source_line") SELECT "order_id", "amount", "rank", "updated", "_extra", "_source_key", "_source_line" FROM "staging_orders";
-- successor: clear_staged
TRUNCATE "staging_orders";
-- successor: open_transactions
SELECT virtualtransaction
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'virtualxid' AND granted AND pid <> pg_backend_pid()
  AND datname = current_database() AND usesysid IS NOT NULL;
-- successor: lock_table
LOCK TABLE "public"."orders" IN ACCESS EXCLUSIVE MODE;
-- successor: complete
ALTER TABLE "successor_orders"
    ADD COLUMN _run_id bigint NOT NULL DEFAULT :run_id,
    ADD COLUMN _updated_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE "successor_orders"
    ALTER COLUMN _run_id DROP DEFAULT, ALTER COLUMN _updated_at DROP DEFAULT,
    RESET (autovacuum_enabled);
-- successor: rename_constraints
SELECT format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', CAST(mine.conrelid AS regclass),
              mine.conname, theirs.conname)
FROM pg_constraint AS mine
JOIN pg_attribute AS own ON own.attrelid = mine.conrelid AND own.attnum = mine.conkey[1]
JOIN pg_attribute AS other ON other.attname = own.attname AND other.attrelid = to_regclass(:table)
JOIN pg_constraint AS theirs
     ON theirs.conrelid = other.attrelid AND theirs.conkey[1] = other.attnum
WHERE mine.conrelid = to_regclass(:successor)
  AND mine.contype = 'n' AND theirs.contype = 'n' AND mine.conname <> theirs.conname;
-- successor: swap
DROP TABLE "public"."orders";
ALTER TABLE "successor_orders" SET SCHEMA "public";
ALTER TABLE "public"."successor_orders" RENAME TO "orders";
-- figures: small_keys
SELECT staged.keys
FROM (SELECT ARRAY(SELECT key FROM staging_object WHERE dataset = :dataset) AS keys) AS staged
WHERE (SELECT count(*) FROM (SELECT FROM "staging_orders" LIMIT :small + 1) AS read) <= :small
  AND (SELECT count(*) FROM (SELECT FROM "public"."orders" WHERE _source_key = ANY (staged.keys)
                             LIMIT :small + 1) AS stored) <= :small
  AND (SELECT count(*) FROM (SELECT FROM "public"."orders_shadowed" WHERE _source_key = ANY (staged.keys)
                             LIMIT :small + 1) AS shadowed) <= :small;
-- figures: unbalanced
WITH unbalanced AS MATERIALIZED (
    SELECT coalesce(staged.key, good._source_key) AS key, staged.rows_read, staged.rows_rejected,
           coalesce(good.rows, 0) AS rows_staged
    FROM (SELECT key, rows_read, rows_rejected FROM staging_object
          WHERE dataset = :dataset AND change <> 'left') AS staged
    LEFT
    JOIN (
        SELECT _source_key, sum(rows) AS rows
        FROM (
            SELECT _source_key, count(*) AS rows FROM "staging_orders" GROUP BY _source_key
        ) AS parts
        GROUP BY _source_key
    ) AS good ON good._source_key = staged.key
    WHERE coalesce(staged.rows_read - staged.rows_rejected, 0) <> coalesce(good.rows, 0)
)
SELECT * FROM unbalanced LIMIT 1;
-- figures: unbalanced, of compared objects
WITH unbalanced AS MATERIALIZED (
    SELECT coalesce(staged.key, good._source_key) AS key, staged.rows_read, staged.rows_rejected,
           coalesce(good.rows, 0) AS rows_staged
    FROM (SELECT key, rows_read, rows_rejected FROM staging_object
          WHERE dataset = :dataset AND change <> 'left') AS staged
    LEFT
    JOIN (
        SELECT _source_key, sum(rows) AS rows
        FROM (
            SELECT _source_key, count(*) AS rows FROM "staging_orders" GROUP BY _source_key
            UNION ALL
            SELECT key, rows_same FROM "compared_orders"
        ) AS parts
        GROUP BY _source_key
    ) AS good ON good._source_key = staged.key
    WHERE coalesce(staged.rows_read - staged.rows_rejected, 0) <> coalesce(good.rows, 0)
)
SELECT * FROM unbalanced LIMIT 1;
-- figures: merged_rows
SELECT (SELECT count(*) FROM upserts WHERE _from_this_run) AS rows_loaded,
       (SELECT count(*) FROM candidate WHERE _from_this_run AND _rank > 1) AS rows_shadowed,
       (SELECT count(*) FROM "public"."orders" AS live
        WHERE live._source_key IN (SELECT key FROM staging_object WHERE dataset = :dataset)
          AND live._run_id <> :run_id
          AND (CAST(:keys AS text[]) IS NULL
               OR live._source_key = ANY (CAST(:keys AS text[])))) AS rows_unchanged;
-- figures: upserted
SELECT count(*) FILTER (WHERE _is_new AND NOT _is_restored) AS inserted,
       count(*) FILTER (WHERE NOT _is_new) AS updated,
       count(*) FILTER (WHERE _is_restored) AS restored,
       coalesce(sum(0 - _had_attached), 0)::bigint AS attached
FROM upserts;
-- figures: retired
SELECT count(*) AS retired, coalesce(sum(_stored_attached), 0)::bigint AS attached
FROM changed_rows
WHERE _is_removed
  AND NOT EXISTS (SELECT FROM candidate WHERE (candidate."order_id") = (changed_rows."order_id"));
-- figures: losing_objects
SELECT lost._stored_key AS key,
       lost.rows AS rows
FROM (
    SELECT _stored_key, count(*) AS rows
    FROM changed_rows
    WHERE _is_removed
      AND NOT EXISTS (SELECT FROM candidate WHERE (candidate."order_id") = (changed_rows."order_id"))
    GROUP BY _stored_key
) AS lost;
-- figures: live
SELECT count(*) AS live, coalesce(sum(0), 0)::bigint AS attached FROM "public"."orders";
-- figures: good_rows
SELECT coalesce(sum(rows_read - rows_rejected), 0)::bigint AS rows
FROM staging_object WHERE dataset = :dataset AND change <> 'left';
-- figures: staged
SELECT dataset, CAST(sum(objects) AS bigint) AS objects, CAST(sum(images) AS bigint) AS images,
       CAST(sum(gone) AS bigint) AS gone, bool_or(in_staging) AS in_staging,
       bool_or(is_held) AS is_held
FROM (SELECT dataset, count(*) FILTER (WHERE change <> 'left') AS objects,
             count(*) FILTER (WHERE change <> 'left' AND kind = 'image') AS images,
             count(*) FILTER (WHERE change = 'left') AS gone, true AS in_staging, false AS is_held
      FROM staging_object GROUP BY dataset
      UNION ALL
      SELECT DISTINCT dataset, 0, 0, 0, true, false FROM staging_problem
      UNION ALL
      SELECT dataset, 0, 0, 0, false, true FROM hold) AS found
GROUP BY dataset;
-- figures: objects
SELECT objects.*, problem.problems, problem.had_problems
FROM (SELECT (SELECT count(*) FROM problem WHERE run_id = :run_id) AS problems,
             EXISTS (SELECT FROM staging_object JOIN faulty_object USING (bucket, key))
             AS had_problems) AS problem
LEFT JOIN (
    SELECT dataset,
           count(*) FILTER (WHERE change = 'added') AS objects_added,
           count(*) FILTER (WHERE change = 'modified') AS objects_modified,
           count(*) FILTER (WHERE change = 'removed') AS objects_removed,
           count(*) FILTER (WHERE state = 'quarantined') AS objects_quarantined,
           coalesce(sum(rows_read), 0)::bigint AS rows_read,
           coalesce(sum(rows_rejected), 0)::bigint AS rows_rejected
    FROM staging_object
    WHERE change <> 'left'
    GROUP BY dataset
) AS objects ON true;
-- figures: shadow_change
SELECT CAST(current_setting('bucketline.shadow_change') AS bigint) AS more;
-- figures: recount
INSERT INTO dataset_tally (dataset, rows, attached, retired, shadowed, objects)
SELECT :dataset, live.rows, live.attached, (SELECT count(*) FROM "public"."orders_retired"),
       (SELECT count(*) FROM "public"."orders_shadowed"),
       (SELECT count(*) FROM source_object WHERE source_object.dataset = :dataset)
FROM (SELECT count(*) AS rows, coalesce(sum(0), 0) AS attached FROM "public"."orders") AS live
ON CONFLICT (dataset) DO UPDATE SET
    rows = excluded.rows, attached = excluded.attached, retired = excluded.retired,
    shadowed = excluded.shadowed, objects = excluded.objects;
