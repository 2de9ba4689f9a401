-- tables
CREATE TABLE "public"."users" (
    "user_id" text COLLATE "C" NOT NULL,
    "first_name" text NOT NULL,
    "last_name" text NOT NULL,
    "birthts" bigint NOT NULL,
    "birthdate" date GENERATED ALWAYS AS (DATE '1970-01-01' + (("birthts" + 8640000000000) / 86400000 - 100000)::integer) STORED,
    "img_path" text,
    "_extra" jsonb,
    "_source_key" text COLLATE "C" NOT NULL,
    "_source_line" integer NOT NULL,
    "_run_id" bigint NOT NULL,
    "_updated_at" timestamptz NOT NULL,
    CONSTRAINT "users_pkey" PRIMARY KEY ("user_id"));
CREATE INDEX "users__source_key_idx" ON "public"."users" ("_source_key");
CREATE INDEX "users_birthdate_idx" ON "public"."users" ("birthdate");
CREATE TABLE "public"."users_retired" (
    "user_id" text COLLATE "C" NOT NULL,
    "first_name" text,
    "last_name" text,
    "birthts" bigint,
    "birthdate" date GENERATED ALWAYS AS (DATE '1970-01-01' + (("birthts" + 8640000000000) / 86400000 - 100000)::integer) STORED,
    "img_path" text,
    "_extra" jsonb,
    "_source_key" text COLLATE "C" NOT NULL,
    "_source_line" integer NOT NULL,
    "_run_id" bigint NOT NULL,
    "_updated_at" timestamptz NOT NULL,
    "_retired_at" timestamptz NOT NULL,
    CONSTRAINT "users_retired_pkey" PRIMARY KEY ("user_id"));
CREATE TABLE "public"."users_shadowed" (
    "user_id" text COLLATE "C" NOT NULL,
    "first_name" text NOT NULL,
    "last_name" text NOT NULL,
    "birthts" bigint NOT NULL,
    "_extra" jsonb,
    "_source_key" text COLLATE "C" NOT NULL,
    "_source_line" integer NOT NULL,
    "_run_id" bigint NOT NULL,
    CONSTRAINT "users_shadowed_pkey" PRIMARY KEY ("_source_key", "_source_line"));
CREATE INDEX "users_shadowed_user_id_idx" ON "public"."users_shadowed" ("user_id");
CREATE UNLOGGED TABLE "staging_users" ("user_id" text COLLATE "C" NOT NULL, "first_name" text NOT NULL, "last_name" text NOT NULL, "birthts" bigint NOT NULL, "_extra" jsonb, "_source_key" text COLLATE "C" NOT NULL, "_source_line" integer NOT NULL) WITH (autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 2147483647);
CREATE TABLE "successor_users" ("user_id" text COLLATE "C" NOT NULL, "first_name" text NOT NULL, "last_name" text NOT NULL, "birthts" bigint NOT NULL, "birthdate" date GENERATED ALWAYS AS (DATE '1970-01-01' + (("birthts" + 8640000000000) / 86400000 - 100000)::integer) STORED, "img_path" text, "_extra" jsonb, "_source_key" text COLLATE "C" NOT NULL, "_source_line" integer NOT NULL) WITH (autovacuum_enabled = false);
-- merge: find_changed_rows
CREATE TEMPORARY TABLE changed_rows ON COMMIT DROP AS
SELECT coalesce(read."user_id", stored."user_id") AS "user_id", read._source_key IS NULL AS _is_removed, read."first_name", read."last_name", read."birthts", read."_extra", read."_source_key", read."_source_line",
       stored._source_key AS _stored_key, stored._source_line AS _stored_line,
       CAST(stored."img_path" IS NOT NULL AS integer) AS _stored_attached
FROM "staging_users" AS read
FULL JOIN (
    SELECT live.* FROM "public"."users" AS live
    WHERE live._source_key IN (SELECT key FROM staging_object WHERE dataset = :dataset
                              )
      AND (CAST(:keys AS text[]) IS NULL OR live._source_key = ANY (CAST(:keys AS text[])))
) AS stored ON (stored."user_id") = (read."user_id")
WHERE read._source_key IS NULL
   OR stored._source_key IS NULL
   OR (stored."first_name", stored."last_name", stored."birthts", stored."_extra", stored."_source_key", stored."_source_line") IS DISTINCT FROM (read."first_name", read."last_name", read."birthts", read."_extra", read."_source_key", read."_source_line");
-- merge: find_changed_rows, of compared objects
CREATE TEMPORARY TABLE changed_rows ON COMMIT DROP AS
SELECT coalesce(read."user_id", stored."user_id") AS "user_id", read._source_key IS NULL AS _is_removed, read."first_name", read."last_name", read."birthts", read."_extra", read."_source_key", read."_source_line",
       stored._source_key AS _stored_key, stored._source_line AS _stored_line,
       CAST(stored."img_path" IS NOT NULL AS integer) AS _stored_attached
FROM "staging_users" AS read
FULL JOIN (
    SELECT live.* FROM "public"."users" AS live
    WHERE live._source_key IN (SELECT key FROM staging_object WHERE dataset = :dataset
                               EXCEPT SELECT key FROM "compared_users"
                              )
      AND (CAST(:keys AS text[]) IS NULL OR live._source_key = ANY (CAST(:keys AS text[])))
      AND (SELECT EXISTS (SELECT key FROM staging_object WHERE dataset = :dataset
                          EXCEPT SELECT key FROM "compared_users"))
    UNION ALL
    SELECT live.*
    FROM "gone_users" AS gone
    JOIN "compared_users" AS compared ON compared.key = gone._source_key
    JOIN "public"."users" AS live ON (live."user_id") = (gone."user_id") AND live._source_key = gone._source_key
    UNION ALL
    SELECT live.*
    FROM "compared_users" AS compared JOIN "public"."users" AS live ON live._source_key = compared.key
    WHERE live._source_line > compared.last_line
      AND (SELECT EXISTS (SELECT FROM "compared_users" WHERE last_line IS NOT NULL))
) AS stored ON (stored."user_id") = (read."user_id")
WHERE read._source_key IS NULL
   OR stored._source_key IS NULL
   OR (stored."first_name", stored."last_name", stored."birthts", stored."_extra", stored."_source_key", stored."_source_line") IS DISTINCT FROM (read."first_name", read."last_name", read."birthts", read."_extra", read."_source_key", read."_source_line");
-- merge: analyze_changed_rows
CREATE INDEX ON changed_rows ("user_id");
ANALYZE changed_rows;
-- merge: find_conflicts
CREATE TEMPORARY TABLE conflicts ON COMMIT DROP AS
SELECT "user_id" FROM changed_rows GROUP BY "user_id" HAVING count(*) > 1 OR bool_or(_is_removed)
UNION
SELECT moved."user_id"
FROM changed_rows AS moved
JOIN "staging_users" AS kept
     ON (kept."user_id") = (moved."user_id")
        AND kept._source_key = moved._stored_key AND kept._source_line = moved._stored_line
WHERE (moved._source_key, moved._source_line) <> (moved._stored_key, moved._stored_line)
UNION
SELECT shadow."user_id"
FROM "public"."users_shadowed" AS shadow JOIN "staging_users" AS read ON (read."user_id") = (shadow."user_id")
UNION
SELECT changed_rows."user_id"
FROM changed_rows JOIN "public"."users" AS live ON (live."user_id") = (changed_rows."user_id")
WHERE changed_rows._stored_key IS NULL
UNION
SELECT shadow."user_id"
FROM staging_object JOIN "public"."users_shadowed" AS shadow ON shadow._source_key = staging_object.key
WHERE staging_object.dataset = :dataset AND staging_object.kind <> 'image'
UNION
SELECT live."user_id"
FROM staging_object AS image JOIN "public"."users" AS live ON live."user_id" = image.attachment_id
WHERE image.kind = 'image' AND image.dataset = :dataset AND image.attachment = 'img_path'
  AND NOT EXISTS (SELECT FROM changed_rows WHERE (changed_rows."user_id") = (live."user_id"))
UNION
SELECT live."user_id"
FROM staging_object AS image
JOIN "public"."users" AS live ON image.attachment_id = normalize(live."user_id")
WHERE image.kind = 'image' AND image.dataset = :dataset AND image.attachment = 'img_path'
  AND octet_length(image.attachment_id) <> char_length(image.attachment_id)
  AND octet_length(live."user_id") <> char_length(live."user_id")
  AND live."user_id" IS NOT NFC NORMALIZED
  AND (SELECT EXISTS (SELECT FROM staging_object
                      WHERE kind = 'image' AND dataset = :dataset AND attachment = 'img_path'
                        AND octet_length(attachment_id) <> char_length(attachment_id)));
-- merge: find_conflicts, of compared objects
CREATE TEMPORARY TABLE conflicts ON COMMIT DROP AS
SELECT "user_id" FROM changed_rows GROUP BY "user_id" HAVING count(*) > 1 OR bool_or(_is_removed)
UNION
SELECT moved."user_id"
FROM changed_rows AS moved
JOIN "staging_users" AS kept
     ON (kept."user_id") = (moved."user_id")
        AND kept._source_key = moved._stored_key AND kept._source_line = moved._stored_line
WHERE (moved._source_key, moved._source_line) <> (moved._stored_key, moved._stored_line)
UNION
SELECT shadow."user_id"
FROM "public"."users_shadowed" AS shadow JOIN "staging_users" AS read ON (read."user_id") = (shadow."user_id")
UNION
SELECT shadow."user_id"
FROM "public"."users_shadowed" AS shadow
JOIN "public"."users" AS live ON (live."user_id") = (shadow."user_id")
JOIN "compared_users" AS compared ON compared.key = live._source_key
UNION
SELECT changed_rows."user_id"
FROM changed_rows JOIN "public"."users" AS live ON (live."user_id") = (changed_rows."user_id")
WHERE changed_rows._stored_key IS NULL
UNION
SELECT shadow."user_id"
FROM staging_object JOIN "public"."users_shadowed" AS shadow ON shadow._source_key = staging_object.key
WHERE staging_object.dataset = :dataset AND staging_object.kind <> 'image'
UNION
SELECT live."user_id"
FROM staging_object AS image JOIN "public"."users" AS live ON live."user_id" = image.attachment_id
WHERE image.kind = 'image' AND image.dataset = :dataset AND image.attachment = 'img_path'
  AND NOT EXISTS (SELECT FROM changed_rows WHERE (changed_rows."user_id") = (live."user_id"))
UNION
SELECT live."user_id"
FROM staging_object AS image
JOIN "public"."users" AS live ON image.attachment_id = normalize(live."user_id")
WHERE image.kind = 'image' AND image.dataset = :dataset AND image.attachment = 'img_path'
  AND octet_length(image.attachment_id) <> char_length(image.attachment_id)
  AND octet_length(live."user_id") <> char_length(live."user_id")
  AND live."user_id" IS NOT NFC NORMALIZED
  AND (SELECT EXISTS (SELECT FROM staging_object
                      WHERE kind = 'image' AND dataset = :dataset AND attachment = 'img_path'
                        AND octet_length(attachment_id) <> char_length(attachment_id)));
-- merge: analyze_conflicts
CREATE INDEX ON conflicts ("user_id");
ANALYZE conflicts;
-- merge: find_candidates
CREATE TEMPORARY TABLE candidate ON COMMIT DROP AS
SELECT valid_row.*,
       row_number() OVER (
           PARTITION BY valid_row."user_id"
           ORDER BY source_object.last_modified DESC, valid_row._source_key,
                    valid_row._source_line DESC
       ) AS _rank
FROM (
    SELECT "user_id", "first_name", "last_name", "birthts", "_extra", "_source_key", "_source_line", true AS _from_this_run
    FROM "staging_users" JOIN conflicts USING ("user_id")
    UNION ALL
    SELECT "user_id", "first_name", "last_name", "birthts", "_extra", "_source_key", "_source_line", false
    FROM "public"."users" AS live JOIN conflicts USING ("user_id")
    WHERE NOT EXISTS (SELECT FROM staging_object
                      WHERE staging_object.key = live._source_key
                        AND staging_object.dataset = :dataset)
    UNION ALL
    SELECT "user_id", "first_name", "last_name", "birthts", "_extra", "_source_key", "_source_line", false
    FROM "public"."users_shadowed" AS shadow JOIN conflicts USING ("user_id")
    WHERE NOT EXISTS (SELECT FROM staging_object
                      WHERE staging_object.key = shadow._source_key
                        AND staging_object.dataset = :dataset)
) AS valid_row
JOIN source_object ON source_object.bucket = :bucket AND source_object.key = valid_row._source_key;
-- merge: find_candidates, of compared objects
CREATE TEMPORARY TABLE candidate ON COMMIT DROP AS
SELECT valid_row.*,
       row_number() OVER (
           PARTITION BY valid_row."user_id"
           ORDER BY source_object.last_modified DESC, valid_row._source_key,
                    valid_row._source_line DESC
       ) AS _rank
FROM (
    SELECT "user_id", "first_name", "last_name", "birthts", "_extra", "_source_key", "_source_line", true AS _from_this_run
    FROM "staging_users" JOIN conflicts USING ("user_id")
    UNION ALL
    SELECT "user_id", "first_name", "last_name", "birthts", "_extra", "_source_key", "_source_line", true
    FROM "public"."users" AS live JOIN conflicts USING ("user_id")
    WHERE EXISTS (SELECT FROM "compared_users" AS compared
                  WHERE compared.key = live._source_key
                    AND live._source_line <= coalesce(compared.last_line, live._source_line))
      AND NOT EXISTS (SELECT FROM "gone_users" AS gone WHERE (gone."user_id") = (live."user_id"))
    UNION ALL
    SELECT "user_id", "first_name", "last_name", "birthts", "_extra", "_source_key", "_source_line", false
    FROM "public"."users" AS live JOIN conflicts USING ("user_id")
    WHERE NOT EXISTS (SELECT FROM staging_object
                      WHERE staging_object.key = live._source_key
                        AND staging_object.dataset = :dataset)
    UNION ALL
    SELECT "user_id", "first_name", "last_name", "birthts", "_extra", "_source_key", "_source_line", false
    FROM "public"."users_shadowed" AS shadow JOIN conflicts USING ("user_id")
    WHERE NOT EXISTS (SELECT FROM staging_object
                      WHERE staging_object.key = shadow._source_key
                        AND staging_object.dataset = :dataset)
) AS valid_row
JOIN source_object ON source_object.bucket = :bucket AND source_object.key = valid_row._source_key;
-- merge: analyze_candidates
CREATE INDEX ON candidate ("user_id");
CREATE INDEX ON candidate (_source_key, _source_line);
ANALYZE candidate;
-- merge: find_attachments
CREATE TEMPORARY TABLE attachment ON COMMIT DROP AS
(SELECT DISTINCT ON (seen."user_id")
        CAST('img_path' AS text) AS _attachment, seen."user_id",
        :bucket || '/' || source_object.key AS _path
 FROM source_object
 JOIN (
     SELECT "user_id",
            CASE WHEN octet_length(_id) = char_length(_id) THEN _id
                 WHEN octet_length(normalize(_id)) = char_length(normalize(_id)) THEN _id
                 ELSE normalize(_id) END AS _image_id
     FROM (
         SELECT changed_rows."user_id", changed_rows."user_id" AS _id
         FROM changed_rows
         WHERE NOT EXISTS (SELECT FROM conflicts
                           WHERE (conflicts."user_id") = (changed_rows."user_id"))
         UNION ALL
         SELECT candidate."user_id", candidate."user_id"
         FROM candidate WHERE _rank = 1
     ) AS found
 ) AS seen ON seen._image_id = source_object.attachment_id
 WHERE source_object.kind = 'image' AND source_object.bucket = :bucket
   AND source_object.dataset = :dataset AND source_object.attachment = 'img_path'
 ORDER BY seen."user_id", source_object.last_modified DESC, source_object.key);
-- merge: analyze_attachments
ANALYZE attachment;
-- merge: find_upserts
CREATE TEMPORARY TABLE upserts ON COMMIT DROP AS
SELECT changed_rows."user_id", changed_rows."first_name", changed_rows."last_name", changed_rows."birthts", changed_rows."_extra", changed_rows."_source_key", changed_rows."_source_line", attached_1._path AS "img_path", true AS _from_this_run,
       false AS _is_new, false AS _is_restored, changed_rows._stored_attached AS _had_attached
FROM changed_rows
LEFT JOIN attachment AS attached_1
     ON attached_1._attachment = 'img_path' AND (attached_1."user_id") = (changed_rows."user_id")
WHERE changed_rows._stored_key IS NOT NULL
  AND NOT EXISTS (SELECT FROM conflicts WHERE (conflicts."user_id") = (changed_rows."user_id"))
UNION ALL
SELECT winner."user_id", winner."first_name", winner."last_name", winner."birthts", winner."_extra", winner."_source_key", winner."_source_line", attached_1._path AS "img_path", winner._from_this_run,
       stored._source_key IS NULL, retired._source_key IS NOT NULL, CAST(stored."img_path" IS NOT NULL AS integer)
FROM (
    SELECT "user_id", "first_name", "last_name", "birthts", "_extra", "_source_key", "_source_line", true AS _from_this_run
    FROM changed_rows
    WHERE _stored_key IS NULL
      AND NOT EXISTS (SELECT FROM conflicts WHERE (conflicts."user_id") = (changed_rows."user_id"))
    UNION ALL
    SELECT "user_id", "first_name", "last_name", "birthts", "_extra", "_source_key", "_source_line", _from_this_run
    FROM candidate
    WHERE _rank = 1
) AS winner
LEFT JOIN attachment AS attached_1
     ON attached_1._attachment = 'img_path' AND (attached_1."user_id") = (winner."user_id")
LEFT JOIN "public"."users" AS stored ON (stored."user_id") = (winner."user_id")
LEFT JOIN "public"."users_retired" AS retired ON (retired."user_id") = (winner."user_id")
WHERE stored._source_key IS NULL
   OR (stored."first_name", stored."last_name", stored."birthts", stored."_extra", stored."_source_key", stored."_source_line", stored."img_path") IS DISTINCT FROM (winner."first_name", winner."last_name", winner."birthts", winner."_extra", winner."_source_key", winner."_source_line", attached_1._path);
-- merge: analyze_upserts
ANALYZE upserts;
-- merge: update_rows
UPDATE "public"."users" AS stored SET
    "first_name" = upserts."first_name", "last_name" = upserts."last_name", "birthts" = upserts."birthts", "_extra" = upserts."_extra", "_source_key" = upserts."_source_key", "_source_line" = upserts."_source_line", "img_path" = upserts."img_path", _run_id = :run_id, _updated_at = now()
FROM upserts
WHERE (upserts."user_id") = (stored."user_id") AND NOT upserts._is_new;
-- merge: insert_rows
INSERT INTO "public"."users" ("user_id", "first_name", "last_name", "birthts", "_extra", "_source_key", "_source_line", "img_path", _run_id, _updated_at)
SELECT "user_id", "first_name", "last_name", "birthts", "_extra", "_source_key", "_source_line", "img_path", :run_id, now()
FROM upserts
WHERE _is_new
ORDER BY "user_id";
-- merge: drop_restored
DELETE FROM "public"."users_retired" AS retired
USING upserts
WHERE upserts._is_restored AND (upserts."user_id") = (retired."user_id");
-- merge: note_shadows
SELECT set_config('bucketline.shadow_change', CAST(
    (SELECT count(*) FROM candidate WHERE _rank > 1)
    - (SELECT count(*) FROM "public"."users_shadowed" JOIN conflicts USING ("user_id")) AS text), true);
-- merge: drop_shadows
DELETE FROM "public"."users_shadowed" AS shadow
USING conflicts
WHERE (conflicts."user_id") = (shadow."user_id")
  AND NOT EXISTS (
      SELECT FROM candidate AS loser
      WHERE loser._rank > 1
        AND loser._source_key = shadow._source_key
        AND loser._source_line = shadow._source_line);
-- merge: write_shadows
INSERT INTO "public"."users_shadowed" ("user_id", "first_name", "last_name", "birthts", "_extra", "_source_key", "_source_line", _run_id)
SELECT loser."user_id", loser."first_name", loser."last_name", loser."birthts", loser."_extra", loser."_source_key", loser."_source_line", :run_id
FROM candidate AS loser
LEFT JOIN "public"."users_shadowed" AS known USING (_source_key, _source_line)
WHERE loser._rank > 1
  AND (known._run_id IS NULL
       OR (known."user_id", known."first_name", known."last_name", known."birthts", known."_extra") IS DISTINCT FROM (loser."user_id", loser."first_name", loser."last_name", loser."birthts", loser."_extra"))
ON CONFLICT (_source_key, _source_line) DO UPDATE SET
    "user_id" = excluded."user_id", "first_name" = excluded."first_name", "last_name" = excluded."last_name", "birthts" = excluded."birthts", "_extra" = excluded."_extra", _run_id = excluded._run_id;
-- merge: retire_rows
WITH gone AS (
    DELETE FROM "public"."users" AS stored
    USING conflicts
    WHERE (conflicts."user_id") = (stored."user_id")
      AND NOT EXISTS (SELECT FROM candidate WHERE (candidate."user_id") = (stored."user_id"))
    RETURNING stored."user_id", stored."first_name", stored."last_name", stored."birthts", stored."_extra", stored."_source_key", stored."_source_line", stored."img_path"
)
INSERT INTO "public"."users_retired" AS retired ("user_id", "first_name", "last_name", "birthts", "_extra", "_source_key", "_source_line", "img_path", _run_id, _updated_at, _retired_at)
SELECT "user_id", "first_name", "last_name", "birthts", "_extra", "_source_key", "_source_line", "img_path", :run_id, now(), now() FROM gone
ON CONFLICT ("user_id") DO UPDATE SET
    "first_name" = excluded."first_name", "last_name" = excluded."last_name", "birthts" = excluded."birthts", "_extra" = excluded."_extra", "_source_key" = excluded."_source_key", "_source_line" = excluded."_source_line", "img_path" = excluded."img_path", _run_id = excluded._run_id,
    _updated_at = excluded._updated_at, _retired_at = excluded._retired_at;
-- first_load: find_attachments
CREATE TEMPORARY TABLE attachment ON COMMIT DROP AS
(SELECT DISTINCT ON (seen."user_id")
        CAST('img_path' AS text) AS _attachment, seen."user_id",
        :bucket || '/' || source_object.key AS _path
 FROM source_object
 JOIN (
     SELECT "user_id",
            CASE WHEN octet_length(_id) = char_length(_id) THEN _id
                 WHEN octet_length(normalize(_id)) = char_length(normalize(_id)) THEN _id
                 ELSE normalize(_id) END AS _image_id
     FROM (SELECT read."user_id", read."user_id" AS _id FROM "staging_users" AS read) AS found
 ) AS seen ON seen._image_id = source_object.attachment_id
 WHERE source_object.kind = 'image' AND source_object.bucket = :bucket
   AND source_object.dataset = :dataset AND source_object.attachment = 'img_path'
 ORDER BY seen."user_id", source_object.last_modified DESC, source_object.key);
-- first_load: drop_indexes
ALTER TABLE "public"."users" DROP CONSTRAINT IF EXISTS "users_pkey";
DROP INDEX IF EXISTS "public"."users__source_key_idx", "public"."users_birthdate_idx";
-- first_load: insert_rows
INSERT INTO "public"."users" ("user_id", "first_name", "last_name", "birthts", "_extra", "_source_key", "_source_line", "img_path", _run_id, _updated_at)
SELECT read."user_id", read."first_name", read."last_name", read."birthts", read."_extra", read."_source_key", read."_source_line", attached_1._path, :run_id, now()
FROM "staging_users" AS read
LEFT JOIN attachment AS attached_1
     ON attached_1._attachment = 'img_path' AND (attached_1."user_id") = (read."user_id")
ORDER BY read."user_id";
-- first_load: create_indexes
ALTER TABLE "public"."users" ADD CONSTRAINT "users_pkey" PRIMARY KEY ("user_id");
CREATE INDEX "users__source_key_idx" ON "public"."users" ("_source_key");
CREATE INDEX "users_birthdate_idx" ON "public"."users" ("birthdate");
-- first_load: update_statistics
ANALYZE "public"."users";
-- successor: is_replaceable
SELECT has_schema_privilege(to_regnamespace(quote_ident(:schema)), 'CREATE')
   AND has_schema_privilege(to_regnamespace(quote_ident(current_schema())), 'CREATE')
   AND relkind = 'r' AND reloptions IS NULL AND pg_has_role(relowner, 'USAGE')
   AND NOT EXISTS (SELECT FROM pg_class AS toast
                   WHERE toast.oid = pg_class.reltoastrelid AND toast.reloptions IS NOT NULL)
   AND NOT EXISTS (SELECT FROM "public"."users")
   AND NOT EXISTS (SELECT FROM "public"."users_retired")
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
INSERT INTO "successor_users" ("user_id", "first_name", "last_name", "birthts", "_extra", "_source_key", "_source_line") SELECT "user_id", "first_name", "last_name", "birthts", "_extra", "_source_key", "_source_line" FROM "staging_users";
-- successor: clear_staged
TRUNCATE "staging_users";
-- successor: open_transactions
SELECT virtualtransaction
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'virtualxid' AND granted AND pid <> pg_backend_pid()
  AND datname = current_database() AND usesysid IS NOT NULL;
-- successor: lock_table
LOCK TABLE "public"."users" IN ACCESS EXCLUSIVE MODE;
-- successor: complete
ALTER TABLE "successor_users"
    ADD COLUMN _run_id bigint NOT NULL DEFAULT :run_id,
    ADD COLUMN _updated_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE "successor_users"
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
DROP TABLE "public"."users";
ALTER TABLE "successor_users" SET SCHEMA "public";
ALTER TABLE "public"."successor_users" RENAME TO "users";
-- figures: small_keys
SELECT staged.keys
FROM (SELECT ARRAY(SELECT key FROM staging_object WHERE dataset = :dataset) AS keys) AS staged
WHERE (SELECT count(*) FROM (SELECT FROM "staging_users" LIMIT :small + 1) AS read) <= :small
  AND (SELECT count(*) FROM (SELECT FROM "public"."users" WHERE _source_key = ANY (staged.keys)
                             LIMIT :small + 1) AS stored) <= :small
  AND (SELECT count(*) FROM (SELECT FROM "public"."users_shadowed" WHERE _source_key = ANY (staged.keys)
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
            SELECT _source_key, count(*) AS rows FROM "staging_users" GROUP BY _source_key
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
            SELECT _source_key, count(*) AS rows FROM "staging_users" GROUP BY _source_key
            UNION ALL
            SELECT key, rows_same FROM "compared_users"
        ) AS parts
        GROUP BY _source_key
    ) AS good ON good._source_key = staged.key
    WHERE coalesce(staged.rows_read - staged.rows_rejected, 0) <> coalesce(good.rows, 0)
)
SELECT * FROM unbalanced LIMIT 1;
-- figures: merged_rows
SELECT (SELECT count(*) FROM upserts WHERE _from_this_run) AS rows_loaded,
       (SELECT count(*) FROM candidate WHERE _from_this_run AND _rank > 1) AS rows_shadowed,
       (SELECT count(*) FROM "public"."users" AS live
        WHERE live._source_key IN (SELECT key FROM staging_object WHERE dataset = :dataset)
          AND live._run_id <> :run_id
          AND (CAST(:keys AS text[]) IS NULL
               OR live._source_key = ANY (CAST(:keys AS text[])))) AS rows_unchanged;
-- figures: upserted
SELECT count(*) FILTER (WHERE _is_new AND NOT _is_restored) AS inserted,
       count(*) FILTER (WHERE NOT _is_new) AS updated,
       count(*) FILTER (WHERE _is_restored) AS restored,
       coalesce(sum(CAST("img_path" IS NOT NULL AS integer) - _had_attached), 0)::bigint AS attached
FROM upserts;
-- figures: retired
SELECT count(*) AS retired, coalesce(sum(_stored_attached), 0)::bigint AS attached
FROM changed_rows
WHERE _is_removed
  AND NOT EXISTS (SELECT FROM candidate WHERE (candidate."user_id") = (changed_rows."user_id"));
-- figures: losing_objects
SELECT lost._stored_key AS key,
       lost.rows AS rows
FROM (
    SELECT _stored_key, count(*) AS rows
    FROM changed_rows
    WHERE _is_removed
      AND NOT EXISTS (SELECT FROM candidate WHERE (candidate."user_id") = (changed_rows."user_id"))
    GROUP BY _stored_key
) AS lost;
-- figures: live
SELECT count(*) AS live, coalesce(sum(CAST("img_path" IS NOT NULL AS integer)), 0)::bigint AS attached FROM "public"."users";
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
SELECT :dataset, live.rows, live.attached, (SELECT count(*) FROM "public"."users_retired"),
       (SELECT count(*) FROM "public"."users_shadowed"),
       (SELECT count(*) FROM source_object WHERE source_object.dataset = :dataset)
FROM (SELECT count(*) AS rows, coalesce(sum(CAST("img_path" IS NOT NULL AS integer)), 0) AS attached FROM "public"."users") AS live
ON CONFLICT (dataset) DO UPDATE SET
    rows = excluded.rows, attached = excluded.attached, retired = excluded.retired,
    shadowed = excluded.shadowed, objects = excluded.objects;
