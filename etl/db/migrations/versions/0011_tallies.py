"""Keep tallies, so that no page has to count, and fill them from what is stored.

Runs that were removed before are in none of them. Which objects gained a problem in an hour was
not recorded; the problems open now count as found when their object was last read.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

from etl.db.grants import copy_grants
from etl.db.identifiers import quoted

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_COUNTERS = ("read", "inserted", "updated", "restored", "retired", "rejected")
_COUNTER_COLUMNS = ", ".join(f"rows_{one} bigint NOT NULL DEFAULT 0" for one in _COUNTERS)
_COUNTER_NAMES = ", ".join(f"rows_{one}" for one in _COUNTERS)
_KEPT_HOURS = "90 days"

_TABLES = {
    "dataset_tally": f"""
        dataset text PRIMARY KEY, rows bigint NOT NULL DEFAULT 0,
        attached bigint NOT NULL DEFAULT 0, retired bigint NOT NULL DEFAULT 0,
        shadowed bigint NOT NULL DEFAULT 0, objects bigint NOT NULL DEFAULT 0,
        problems bigint NOT NULL DEFAULT 0, errors bigint NOT NULL DEFAULT 0,
        faulty_objects bigint NOT NULL DEFAULT 0, {_COUNTER_COLUMNS},
        run_id bigint, changed_at timestamptz""",
    "problem_tally": """
        dataset text, code text, severity text, problems bigint NOT NULL DEFAULT 0,
        objects bigint NOT NULL DEFAULT 0, first_seen_at timestamptz, last_seen_at timestamptz,
        closed_at timestamptz, PRIMARY KEY (dataset, code, severity)""",
    "faulty_object": """
        bucket text, key text COLLATE "C", dataset text NOT NULL, errors integer NOT NULL,
        warnings integer NOT NULL, error_codes jsonb NOT NULL, warning_codes jsonb NOT NULL,
        first_seen_at timestamptz NOT NULL, PRIMARY KEY (bucket, key)""",
    "dataset_hour": f"""
        dataset text, hour timestamptz, rows bigint NOT NULL DEFAULT 0, {_COUNTER_COLUMNS},
        PRIMARY KEY (dataset, hour)""",
    "problem_hour": """
        dataset text, hour timestamptz, code text, opened bigint NOT NULL DEFAULT 0,
        closed bigint NOT NULL DEFAULT 0, PRIMARY KEY (dataset, hour, code)""",
    "run_half_hour": """
        half_hour timestamptz, outcome text, runs bigint NOT NULL DEFAULT 0,
        slowest_seconds double precision NOT NULL, slowest_run bigint NOT NULL,
        PRIMARY KEY (half_hour, outcome)""",
    "run_total": """
        trigger text, outcome text, error text, runs bigint NOT NULL DEFAULT 0,
        seconds double precision NOT NULL DEFAULT 0, last_at timestamptz,
        PRIMARY KEY (trigger, outcome, error)""",
    "step_total": """
        step text PRIMARY KEY, runs bigint NOT NULL DEFAULT 0, rows bigint NOT NULL DEFAULT 0,
        seconds double precision NOT NULL DEFAULT 0""",
}

_OUTCOME = """
    CASE WHEN state = 'failed' AND error->>'code' = 'Interrupted' THEN 'interrupted'
         WHEN state = 'succeeded' AND EXISTS (SELECT FROM hold WHERE hold.run_id = run.id)
         THEN 'held' ELSE state END
"""
_UNEVENTFUL = """
    trigger = 'event' AND coalesce(outcome, '') = 'succeeded' AND error IS NULL
    AND coalesce(CAST(counts->>'problems' AS bigint), 0) = 0
    AND coalesce(CAST(counts->>'retirements_held' AS bigint), 0) = 0
"""
_SECONDS = "coalesce(extract(epoch FROM finished_at - started_at), 0)"

_OF_RUNS = (
    f"""
    INSERT INTO run_total (trigger, outcome, error, runs, seconds, last_at)
    SELECT trigger, outcome, coalesce(error->>'code', ''), count(*), sum({_SECONDS}),
           max(finished_at)
    FROM run WHERE outcome IS NOT NULL GROUP BY 1, 2, 3
    """,
    f"""
    INSERT INTO run_half_hour (half_hour, outcome, runs, slowest_seconds, slowest_run)
    SELECT half_hour, outcome, count(*), max(seconds),
           (array_agg(id ORDER BY seconds DESC, id))[1]
    FROM (SELECT id, outcome, {_SECONDS} AS seconds,
                 to_timestamp(floor(extract(epoch FROM finished_at) / 1800) * 1800) AS half_hour
          FROM run
          WHERE outcome IS NOT NULL AND finished_at > now() - interval '{_KEPT_HOURS}') AS ended
    GROUP BY half_hour, outcome
    """,
    """
    INSERT INTO step_total (step, runs, rows, seconds)
    SELECT step.key, count(*), coalesce(sum(CAST(step_rows->>step.key AS bigint)), 0),
           sum(CAST(step.value AS double precision))
    FROM run CROSS JOIN LATERAL jsonb_each_text(step_seconds) AS step
    GROUP BY step.key
    """,
)

_OF_PROBLEMS = (
    """
    INSERT INTO faulty_object (bucket, key, dataset, errors, warnings, error_codes, warning_codes,
                               first_seen_at)
    SELECT bucket, key, dataset,
           coalesce(sum(problems) FILTER (WHERE severity = 'error'), 0),
           coalesce(sum(problems) FILTER (WHERE severity <> 'error'), 0),
           coalesce(jsonb_object_agg(code, problems) FILTER (WHERE severity = 'error'), '{}'),
           coalesce(jsonb_object_agg(code, problems) FILTER (WHERE severity <> 'error'), '{}'),
           min(seen_at)
    FROM (SELECT bucket, key, coalesce(known.dataset, '') AS dataset, severity, code,
                 count(*) AS problems, coalesce(min(run.finished_at), now()) AS seen_at
          FROM problem JOIN source_object AS known USING (bucket, key, run_id)
          JOIN run ON run.id = problem.run_id
          GROUP BY bucket, key, known.dataset, severity, code) AS counted
    GROUP BY bucket, key, dataset
    """,
    """
    INSERT INTO problem_tally (dataset, code, severity, problems, objects, first_seen_at,
                               last_seen_at)
    SELECT dataset, code, severity, sum(problems), count(*), min(first_seen_at), max(first_seen_at)
    FROM faulty_object CROSS JOIN LATERAL (
        SELECT 'error' AS severity, key AS code, CAST(value AS bigint) AS problems
        FROM jsonb_each_text(error_codes)
        UNION ALL
        SELECT 'warning', key, CAST(value AS bigint) FROM jsonb_each_text(warning_codes)) AS found
    GROUP BY dataset, code, severity
    """,
    f"""
    INSERT INTO problem_hour (dataset, hour, code, opened)
    SELECT dataset, date_trunc('hour', first_seen_at, 'UTC'), code, sum(problems)
    FROM faulty_object CROSS JOIN LATERAL (
        SELECT key AS code, CAST(value AS bigint) AS problems FROM jsonb_each_text(error_codes)
        UNION ALL
        SELECT key, CAST(value AS bigint) FROM jsonb_each_text(warning_codes)) AS found
    WHERE first_seen_at > now() - interval '{_KEPT_HOURS}'
    GROUP BY 1, 2, 3
    """,
)

_COUNTED = """
    SELECT finished_at, counted.key AS dataset, CAST(counted.value->>'live' AS bigint) AS live,
           coalesce(CAST(counted.value->>'attached' AS bigint), 0) AS attached,
           coalesce(CAST(counted.value->>'rows_read' AS bigint), 0) AS rows_read,
           coalesce(CAST(counted.value->>'inserted' AS bigint), 0) AS rows_inserted,
           coalesce(CAST(counted.value->>'updated' AS bigint), 0) AS rows_updated,
           coalesce(CAST(counted.value->>'restored' AS bigint), 0) AS rows_restored,
           coalesce(CAST(counted.value->>'retired' AS bigint), 0) AS rows_retired,
           coalesce(CAST(counted.value->>'rows_rejected' AS bigint), 0) AS rows_rejected,
           run.id AS run_id
    FROM run CROSS JOIN LATERAL jsonb_each(dataset_counts) AS counted
    WHERE outcome IS NOT NULL AND dataset_counts <> CAST('{}' AS jsonb)
"""
_SUMS = ", ".join(f"sum(rows_{one})" for one in _COUNTERS)
_IS_CHANGE = "rows_inserted + rows_updated + rows_restored + rows_retired > 0"

_OF_DATASETS = (
    f"""
    INSERT INTO dataset_tally (dataset, attached, {_COUNTER_NAMES}, run_id, changed_at)
    SELECT dataset, (array_agg(attached ORDER BY finished_at DESC))[1], {_SUMS},
           (array_agg(run_id ORDER BY finished_at DESC) FILTER (WHERE {_IS_CHANGE}))[1],
           max(finished_at) FILTER (WHERE {_IS_CHANGE})
    FROM ({_COUNTED}) AS counted GROUP BY dataset
    """,
    """
    INSERT INTO dataset_tally (dataset)
    SELECT name FROM dataset UNION SELECT coalesce(dataset, '') FROM source_object UNION SELECT ''
    ON CONFLICT DO NOTHING
    """,
    """
    UPDATE dataset_tally AS tally SET objects = found.objects
    FROM (SELECT coalesce(dataset, '') AS dataset, count(*) AS objects
          FROM source_object GROUP BY 1) AS found
    WHERE found.dataset = tally.dataset
    """,
    """
    UPDATE dataset_tally AS tally
    SET problems = found.problems, errors = found.errors, faulty_objects = found.faulty
    FROM (SELECT dataset, sum(errors + warnings) AS problems, sum(errors) AS errors,
                 count(*) FILTER (WHERE errors > 0) AS faulty
          FROM faulty_object GROUP BY dataset) AS found
    WHERE found.dataset = tally.dataset
    """,
    f"""
    INSERT INTO dataset_hour (dataset, hour, rows, {_COUNTER_NAMES})
    SELECT dataset, date_trunc('hour', finished_at, 'UTC'),
           (array_agg(live ORDER BY finished_at DESC))[1], {_SUMS}
    FROM ({_COUNTED} AND finished_at > now() - interval '{_KEPT_HOURS}') AS counted
    WHERE {_IS_CHANGE} OR rows_read > 0
    GROUP BY 1, 2
    """,
)


def upgrade() -> None:
    """Create and fill the tables; no run is under way."""
    _change_state()
    for table, columns in _TABLES.items():
        op.execute(f"CREATE TABLE {table} ({columns})")
        copy_grants(op.get_bind(), "run", table)
    op.execute(
        "CREATE INDEX faulty_object_errors_idx ON faulty_object (dataset, errors) WHERE errors > 0"
    )
    for statement in (*_OF_RUNS, *_OF_PROBLEMS, *_OF_DATASETS):
        op.execute(statement)
    _count_rows(op.get_bind(), context.config.attributes["database_schema"])


def _change_state() -> None:
    """The columns and indexes of existing tables."""
    op.execute("ALTER TABLE run ADD COLUMN outcome text")
    op.execute(f"UPDATE run SET outcome = {_OUTCOME} WHERE state IN ('succeeded', 'failed')")
    op.execute(
        "ALTER TABLE run ADD COLUMN uneventful boolean NOT NULL"
        f" GENERATED ALWAYS AS ({_UNEVENTFUL}) STORED"
    )
    op.execute("CREATE INDEX run_eventful_idx ON run (id) WHERE NOT uneventful")
    op.execute("CREATE INDEX run_uneventful_idx ON run (id) WHERE uneventful")
    op.execute("DROP INDEX problem_key_idx")
    op.execute("CREATE INDEX problem_key_idx ON problem (key, run_id)")
    op.execute("ALTER TABLE hold ADD COLUMN summary jsonb")
    op.execute("ALTER TABLE statistics ADD COLUMN run_id bigint")


def _count_rows(connection: sa.Connection, schema: str) -> None:
    """Count the rows of the tables of each installed dataset."""
    installed = connection.execute(sa.text("SELECT name, declaration->>'table' FROM dataset"))
    for name, table in installed.all():
        for column, suffix in (("rows", ""), ("retired", "_retired"), ("shadowed", "_shadowed")):
            full = f"{quoted(schema)}.{quoted(table + suffix)}"
            found = connection.scalar(
                sa.text(
                    "SELECT relkind IN ('r', 'p') FROM pg_class WHERE oid = to_regclass(:table)"
                ),
                {"table": full},
            )
            if found:
                rows = connection.exec_driver_sql(f"SELECT count(*) FROM {full}").scalar_one()
                connection.execute(
                    sa.text(f"UPDATE dataset_tally SET {column} = :rows WHERE dataset = :name"),
                    {"rows": rows, "name": name},
                )
