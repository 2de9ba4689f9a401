"""Parquet files in runs: rows with their types, problems with the numbers of rows."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, text

from api.server import create_app
from etl.model.dataset import Constraints, Dataset, Field, FieldType, UnknownColumns
from etl.model.values import RunReport, Trigger
from etl.settings import Settings
from etl.sync import batch
from etl.sync.manager import DataManager
from tests.conftest import TestBucket

READINGS = Dataset(
    name="readings",
    table="readings",
    include=("sensors/*/*.parquet",),
    path_columns="sensors/{site}/**",
    unknown_columns=UnknownColumns.ADD,
    refuse_object_above=Fraction(1, 2),
    fields=(
        Field(name="sensor", constraints=Constraints(required=True)),
        Field(name="measured_at", type=FieldType.DATETIME, constraints=Constraints(required=True)),
        Field(name="celsius", type=FieldType.NUMBER, sql="double precision"),
        Field(name="serial", type=FieldType.INTEGER, aliases=("Serial No",)),
        Field(name="exact", type=FieldType.NUMBER),
        Field(name="detail", type=FieldType.OBJECT),
    ),
)
TIME = datetime(2026, 3, 1, 12, tzinfo=UTC)


def parquet(columns: dict[str, Any], **options: object) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content, **options)
    return content.getvalue()


def readings(*sensors: str | None, **others: object) -> bytes:
    columns = {"sensor": pa.array(sensors, pa.string()), "measured_at": [TIME] * len(sensors)}
    return parquet(columns | others)


@pytest.fixture
def manager(settings: Settings) -> DataManager:
    return DataManager(settings, datasets=(READINGS,))


def run(manager: DataManager) -> RunReport:
    return manager.run(Trigger.CLI)


def rows(engine: Engine, columns: str, table: str = "readings") -> list[tuple[Any, ...]]:
    statement = f"SELECT {columns} FROM {table} ORDER BY 1, 2"
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def test_values_keep_what_their_types_mean(
    bucket: TestBucket, engine: Engine, manager: DataManager, settings: Settings
):
    columns = {
        "sensor": pa.array(["a", " b "]).dictionary_encode(),
        "measured_at": pa.array([0, 1_000], pa.timestamp("ns", "Europe/Berlin")),
        "celsius": pa.array([float("inf"), None]),
        "Serial No": pa.array([1000.0, None]),
        "exact": pa.array([Decimal("1.50"), Decimal("0.00")], pa.decimal128(20, 2)),
        "detail": pa.array([{"b": [1.5, None], "a": "é"}, None]),
        "Level": pa.array([1.5, 2.0], pa.float32()),
        "tags": pa.array([["x"], []]),
        "site": ["elsewhere", "elsewhere"],
    }
    bucket.put("sensors/North/1.parquet", parquet(columns))
    report = run(manager)
    assert (report.counts.rows_read, report.counts.rows_inserted) == (2, 2)
    shown = "sensor, _source_line, measured_at, celsius, serial, exact::text, detail::text, site"
    assert rows(engine, f"{shown}, level, tags") == [
        ("a", 1, datetime(1970, 1, 1, tzinfo=UTC), float("inf"), 1000, "1.5",
         '{"a": "é", "b": [1.5, null]}', "North", "1.5", '["x"]'),
        ("b", 2, datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC), None, None, "0", None, "North",
         "2", "[]"),
    ]  # fmt: skip
    answer = create_app(settings).test_client().get("/datasets/readings/rows?sensor=eq.a")
    (row,) = json.loads(answer.data)
    assert (row["serial"], row["celsius"], row["site"]) == (1000, "Infinity", "North")
    assert run(manager).counts.objects_changed == 0


def test_replaced_file_replaces_exactly_its_rows(
    bucket: TestBucket, engine: Engine, manager: DataManager
):
    bucket.put("sensors/a/1.parquet", readings("one", "two", "three"))
    bucket.put("sensors/a/2.parquet", readings("other"))
    run(manager)
    bucket.put("sensors/a/1.parquet", readings("one", "new"))
    counts = run(manager).counts
    assert (counts.rows_updated, counts.rows_retired, counts.rows_inserted) == (1, 1, 0)
    found = rows(engine, "_source_key, _source_line, sensor")
    assert found == [
        ("sensors/a/1.parquet", 1, "one"),
        ("sensors/a/1.parquet", 2, "new"),
        ("sensors/a/2.parquet", 1, "other"),
    ]
    bucket.remove("sensors/a/1.parquet")
    run(manager)
    assert rows(engine, "sensor, 1") == [("other", 1)]


def test_faulty_rows_are_problems_with_their_numbers(
    bucket: TestBucket, engine: Engine, manager: DataManager
):
    count = 70_000  # more than one batch
    sensors = [f"s{place}" for place in range(count)]
    sensors[65_999] = None  # type: ignore[call-overload]
    serial = [1.0] * count
    serial[9] = 1.5
    binary = [b"x"] * count
    binary[69_999] = b"\xff"
    content = readings(*sensors, serial=serial, mark=pa.array(binary))
    bucket.put("sensors/a/1.parquet", content)
    counts = run(manager).counts
    assert (counts.rows_read, counts.rows_rejected, counts.rows_inserted) == (count, 3, count - 3)
    found = rows(engine, 'line, code, "column", value', "problem")
    assert [problem for problem in found if problem[0]] == [
        (10, "not-an-integer", "serial", "1.5"),
        (66_000, "missing-cell", "sensor", ""),
        (70_000, "undecodable", "mark", "\\xff"),
    ]
    assert rows(engine, "max(_source_line), count(*)") == [(count - 1, count - 3)]
    wrong = rows(engine, "_source_line, sensor")
    assert all(f"s{line - 1}" == sensor for line, sensor in wrong)


def test_file_with_too_many_faulty_rows_is_refused_as_a_whole(
    bucket: TestBucket, engine: Engine, manager: DataManager, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(batch, "MAX_BYTES", 1000)
    bucket.put("sensors/a/1.parquet", readings("a", None, None))
    bucket.put("sensors/a/2.parquet", readings("a", "b", None))
    counts = run(manager).counts
    assert (counts.objects_quarantined, counts.rows_inserted, counts.rows_rejected) == (1, 2, 4)
    (problem,) = [found for found in rows(engine, "code, line", "problem") if found[1] is None]
    assert problem == ("too-many-faults", None)


WRONG_SCHEMAS = {
    "missing": ({"Sensor": ["a"], "when": [TIME]}, "missing-column", "Sensor, when"),
    "other": ({"a": [1], "b": [2]}, "missing-column", "a, b"),
    "twice": (None, "duplicate-column", "sensor"),
    "nul": ({"sensor": ["a"], "measured_at": [TIME], "x\0y": [1]}, "nul-byte", "name"),
}


@pytest.mark.parametrize("name", WRONG_SCHEMAS)
def test_file_of_another_schema_loads_nothing_and_names_its_columns(
    bucket: TestBucket, engine: Engine, manager: DataManager, name: str
):
    columns, code, note = WRONG_SCHEMAS[name]
    if columns is None:
        columns = {"sensor": ["a"], "SENSOR ": ["b"], "measured_at": [TIME]}
    bucket.put("sensors/a/1.parquet", parquet(columns))
    bucket.put("sensors/a/2.parquet", readings("good"))
    assert run(manager).counts.objects_quarantined == 1
    ((found, text_of_it),) = rows(engine, "code, note", "problem")
    assert found == code
    assert note in text_of_it
    assert rows(engine, "sensor, 1") == [("good", 1)]


def damaged_files() -> dict[str, tuple[bytes, str]]:
    good = readings(*map(str, range(1000)))
    return {
        "empty": (b"", "empty-file"),
        "text": (b"sensor,measured_at\n1,2026-01-01\n" * 50, "wrong-format"),
        "cut": (good[:-100], "corrupt-archive"),
        "short": (good[:6], "corrupt-archive"),
        "page": (good[:40] + bytes(200) + good[240:], "corrupt-archive"),
        "encrypted": (good[:-4] + b"PARE", "encrypted-archive"),
    }


def test_damaged_files_are_refused_and_the_others_read(
    bucket: TestBucket, engine: Engine, manager: DataManager
):
    files = damaged_files()
    for name, (content, _) in files.items():
        bucket.put(f"sensors/a/{name}.parquet", content)
    bucket.put("sensors/a/good.parquet", readings("good"))
    counts = run(manager).counts
    assert (counts.objects_quarantined, counts.rows_inserted) == (len(files), 1)
    found = dict(rows(engine, "key, code", "problem"))
    assert found == {f"sensors/a/{name}.parquet": code for name, (_, code) in files.items()}
    assert run(manager).counts.objects_changed == 0
