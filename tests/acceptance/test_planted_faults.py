"""The documented datasets, from files with planted faults to rows, types and problems.

What is expected was computed when the files were written, without the product's readers.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr
from sqlalchemy import Engine

from bench import tools
from bench.faults import ask_duckdb
from etl.cli.main import commands
from etl.settings import Settings
from tests import orders_data, users_data
from tests.conftest import TestBucket, minio_client
from tests.planted import CRLF, LF, Fault, PlantedFile, Writing

Command = Callable[..., Result]
Files = dict[str, PlantedFile]

HOWS = (
    CRLF,
    Writing(bom="\ufeff"),
    Writing(extra="Bemerkung"),
    Writing(ending="\r\n", bom="\ufeff", extra="Bemerkung"),
)
ROUNDS_OF_FILE = 15  # at most: a file's first 1,000 problems are stored one by one
# After a quote that is not closed, DuckDB takes the next lines for the cell, and rejects the rest
# of the valid row that has the next quote.
FAULTS_FOR_DUCKDB = tuple(kind for kind in orders_data.FAULTS if kind.raw.count('"') % 2 == 0)
OF_EACH = pytest.mark.parametrize(
    "of_each",
    [10, pytest.param(1_000, marks=[pytest.mark.long, pytest.mark.timeout(1_800)])],
)
WARNINGS = {
    "ambiguous-time",
    "no-rows",
    "guessed-encoding",
    "repeated-header",
    "missing-trailing-cells",
    "epoch-seconds",
    "unsupported-type",
}

ORDERS_COLUMNS = [
    ("order_id", "text", None, None, "NO"),
    ("user_id", "text", None, None, "NO"),
    ("amount", "numeric", 12, 2, "YES"),
    ("status", "text", None, None, "YES"),
    ("updated_at", "timestamp with time zone", None, None, "YES"),
    ("_extra", "jsonb", None, None, "YES"),
]
USERS_COLUMNS = [
    ("user_id", "text", None, None, "NO"),
    ("first_name", "text", None, None, "NO"),
    ("last_name", "text", None, None, "NO"),
    ("birthts", "bigint", 64, 0, "NO"),
    ("birthdate", "date", None, None, "YES"),
    ("_extra", "jsonb", None, None, "YES"),
]
TYPES = {
    "text": str,
    "numeric": Decimal,
    "timestamp with time zone": datetime,
    "jsonb": dict,
    "bigint": int,
    "date": date,
}


@pytest.fixture
def command(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command with the test's servers and the documented declaration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATASETS_FILE", str(orders_data.DECLARATION))
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(plain, (str, int, float, Path)):
            monkeypatch.setenv(name.upper(), str(plain))
    return lambda *words: CliRunner().invoke(commands, words)


def files_of(
    of_each: int,
    make: Callable[..., PlantedFile],
    faults: tuple[Fault, ...],
    fault_every: int,
    name: str,
) -> Files:
    """Files with so many rows of each kind of fault, and one in which nothing is quoted."""
    files: Files = {}
    start, left = 0, of_each
    plain = tuple(kind for kind in faults if kind.is_plain)
    while left or len(files) <= len(HOWS):
        rounds = min(left or ROUNDS_OF_FILE, ROUNDS_OF_FILE, max(1, of_each // len(HOWS)))
        kinds = faults if left else plain
        how = HOWS[len(files) % len(HOWS)]
        count = len(kinds) * rounds * fault_every
        files[name.format(len(files))] = make(
            count, fault_every=fault_every, start=start, how=how, faults=kinds
        )
        start, left = start + count, left - min(rounds, left)
    assert min(sum((one.planted for one in files.values()), Counter()).values()) >= of_each
    return files


def orders_of(of_each: int) -> Files:
    # 1 of 10 rows is faulty, as many as the declaration allows in a file.
    return files_of(of_each, orders_data.orders_file, orders_data.FAULTS, 9, "Orders/a/{}.CSV")


def users_of(of_each: int) -> Files:
    return files_of(of_each, users_data.users_file, users_data.FAULTS, 3, "people/{}.csv")


def put(bucket: TestBucket, files: Files) -> None:
    for key, file in files.items():
        bucket.put(key, file.content)


def rows(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    """The rows as the driver returns them."""
    connection = engine.raw_connection()
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())
    finally:
        connection.close()


def exact(value: object) -> object:
    """A value that equals no other with another type or scale."""
    return (type(value), value.as_tuple() if isinstance(value, Decimal) else value)


def check_rows(
    engine: Engine,
    table: str,
    columns: list[tuple[str, str, int | None, int | None, str]],
    files: Files,
) -> None:
    """Check the types of the table, and the values and lineage of all of its rows."""
    names = ", ".join(name for name, *_ in columns)
    listed = ", ".join(f"'{name}'" for name, *_ in columns)
    assert columns == rows(
        engine,
        "SELECT column_name, data_type, numeric_precision, numeric_scale, is_nullable"
        f" FROM information_schema.columns WHERE table_name = '{table}'"
        f" AND column_name IN ({listed}) ORDER BY array_position(ARRAY[{listed}], column_name)",
    )
    stored = {
        (key, line): tuple(map(exact, values))
        for key, line, *values in rows(
            engine, f"SELECT _source_key, _source_line, {names} FROM {table}"
        )
    }
    expected = {
        (key, line): tuple(map(exact, (*values, file.extra.get(line))))
        for key, file in files.items()
        for line, values in file.rows.items()
    }
    wrong = {place for place in stored.keys() & expected if stored[place] != expected[place]}
    assert [(stored[place], expected[place]) for place in sorted(wrong)[:3]] == []
    assert stored.keys() == expected.keys()
    for values in stored.values():
        for (_, of_column, *_), (of_value, value) in zip(columns, values, strict=True):
            assert value is None or of_value is TYPES[of_column]
    assert rows(engine, f"SELECT count(*) FROM {table}") == [(len(expected),)]


def reported(engine: Engine) -> list[tuple[Any, ...]]:
    return rows(engine, 'SELECT key, line, "column", code, severity, value, note FROM problem')


def check_problems(found: list[tuple[Any, ...]], files: Files) -> None:
    """Check that each fault is reported once, with its note, and nothing else is."""
    expected = {
        (key, one.line, one.column, one.code): one
        for key, file in files.items()
        for one in file.found
    }
    assert Counter(problem[:4] for problem in found) == Counter(expected.keys())
    for *place, severity, value, note in found:
        one = expected[tuple(place)]  # type: ignore[index]
        assert severity == ("warning" if one.code in WARNINGS else "error")
        assert value == one.value
        assert one.note in note, one


def check_objects(engine: Engine, files: Files) -> None:
    """Check the state and the counts of each object."""
    stored = rows(engine, "SELECT key, state, rows_read, rows_rejected FROM source_object")
    assert {key: tuple(rest) for key, *rest in stored} == {
        key: (
            "quarantined" if file.is_refused else "loaded",
            file.rows_read,
            len(file.rejected),
        )
        for key, file in files.items()
    }


def everything(engine: Engine, settings: Settings) -> Iterator[object]:
    """Each row of each table that does not count runs, with what wrote it; published objects."""
    tables = rows(
        engine,
        "SELECT schemaname, tablename FROM pg_tables"
        " WHERE schemaname = ANY(current_schemas(false))"
        " AND tablename NOT IN ('run', 'run_half_hour', 'run_total', 'step_total') ORDER BY 1, 2",
    )
    assert ("public", "orders") in tables
    for schema, table in tables:
        found = rows(engine, f"SELECT xmin::text, ctid::text, t::text FROM {schema}.{table} t")
        yield table, sorted(found)
    for listed in minio_client(settings).list_objects(settings.processed_bucket):
        yield listed.object_name, listed.etag, listed.last_modified


def check_nothing_changes(command: Command, engine: Engine, settings: Settings) -> None:
    """Check that `verify` finds no difference, and that a second run writes nothing."""
    verified = command("verify")
    assert verified.exit_code == 0, verified.output[:2_000]
    before = list(everything(engine, settings))
    again = command("run", "--json")
    assert again.exit_code == 0
    counts = json.loads(again.stdout)["counts"]
    assert counts["objects_added"] == counts["objects_modified"] == counts["rows_read"] == 0
    assert list(everything(engine, settings)) == before


@OF_EACH
def test_every_order_is_loaded_and_every_faulty_one_reported(
    of_each: int, command: Command, bucket: TestBucket, engine: Engine, settings: Settings
):
    files = orders_of(of_each)
    put(bucket, files)
    bucket.put("orders/tmp/1.csv", next(iter(files.values())).content)  # excluded

    assert command("run").exit_code == 0

    check_rows(engine, "orders", ORDERS_COLUMNS, files)
    check_problems(reported(engine), files)
    check_objects(engine, files)
    assert rows(engine, "SELECT count(*) FROM orders_shadowed") == [(0,)]
    check_outputs(settings, files)
    check_nothing_changes(command, engine, settings)


def check_outputs(settings: Settings, files: Files) -> None:
    """Check both published files of orders."""
    content = {}
    for name in ("orders.csv", "orders.parquet"):
        response = minio_client(settings).get_object(settings.processed_bucket, name)
        content[name] = response.read()
        response.close()
        response.release_conn()
    header, *lines = csv.reader(io.StringIO(content["orders.csv"].decode(), newline=""))
    assert tuple(header) == orders_data.COLUMNS
    expected = sorted(values for file in files.values() for values in file.rows.values())
    for cells, (order_id, user_id, amount, status, moment) in zip(lines, expected, strict=True):
        assert cells[:2] == [order_id, user_id]
        assert cells[2:4] == ["" if amount is None else f"{amount:.2f}", status or ""]
        assert (datetime.fromisoformat(cells[4]) if cells[4] else None) == moment
    table = pq.read_table(io.BytesIO(content["orders.parquet"]))
    assert tuple(table.column_names) == orders_data.COLUMNS
    columns = [column.to_pylist() for column in table.columns]
    stored = zip(*columns, strict=True)
    assert [tuple(map(exact, row)) for row in stored] == [
        tuple(map(exact, row)) for row in expected
    ]


@OF_EACH
def test_every_user_is_loaded_and_every_faulty_one_reported(
    of_each: int, command: Command, bucket: TestBucket, engine: Engine, settings: Settings
):
    files = users_of(of_each)
    put(bucket, files)

    assert command("run").exit_code == 0

    check_rows(engine, "users", USERS_COLUMNS, files)
    check_problems(reported(engine), files)
    check_objects(engine, files)
    assert rows(engine, "SELECT count(*) FROM users_shadowed") == [(0,)]
    check_nothing_changes(command, engine, settings)


def test_check_reports_the_same_of_local_files(command: Command, tmp_path: Path):
    files = orders_of(4) | users_of(4)
    for key, file in files.items():
        path = tmp_path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)

    result = command("check", "--json", *files)

    assert result.exit_code == 1
    found = json.loads(result.stdout)
    names = ("key", "line", "column", "code", "severity", "value", "note")
    check_problems([tuple(one[name] for name in names) for one in found["problems"]], files)
    assert {
        one["key"]: (one["rows_read"], one["rows_good"], one["rows_rejected"])
        for one in found["files"]
    } == {key: (file.rows_read, len(file.rows), len(file.rejected)) for key, file in files.items()}


@OF_EACH
@pytest.mark.skipif(not tools.PYTHON.exists(), reason="The baseline tools are not installed.")
def test_check_reports_all_lines_that_duckdb_rejects_and_more(
    of_each: int, command: Command, tmp_path: Path
):
    counts: Counter[str] = Counter()
    rounds = min(of_each, ROUNDS_OF_FILE)
    count = 9 * rounds * len(FAULTS_FOR_DUCKDB)
    for number in range(-(-of_each // rounds)):
        file = orders_data.orders_file(
            count,
            fault_every=9,
            start=number * count,
            how=LF,
            faults=FAULTS_FOR_DUCKDB,
        )
        path = tmp_path / f"{number}.csv"
        path.write_bytes(file.content)
        found = json.loads(command("check", "--json", "--dataset", "orders", str(path)).stdout)
        ours = {one["line"] for one in found["problems"] if one["severity"] == "error"}
        rejected = ask_duckdb(path, orders_data.COLUMNS)
        theirs = set().union(*rejected.values())
        assert theirs < ours, sorted(theirs - ours)[:10]
        assert ours == file.rejected
        counts += Counter({"ours": len(ours), "DuckDB's": len(theirs)})
        counts += Counter({name: len(lines) for name, lines in rejected.items()})
    print(dict(counts))  # noqa: T201
