-- Loads many rows into an empty table. No row can be unchanged, restored or retired, and none is
-- shadowed unless a key has two rows, which the primary key rejects. It is created after the rows
-- are inserted, as are the other indexes, in half the time that filling them row by row takes.
-- The statements are templates, as those of merge.sql. They run in this order in a savepoint.
-- Parameters: :run_id, :dataset, :bucket.

-- name: find_attachments
-- The image of each row read: the newest one, then the smallest key. See merge.sql on NFC.
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
     FROM (SELECT {read.key}, {read.attachment_id} AS _id FROM {staging} AS read) AS found
 ) AS seen ON seen._image_id = source_object.attachment_id
 WHERE source_object.kind = 'image' AND source_object.bucket = :bucket
   AND source_object.dataset = :dataset AND source_object.attachment = {attachment}
 ORDER BY {seen.key}, source_object.last_modified DESC, source_object.key)
--:end
--:end

-- name: drop_indexes
{drop_indexes}

-- name: insert_rows
-- In key order, in which most queries read them and in which most files have them.
INSERT INTO {table} ({row}{,attached}, _run_id, _updated_at)
SELECT {read.row}{,paths}, :run_id, now()
FROM {staging} AS read
--:attachments
LEFT JOIN attachment AS {attached}
     ON {attached}._attachment = {attachment} AND ({attached.key}) = ({read.key})
--:end
--:unsorted
ORDER BY {read.key}
--:end

-- name: create_indexes
{create_indexes}

-- name: update_statistics
ANALYZE {table}
