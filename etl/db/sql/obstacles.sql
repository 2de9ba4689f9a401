-- What other clients put on the tables of a dataset, and what it does to the rows of a merge; see
-- etl.sync.obstacles.

-- name: find
-- By table, whether row-level security applies to our role, and the triggers and rules. Foreign
-- keys are not among them. Parameters: :schema, :names.
SELECT relname AS name, row_security_active(pg_class.oid) AS is_filtered,
       ARRAY(SELECT CAST(tgname AS text) FROM pg_trigger
             WHERE tgrelid = pg_class.oid AND NOT tgisinternal AND tgenabled IN ('O', 'A')
             UNION ALL
             SELECT CAST(rulename AS text) FROM pg_rewrite
             WHERE ev_class = pg_class.oid AND ev_enabled IN ('O', 'A')
             ORDER BY 1) AS triggers
FROM pg_class
WHERE relnamespace = to_regnamespace(quote_ident(:schema))
  AND relname = ANY (CAST(:names AS text[]))
ORDER BY relname

-- name: unfaithful
-- By suffix of the table, the number of rows that are not as the merge wrote or removed them. Runs
-- after the statements of merge.sql, whose tables it reads. A template, without parameters.
SELECT '' AS suffix, (
    SELECT count(*)
    FROM upserts LEFT JOIN {table} AS stored ON ({stored.key}) = ({upserts.key})
    WHERE stored._source_key IS NULL
       OR ({stored.compared}{,stored.attached}) IS DISTINCT FROM
          ({upserts.compared}{,upserts.attached})
) + (
    SELECT count(*)
    FROM changed_rows JOIN {table} AS stored ON ({stored.key}) = ({changed_rows.key})
    WHERE changed_rows._is_removed
      AND NOT EXISTS (SELECT FROM candidate WHERE ({candidate.key}) = ({changed_rows.key}))
) AS rows
--:retire
UNION ALL
SELECT '_retired', count(*)
FROM changed_rows LEFT JOIN {retired} AS retired ON ({retired.key}) = ({changed_rows.key})
WHERE changed_rows._is_removed AND retired._source_key IS NULL
  AND NOT EXISTS (SELECT FROM candidate WHERE ({candidate.key}) = ({changed_rows.key}))
--:end
--:keyed
UNION ALL
SELECT '_shadowed', count(*)
FROM candidate AS loser LEFT JOIN {shadowed} AS known USING (_source_key, _source_line)
WHERE loser._rank > 1
  AND (known._run_id IS NULL
       OR ({known.compared_cells}) IS DISTINCT FROM ({loser.compared_cells}))
--:end

-- name: lock_holders
-- The sessions with a lock on the tables that excludes writers. Parameters: :schema, :names.
SELECT DISTINCT 'process ' || pg_locks.pid
       || coalesce(' (' || nullif(application_name, '') || ')', '')
FROM pg_locks
JOIN pg_class ON pg_class.oid = pg_locks.relation
LEFT JOIN pg_stat_activity USING (pid)
WHERE pg_locks.granted AND pg_locks.pid <> pg_backend_pid()
  AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND pg_locks.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                        'AccessExclusiveLock')
  AND relnamespace = to_regnamespace(quote_ident(:schema))
  AND relname = ANY (CAST(:names AS text[]))
ORDER BY 1
