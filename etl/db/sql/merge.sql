-- Merges staging into the table of a dataset: insert, update, retire, shadow. The statements are
-- templates, rendered for each dataset by etl.db.dataset_sql. They run in this order in one
-- transaction, after those of manifest.sql (see etl.sync.merge). Parameters: :run_id, :dataset,
-- :bucket and :keys, the keys in staging for a small merge, else null. PostgreSQL estimates the
-- rows of a literal key from statistics, and assumes an average for keys that it reads from a
-- table.
-- Every statement depends only on staging and the tables, never on the order of earlier runs.
-- Rows that were compared while they were read, and are equal to the stored ones, are not in staging;
-- see compared.sql.
-- An `analyze_` statement runs only if the statement before it wrote many rows. It also creates
-- indexes: if the statistics of the table are stale, PostgreSQL looks the rows up one by one.

-- name: find_changed_rows
-- The differences between the rows read and the rows stored for the same objects. A row read is
-- new, changed, moved to another line, or its key is not stored or stored from another object. A
-- key whose row is gone has `_is_removed`. Every other row is in sync. So are its attachments,
-- unless this run read a change of them; see find_conflicts.
CREATE TEMPORARY TABLE changed_rows ON COMMIT DROP AS
SELECT {read|stored.key}, read._source_key IS NULL AS _is_removed, {read.rest},
       stored._source_key AS _stored_key, stored._source_line AS _stored_line,
       {stored.attached_count} AS _stored_attached
FROM {staging} AS read
FULL JOIN (
    SELECT live.* FROM {table} AS live
    WHERE live._source_key IN (SELECT key FROM staging_object WHERE dataset = :dataset
--:compared
                               EXCEPT SELECT key FROM {compared_objects}
--:end
                              )
      AND (CAST(:keys AS text[]) IS NULL OR live._source_key = ANY (CAST(:keys AS text[])))
--:compared
      -- Evaluated once, before the table is read; so is the other EXISTS.
      AND (SELECT EXISTS (SELECT key FROM staging_object WHERE dataset = :dataset
                          EXCEPT SELECT key FROM {compared_objects}))
    UNION ALL
    SELECT live.*
    FROM {gone} AS gone
    JOIN {compared_objects} AS compared ON compared.key = gone._source_key
    JOIN {table} AS live ON ({live.key}) = ({gone.key}) AND live._source_key = gone._source_key
    UNION ALL
    SELECT live.*
    FROM {compared_objects} AS compared JOIN {table} AS live ON live._source_key = compared.key
    WHERE live._source_line > compared.last_line
      AND (SELECT EXISTS (SELECT FROM {compared_objects} WHERE last_line IS NOT NULL))
--:end
) AS stored ON ({stored.key}) = ({read.key})
WHERE read._source_key IS NULL
   OR stored._source_key IS NULL
   OR ({stored.compared}) IS DISTINCT FROM ({read.compared})

-- name: analyze_changed_rows
CREATE INDEX ON changed_rows ({key});
ANALYZE changed_rows

-- name: find_conflicts
-- Keys that cannot be settled by comparing the row read with the row stored: keys with several rows
-- in this run, with a shadowed row, with a row of an object that this run did not read, and keys
-- that only lose a row or change an attachment. All other keys skip find_candidates.
CREATE TEMPORARY TABLE conflicts ON COMMIT DROP AS
SELECT {key} FROM changed_rows GROUP BY {key} HAVING count(*) > 1 OR bool_or(_is_removed)
--:keyed
UNION
SELECT {moved.key}  -- the stored row was read too, unchanged
FROM changed_rows AS moved
JOIN {staging} AS kept
     ON ({kept.key}) = ({moved.key})
        AND kept._source_key = moved._stored_key AND kept._source_line = moved._stored_line
WHERE (moved._source_key, moved._source_line) <> (moved._stored_key, moved._stored_line)
UNION
SELECT {shadow.key}
FROM {shadowed} AS shadow JOIN {staging} AS read ON ({read.key}) = ({shadow.key})
--:compared
UNION
SELECT {shadow.key}
FROM {shadowed} AS shadow
JOIN {table} AS live ON ({live.key}) = ({shadow.key})
JOIN {compared_objects} AS compared ON compared.key = live._source_key
--:end
UNION
SELECT {changed_rows.key}
FROM changed_rows JOIN {table} AS live ON ({live.key}) = ({changed_rows.key})
WHERE changed_rows._stored_key IS NULL
UNION
SELECT {shadow.key}
FROM staging_object JOIN {shadowed} AS shadow ON shadow._source_key = staging_object.key
WHERE staging_object.dataset = :dataset AND staging_object.kind <> 'image'
--:end
--:attachments
UNION
SELECT {live.key}
FROM staging_object AS image JOIN {table} AS live ON {live.attachment_id} = image.attachment_id
WHERE image.kind = 'image' AND image.dataset = :dataset AND image.attachment = {attachment}
  AND NOT EXISTS (SELECT FROM changed_rows WHERE ({changed_rows.key}) = ({live.key}))
UNION
SELECT {live.key}  -- ids that equal an image's only after NFC; see find_attachments
FROM staging_object AS image
JOIN {table} AS live ON image.attachment_id = normalize({live.attachment_id})
WHERE image.kind = 'image' AND image.dataset = :dataset AND image.attachment = {attachment}
  AND octet_length(image.attachment_id) <> char_length(image.attachment_id)
  AND octet_length({live.attachment_id}) <> char_length({live.attachment_id})
  AND {live.attachment_id} IS NOT NFC NORMALIZED
  -- Evaluated once, before the table is read, because no index finds these ids.
  AND (SELECT EXISTS (SELECT FROM staging_object
                      WHERE kind = 'image' AND dataset = :dataset AND attachment = {attachment}
                        AND octet_length(attachment_id) <> char_length(attachment_id)))
--:end

-- name: analyze_conflicts
CREATE INDEX ON conflicts ({key});
ANALYZE conflicts

-- name: find_candidates
-- Every valid row of the keys in `conflicts`: rows that this run read, and rows of earlier runs
-- whose objects this run did not read. `_rank` 1 wins.
CREATE TEMPORARY TABLE candidate ON COMMIT DROP AS
SELECT valid_row.*,
       row_number() OVER (
           PARTITION BY {valid_row.key}
           ORDER BY {valid_row.prefer,}source_object.last_modified DESC, valid_row._source_key,
                    valid_row._source_line DESC
       ) AS _rank
FROM (
    SELECT {row}, true AS _from_this_run
    FROM {staging} JOIN conflicts USING ({key})
--:compared
    UNION ALL
    SELECT {row}, true
    FROM {table} AS live JOIN conflicts USING ({key})
    WHERE EXISTS (SELECT FROM {compared_objects} AS compared
                  WHERE compared.key = live._source_key
                    AND live._source_line <= coalesce(compared.last_line, live._source_line))
      AND NOT EXISTS (SELECT FROM {gone} AS gone WHERE ({gone.key}) = ({live.key}))
--:end
    UNION ALL
    SELECT {row}, false
    FROM {table} AS live JOIN conflicts USING ({key})
    WHERE NOT EXISTS (SELECT FROM staging_object
                      WHERE staging_object.key = live._source_key
                        AND staging_object.dataset = :dataset)
--:keyed
    UNION ALL
    SELECT {row}, false
    FROM {shadowed} AS shadow JOIN conflicts USING ({key})
    WHERE NOT EXISTS (SELECT FROM staging_object
                      WHERE staging_object.key = shadow._source_key
                        AND staging_object.dataset = :dataset)
--:end
) AS valid_row
JOIN source_object ON source_object.bucket = :bucket AND source_object.key = valid_row._source_key

-- name: analyze_candidates
CREATE INDEX ON candidate ({key});
CREATE INDEX ON candidate (_source_key, _source_line);
ANALYZE candidate

-- name: find_attachments
-- The image of each row in this merge, by attachment: the newest one, then the smallest key. The
-- manifest stores image ids in NFC; rows keep their ids as written. ASCII ids, nearly all of them,
-- are in NFC. An id that only NFC turns into ASCII stays as it is, as in etl.model.keys.image_id_of.
--:attached
CREATE TEMPORARY TABLE attachment ON COMMIT DROP AS
--:attachments union all
(SELECT DISTINCT ON ({seen.key})
        CAST({attachment} AS text) AS _attachment, {seen.key},
        :bucket || '/' || source_object.key AS _path
 FROM source_object
 JOIN (
     SELECT {key},
            CASE WHEN octet_length(_id) = char_length(_id) THEN _id
                 WHEN octet_length(normalize(_id)) = char_length(normalize(_id)) THEN _id
                 ELSE normalize(_id) END AS _image_id
     FROM (
         SELECT {changed_rows.key}, {changed_rows.attachment_id} AS _id
         FROM changed_rows
         WHERE NOT EXISTS (SELECT FROM conflicts
                           WHERE ({conflicts.key}) = ({changed_rows.key}))
         UNION ALL
         SELECT {candidate.key}, {candidate.attachment_id}
         FROM candidate WHERE _rank = 1
     ) AS found
 ) AS seen ON seen._image_id = source_object.attachment_id
 WHERE source_object.kind = 'image' AND source_object.bucket = :bucket
   AND source_object.dataset = :dataset AND source_object.attachment = {attachment}
 ORDER BY {seen.key}, source_object.last_modified DESC, source_object.key)
--:end
--:end

-- name: analyze_attachments
--:attached
ANALYZE attachment
--:end

-- name: find_upserts
-- The winners that are new, or differ from the stored row. Rows already known to differ from the
-- stored row skip the second lookup.
CREATE TEMPORARY TABLE upserts ON COMMIT DROP AS
SELECT {changed_rows.row}{,path_columns}, true AS _from_this_run,
       false AS _is_new, false AS _is_restored, changed_rows._stored_attached AS _had_attached
FROM changed_rows
--:attachments
LEFT JOIN attachment AS {attached}
     ON {attached}._attachment = {attachment} AND ({attached.key}) = ({changed_rows.key})
--:end
WHERE changed_rows._stored_key IS NOT NULL
  AND NOT EXISTS (SELECT FROM conflicts WHERE ({conflicts.key}) = ({changed_rows.key}))
UNION ALL
SELECT {winner.row}{,path_columns}, winner._from_this_run,
       stored._source_key IS NULL, retired._source_key IS NOT NULL, {stored.attached_count}
FROM (
    SELECT {row}, true AS _from_this_run
    FROM changed_rows
    WHERE _stored_key IS NULL
      AND NOT EXISTS (SELECT FROM conflicts WHERE ({conflicts.key}) = ({changed_rows.key}))
    UNION ALL
    SELECT {row}, _from_this_run
    FROM candidate
    WHERE _rank = 1
) AS winner
--:attachments
LEFT JOIN attachment AS {attached}
     ON {attached}._attachment = {attachment} AND ({attached.key}) = ({winner.key})
--:end
LEFT JOIN {table} AS stored ON ({stored.key}) = ({winner.key})
LEFT JOIN {retired} AS retired ON ({retired.key}) = ({winner.key})
WHERE stored._source_key IS NULL
   OR ({stored.compared}{,stored.attached}) IS DISTINCT FROM ({winner.compared}{,paths})

-- name: analyze_upserts
ANALYZE upserts

-- name: update_rows
-- Winners replace the stored rows.
UPDATE {table} AS stored SET
    {rest=upserts}{,attached=upserts}, _run_id = :run_id, _updated_at = now()
FROM upserts
WHERE ({upserts.key}) = ({stored.key}) AND NOT upserts._is_new

-- name: insert_rows
-- New rows in key order, which makes index insertion cheaper.
INSERT INTO {table} ({row}{,attached}, _run_id, _updated_at)
SELECT {row}{,attached}, :run_id, now()
FROM upserts
WHERE _is_new
ORDER BY {key}

-- name: drop_restored
-- A row that returned is no longer retired.
DELETE FROM {retired} AS retired
USING upserts
WHERE upserts._is_restored AND ({upserts.key}) = ({retired.key})

-- name: note_shadows
-- How many rows more are shadowed afterwards, for the tallies. Kept for this transaction.
--:keyed
SELECT set_config('bucketline.shadow_change', CAST(
    (SELECT count(*) FROM candidate WHERE _rank > 1)
    - (SELECT count(*) FROM {shadowed} JOIN conflicts USING ({key})) AS text), true)
--:end

-- name: drop_shadows
-- Shadowed rows that left the bucket or now win.
--:keyed
DELETE FROM {shadowed} AS shadow
USING conflicts
WHERE ({conflicts.key}) = ({shadow.key})
  AND NOT EXISTS (
      SELECT FROM candidate AS loser
      WHERE loser._rank > 1
        AND loser._source_key = shadow._source_key
        AND loser._source_line = shadow._source_line)
--:end

-- name: write_shadows
-- Valid rows that lost are kept, so that one can win once the current winner is gone.
--:keyed
INSERT INTO {shadowed} ({row}, _run_id)
SELECT {loser.row}, :run_id
FROM candidate AS loser
LEFT JOIN {shadowed} AS known USING (_source_key, _source_line)
WHERE loser._rank > 1
  AND (known._run_id IS NULL
       OR ({known.compared_cells}) IS DISTINCT FROM ({loser.compared_cells}))
ON CONFLICT (_source_key, _source_line) DO UPDATE SET
    {cells=excluded}, _run_id = excluded._run_id
--:end

-- name: retire_rows
-- Rows without any valid version left in the bucket. Nothing else depends on it, so it can be
-- repeated for some of the keys; see etl.sync.retiring.
--:retire
WITH gone AS (
    DELETE FROM {table} AS stored
    USING conflicts
    WHERE ({conflicts.key}) = ({stored.key})
      AND NOT EXISTS (SELECT FROM candidate WHERE ({candidate.key}) = ({stored.key}))
    RETURNING {stored.row}{,stored.attached}
)
INSERT INTO {retired} AS retired ({row}{,attached}, _run_id, _updated_at, _retired_at)
SELECT {row}{,attached}, :run_id, now(), now() FROM gone
ON CONFLICT ({key}) DO UPDATE SET
    {rest=excluded}{,attached=excluded}, _run_id = excluded._run_id,
    _updated_at = excluded._updated_at, _retired_at = excluded._retired_at
--:end
--:delete
DELETE FROM {table} AS stored
USING conflicts
WHERE ({conflicts.key}) = ({stored.key})
  AND NOT EXISTS (SELECT FROM candidate WHERE ({candidate.key}) = ({stored.key}))
--:end
