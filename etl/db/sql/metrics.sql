-- The numbers of /metrics, from the tallies: the name of a family, the values of its labels, and the
-- number. No parameters.

-- name: numbers
SELECT 'runs' AS family, ARRAY[trigger, outcome] AS labels,
       CAST(sum(runs) AS double precision) AS number
FROM run_total GROUP BY trigger, outcome
UNION ALL
SELECT 'run_seconds', ARRAY[trigger, outcome], sum(seconds)
FROM run_total GROUP BY trigger, outcome
UNION ALL
SELECT 'run_errors', ARRAY[error], sum(runs) FROM run_total WHERE error <> '' GROUP BY error
UNION ALL
SELECT 'last_success', ARRAY[trigger], extract(epoch FROM max(last_at))
FROM run_total WHERE outcome IN ('succeeded', 'held') GROUP BY trigger
UNION ALL
SELECT 'last_failure', ARRAY[trigger], extract(epoch FROM max(last_at))
FROM run_total WHERE outcome IN ('failed', 'interrupted') GROUP BY trigger
UNION ALL
SELECT family, ARRAY[step], number
FROM step_total
CROSS JOIN LATERAL (VALUES ('steps', runs), ('step_rows', rows), ('step_seconds', seconds))
     AS part (family, number)
UNION ALL
SELECT family, ARRAY[dataset], number
FROM dataset_tally JOIN dataset ON name = dataset_tally.dataset
CROSS JOIN LATERAL (VALUES ('rows', rows), ('retired_rows', retired), ('shadowed_rows', shadowed),
                           ('objects', objects), ('faulty_objects', faulty_objects))
     AS part (family, number)
UNION ALL
SELECT 'changed_rows', ARRAY[dataset, change], number
FROM dataset_tally JOIN dataset ON name = dataset_tally.dataset
CROSS JOIN LATERAL (VALUES ('read', rows_read), ('inserted', rows_inserted),
                           ('updated', rows_updated), ('restored', rows_restored),
                           ('retired', rows_retired), ('rejected', rows_rejected))
     AS part (change, number)
UNION ALL
SELECT 'problems', ARRAY[dataset, severity], number
FROM dataset_tally JOIN dataset ON name = dataset_tally.dataset
CROSS JOIN LATERAL (VALUES ('error', errors), ('warning', problems - errors))
     AS part (severity, number)
UNION ALL
SELECT 'open_problems', ARRAY[dataset, code, severity], problems
FROM problem_tally JOIN dataset ON name = problem_tally.dataset
UNION ALL
SELECT family, ARRAY[dataset], number
FROM hold CROSS JOIN LATERAL (VALUES ('held_rows', rows),
                                     ('hold_opened', extract(epoch FROM opened_at)))
     AS part (family, number)
UNION ALL
SELECT 'running', '{}', count(*) FROM run WHERE state = 'running'
UNION ALL
SELECT 'pending_events', '{}', count(*) FROM bucket_event WHERE handled_by_run IS NULL
UNION ALL
SELECT 'lag', '{}', greatest(0, extract(epoch FROM clock_timestamp() - received_at))
FROM (SELECT received_at FROM bucket_event WHERE handled_by_run IS NULL ORDER BY id LIMIT 1)
     AS oldest
