"""The law of tallies: whatever has happened, each equals a count over the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from etl.db.engine import schemas_of
from etl.db.tally_tables import ROW_COUNTERS
from etl.sync.declared import load

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from etl.db.dataset_sql import DatasetSql

_COUNTERS = {
    "read": "rows_read",
    "rejected": "rows_rejected",
    **{name: name for name in ("inserted", "updated", "restored", "retired")},
}
_OPEN = """
    SELECT bucket, key, coalesce(source_object.dataset, '') AS dataset, code, severity
    FROM problem JOIN source_object USING (bucket, key, run_id)
"""
_SUMS = ", ".join(
    f"coalesce(sum(CAST(counted.value->>'{_COUNTERS[one]}' AS bigint)), 0)" for one in ROW_COUNTERS
)
_NAMES = ", ".join(f"rows_{one}" for one in ROW_COUNTERS)
_OF_RUNS = (
    " FROM run CROSS JOIN LATERAL jsonb_each(dataset_counts) AS counted"
    " WHERE outcome IS NOT NULL AND dataset_counts <> '{}'"
)
_SECONDS = "coalesce(extract(epoch FROM finished_at - started_at), 0)"

# Pairs of statements with equal results: over the tallies, and over what they count.
_PAIRS = {
    "open problems by dataset": (
        (
            "SELECT dataset, problems, errors, faulty_objects FROM dataset_tally"
            " WHERE problems <> 0 ORDER BY 1"
        ),
        (
            "SELECT dataset, count(*), count(*) FILTER (WHERE severity = 'error'),"
            " count(DISTINCT (bucket, key)) FILTER (WHERE severity = 'error')"
            f" FROM ({_OPEN}) AS open GROUP BY dataset ORDER BY 1"
        ),
    ),
    "no errors without problems": (
        (
            "SELECT dataset FROM dataset_tally"
            " WHERE problems = 0 AND (errors, faulty_objects) <> (0, 0)"
        ),
        "SELECT NULL WHERE false",
    ),
    "open problems by code": (
        (
            "SELECT dataset, code, severity, problems, objects FROM problem_tally"
            " WHERE (problems, objects) <> (0, 0) ORDER BY 1, 2, 3"
        ),
        (
            "SELECT dataset, code, severity, count(*), count(DISTINCT (bucket, key))"
            f" FROM ({_OPEN}) AS open GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        ),
    ),
    "faulty objects": (
        (
            "SELECT bucket, key, dataset, errors, warnings, error_codes, warning_codes"
            " FROM faulty_object ORDER BY 1, 2"
        ),
        (
            "SELECT bucket, key, dataset, coalesce(sum(n) FILTER (WHERE severity = 'error'), 0),"
            " coalesce(sum(n) FILTER (WHERE severity = 'warning'), 0),"
            " coalesce(jsonb_object_agg(code, n) FILTER (WHERE severity = 'error'), '{}'),"
            " coalesce(jsonb_object_agg(code, n) FILTER (WHERE severity = 'warning'), '{}')"
            " FROM (SELECT bucket, key, dataset, code, severity, count(*) AS n"
            f" FROM ({_OPEN}) AS open GROUP BY 1, 2, 3, 4, 5) AS counted"
            " GROUP BY 1, 2, 3 ORDER BY 1, 2"
        ),
    ),
    "problems by hour": (
        (
            "SELECT dataset, code, sum(opened - closed) FROM problem_hour GROUP BY 1, 2"
            " HAVING sum(opened - closed) <> 0 ORDER BY 1, 2"
        ),
        f"SELECT dataset, code, count(*) FROM ({_OPEN}) AS open GROUP BY 1, 2 ORDER BY 1, 2",
    ),
    "objects": (
        "SELECT dataset, objects FROM dataset_tally WHERE objects <> 0 ORDER BY 1",
        "SELECT coalesce(dataset, ''), count(*) FROM source_object GROUP BY 1 ORDER BY 1",
    ),
    "counters": (
        (
            f"SELECT dataset, {_NAMES} FROM dataset_tally JOIN dataset ON name = dataset"
            f" WHERE {' + '.join(_NAMES.split(', '))} > 0 ORDER BY 1"
        ),
        (
            f"SELECT * FROM (SELECT counted.key, {_SUMS} {_OF_RUNS}"
            " AND counted.key IN (SELECT name FROM dataset) GROUP BY 1)"
            f" AS counters (dataset, {_NAMES})"
            f" WHERE {' + '.join(_NAMES.split(', '))} > 0 ORDER BY 1"
        ),
    ),
    "hours": (
        (
            f"SELECT dataset, hour, {_NAMES} FROM dataset_hour JOIN dataset ON name = dataset"
            " ORDER BY 1, 2"
        ),
        (
            f"SELECT * FROM (SELECT counted.key, date_trunc('hour', finished_at, 'UTC'), {_SUMS}"
            f" {_OF_RUNS} AND counted.key IN (SELECT name FROM dataset) GROUP BY 1, 2)"
            " AS hours (dataset, hour, read, inserted, updated, restored, retired, rejected)"
            " WHERE read + inserted + updated + restored + retired > 0 ORDER BY 1, 2"
        ),
    ),
    "runs": (
        (
            "SELECT trigger, outcome, error <> '', sum(runs),"
            " round(CAST(sum(seconds) AS numeric), 6), max(last_at) FROM run_total"
            " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        ),
        (
            f"SELECT trigger, outcome, state = 'failed', count(*), round(sum({_SECONDS}), 6),"
            " max(finished_at) FROM run WHERE outcome IS NOT NULL GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        ),
    ),
    "every run that ended has an outcome": (
        "SELECT id FROM run WHERE (outcome IS NULL) = (state IN ('succeeded', 'failed'))",
        "SELECT NULL WHERE false",
    ),
    "runs by half hour": (
        (
            "SELECT half_hour, outcome, runs, round(CAST(slowest_seconds AS numeric), 6)"
            " FROM run_half_hour ORDER BY 1, 2"
        ),
        (
            "SELECT to_timestamp(floor(extract(epoch FROM finished_at) / 1800) * 1800), outcome,"
            f" count(*), round(max({_SECONDS}), 6)"
            " FROM run WHERE outcome IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"
        ),
    ),
    "slowest runs": (
        (
            f"SELECT count(*) FROM run_half_hour JOIN run ON run.id = slowest_run"
            f" AND abs(slowest_seconds - {_SECONDS}) < 0.001"
        ),
        "SELECT count(*) FROM run_half_hour",
    ),
    "steps": (
        "SELECT step, runs, rows, round(CAST(seconds AS numeric), 6) FROM step_total ORDER BY 1",
        (
            "SELECT step.key, count(*), coalesce(sum(CAST(step_rows->>step.key AS bigint)), 0),"
            " round(sum(CAST(step.value AS numeric)), 6)"
            " FROM run CROSS JOIN LATERAL jsonb_each_text(step_seconds) AS step"
            " GROUP BY step.key ORDER BY 1"
        ),
    ),
}


def wrong_tallies(engine: Engine) -> dict[str, tuple[list[Any], list[Any]]]:
    """The tallies that differ from what they count: found and expected, by what they are."""
    with engine.connect() as connection:
        found = {
            name: (_rows(connection, tally), _rows(connection, counted))
            for name, (tally, counted) in _PAIRS.items()
        }
        for sql in load(connection, schemas_of(engine).data).datasets:
            found[f"rows of {sql.dataset.name}"] = _sizes(connection, sql)
    return {name: pair for name, pair in found.items() if pair[0] != pair[1]}


def _rows(connection: Connection, statement: str) -> list[Any]:
    return [tuple(row) for row in connection.execute(text(statement))]


def _sizes(connection: Connection, sql: DatasetSql) -> tuple[list[Any], list[Any]]:
    counted = sql.render("SELECT count(*), coalesce(sum({attached_count}), 0) FROM {table}")
    tables = [sql.retired, *([sql.shadowed] if sql.dataset.primary_key else [])]
    more = [_rows(connection, f"SELECT count(*) FROM {table}")[0][0] for table in tables]
    tally = connection.execute(
        text(
            "SELECT rows, attached, retired, shadowed FROM dataset_tally WHERE dataset = :dataset"
        ),
        {"dataset": sql.dataset.name},
    ).all()
    expected = [*_rows(connection, counted)[0], *more, 0][:4]
    return [tuple(row) for row in tally], [tuple(expected)]
