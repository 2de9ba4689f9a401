-- Retires rows although foreign keys or triggers may block some of them; see etl.sync.retiring.
-- The statements are templates, as those of merge.sql. Parameters: as named.

-- name: find_doomed
-- The rows to retire, numbered. `conflicts` is emptied, and then has some of them at a time.
CREATE TEMPORARY TABLE doomed ON COMMIT DROP AS
SELECT row_number() OVER () AS _number, {key}, _stored_key, _stored_line
FROM changed_rows
WHERE _is_removed
  AND NOT EXISTS (SELECT FROM candidate WHERE ({candidate.key}) = ({changed_rows.key}));
TRUNCATE conflicts

-- name: count_doomed
SELECT count(*) FROM doomed

-- name: take
-- The rows of a range. Parameters: :first, :last.
INSERT INTO conflicts ({key})
SELECT {key} FROM doomed WHERE _number BETWEEN :first AND :last

-- name: give_back
TRUNCATE conflicts

-- name: keep_blocked
-- Blocked rows are neither retired nor counted as such. Parameter: :numbers.
DELETE FROM changed_rows
USING doomed
WHERE _is_removed AND ({doomed.key}) = ({changed_rows.key})
  AND doomed._number = ANY (CAST(:numbers AS bigint[]))

-- name: keep_removed_objects
-- Objects of blocked rows return to the manifest, so that each full run tries again.
-- Parameters: :run_id, :numbers, :dataset.
INSERT INTO source_object (bucket, key, dataset, kind, attachment, attachment_id, etag, size,
                           last_modified, state, rows_read, rows_rejected, run_id)
SELECT bucket, key, dataset, kind, attachment, attachment_id, etag, size, last_modified, state,
       0, 0, :run_id
FROM staging_object
WHERE dataset = :dataset AND change = 'removed'
  AND key IN (SELECT _stored_key FROM doomed WHERE _number = ANY (CAST(:numbers AS bigint[])))
ON CONFLICT (bucket, key) DO NOTHING

-- name: reread_objects
-- A modified object is read again by the next run, as if its content were unknown.
-- Parameters: :numbers, :dataset.
UPDATE source_object SET reread_on = DATE '1970-01-01'
FROM staging_object AS staged
WHERE staged.dataset = :dataset AND staged.change IN ('added', 'modified')
  AND source_object.bucket = staged.bucket AND source_object.key = staged.key
  AND staged.key IN (SELECT _stored_key FROM doomed
                     WHERE _number = ANY (CAST(:numbers AS bigint[])))

-- name: write_problems
-- One problem for each blocked row, of at most :most in an object. Parameters: :run_id, :dataset,
-- :bucket, :most; :numbers, :names and :causes of what blocks them, of one length.
INSERT INTO problem (run_id, bucket, key, dataset, etag, line, code, severity, value, note)
SELECT :run_id, :bucket, key, :dataset, etag, line, 'retirement-blocked', 'warning', name,
       'The row is no longer in the bucket, but ' || cause || ' prevents its removal. Every'
       || ' run tries again. Remove the rows that refer to it, or drop the foreign key or trigger.'
FROM (
    SELECT source_object.key, source_object.etag, doomed._stored_line AS line, blocked.name,
           blocked.cause,
           row_number() OVER (PARTITION BY source_object.key ORDER BY doomed._stored_line) AS place
    FROM unnest(CAST(:numbers AS bigint[]), CAST(:names AS text[]), CAST(:causes AS text[]))
         AS blocked (number, name, cause)
    JOIN doomed ON doomed._number = blocked.number
    JOIN source_object
         ON source_object.bucket = :bucket AND source_object.key = doomed._stored_key
) AS found
WHERE place <= :most
ORDER BY key, line
