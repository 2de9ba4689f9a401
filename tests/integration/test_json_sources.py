"""NDJSON and JSON files in runs: good rows become rows, and every fault a problem of its row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, text

from etl.db.manifest import read_again
from etl.model.dataset import Constraints, Dataset, Field, FieldType, UnknownColumns
from etl.model.formats import Compression
from etl.model.values import RunReport, Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from tests.compressed import compressed
from tests.conftest import TestBucket

READINGS = Dataset(
    name="readings",
    table="readings",
    include=("sensors/**/*.{ndjson,jsonl,json,ndjson.zst}",),
    path_columns="sensors/{site}/**",
    unknown_columns=UnknownColumns.ADD,
    fields=(
        Field(name="sensor", constraints=Constraints(required=True)),
        Field(name="measured_at", type=FieldType.DATETIME, constraints=Constraints(required=True)),
        Field(name="celsius", type=FieldType.NUMBER, sql="double precision"),
        Field(name="serial", type=FieldType.INTEGER, aliases=("Serial No",)),
        Field(name="exact", type=FieldType.NUMBER),
        Field(name="detail", type=FieldType.OBJECT),
    ),
)
GOOD = '{"sensor":"s%s","measured_at":"2026-01-01T00:00:00Z"%s}'
# A line, and the code and column of its problem
FAULTS: list[tuple[bytes, str, str | None]] = [
    (b'{"sensor":"cut', "not-json", None),
    (b'["sensor"]', "not-json", None),
    (b"null", "not-json", None),
    (b'{"sensor":"a",}', "not-json", None),
    (b'{"sensor":NaN}', "not-json", None),
    (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", "not-json", None),
    (b"[" * 100_000, "not-json", None),
    (b'{"sensor":"a"} {"sensor":"b"}', "not-json", None),
    (b'{"sensor":"\xff"}', "undecodable", None),
    (rb'{"sensor":"\ud800"}', "undecodable", "sensor"),
    (b'{"sensor":"a","sensor":"b"}', "duplicate-column", "sensor"),
    (b'{"serial":1," SERIAL NO":2}', "duplicate-column", "serial"),
    ((GOOD % ("N", r',"extra":"\u0000"')).encode(), "nul-byte", "extra"),
    ((GOOD % (r"\u0000", "")).encode(), "nul-byte", "sensor"),
    ((GOOD % ("x" * 1_100_000, "")).encode(), "cell-too-long", "sensor"),
    ((GOOD % ("x" * 5_000_000, "")).encode(), "cell-too-long", None),
    ((GOOD % ("R", ',"serial":9223372036854775808')).encode(), "number-out-of-range", "serial"),
    ((GOOD % ("D", ',"serial":1.5')).encode(), "not-an-integer", "serial"),
    ((GOOD % ("B", ',"celsius":true')).encode(), "not-a-number", "celsius"),
    ((GOOD % ("C", ',"celsius":1e400')).encode(), "number-out-of-range", "celsius"),
    ((GOOD % ("O", ',"detail":[1]')).encode(), "not-json", "detail"),
    ((GOOD % ("T", ',"detail":{"a":1,"a":2}')).encode(), "not-json", "detail"),
    (b'{"measured_at":"2026-01-01T00:00:00Z"}', "missing-cell", "sensor"),
    (b'{"sensor":"a","measured_at":1}', "not-a-datetime", "measured_at"),
]


@pytest.fixture
def manager(settings: Settings) -> DataManager:
    return DataManager(settings, datasets=(READINGS,))


def run(manager: DataManager) -> RunReport:
    return manager.run(Trigger.CLI)


def rows(engine: Engine, columns: str, table: str = "readings") -> list[tuple[Any, ...]]:
    statement = f"SELECT {columns} FROM {table} ORDER BY 1"
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def test_every_value_is_what_the_file_says(
    bucket: TestBucket, engine: Engine, manager: DataManager
):
    bucket.put(
        "sensors/North/1.ndjson",
        '{"Sensor":" s1 ","measured_at":"2026-01-01T01:00:00+01:00","celsius":-0.5,"serial":1e3,'
        '"exact":12345678901234567890.1234567890,"detail":{"b":[1.50,null],"a":"\\u00e9"},'
        '"Unit":"C","level":7.10}\n\n'
        '{"sensor":7,"measured_at":"2026-01-01","Serial No":"12","celsius":"1.5","exact":1e-3,'
        '"site":"South","nested":{"x":1},"detail":null}\n',
    )
    report = run(manager)
    assert (report.counts.rows_read, report.counts.rows_inserted) == (2, 2)
    columns = "sensor, measured_at::text, celsius, serial, exact::text, detail::text, site"
    columns += ", unit, level, nested"
    assert rows(engine, columns) == [
        ("7", "2026-01-01 00:00:00+00", 1.5, 12, "0.001", None, "North", None, None, '{"x": 1}'),
        ("s1", "2026-01-01 00:00:00+00", -0.5, 1000, "12345678901234567890.123456789",
         '{"a": "é", "b": [1.50, null]}', "North", "C", "7.10", None),
    ]  # fmt: skip
    assert rows(engine, "_source_line") == [(1,), (3,)]
    assert run(manager).counts.objects_changed == 0


def test_each_faulty_line_is_a_problem_and_the_others_are_rows(
    bucket: TestBucket, engine: Engine, manager: DataManager
):
    lines: list[bytes] = []
    for place, (line, _, _) in enumerate(FAULTS):
        lines += [(GOOD % (place, "")).encode(), line]
    bucket.put("sensors/a/1.ndjson", b"\r\n".join(lines))
    report = run(manager)
    expected = [(2 * place + 2, code, column) for place, (_, code, column) in enumerate(FAULTS)]
    with_line = [row for row in rows(engine, 'line, code, "column"', "problem") if row[0]]
    found = [row for row in with_line if row[1] != "missing-cell" or row[2] == "sensor"]
    assert found == expected
    assert rows(engine, "count(*)") == [(len(FAULTS),)]
    assert rows(engine, "max(_source_line)") == [(2 * len(FAULTS) - 1,)]
    counts = report.counts
    assert (counts.rows_read, counts.rows_rejected) == (2 * len(FAULTS), len(FAULTS))
    assert run(manager).counts.objects_changed == 0


@pytest.mark.parametrize("is_pretty", [False, True])
def test_elements_of_an_array_are_numbered(
    bucket: TestBucket, engine: Engine, manager: DataManager, *, is_pretty: bool
):
    good = [GOOD % (place, "") for place in range(3)]
    space = "\n  " if is_pretty else ""
    body = f",{space}".join([good[0], '{"sensor":1,}', good[1], "5", good[2]])
    bucket.put("sensors/a/1.json", f"[{space}{body}]\n")
    bucket.put("sensors/a/2.json", (GOOD % ("one", "")).replace(",", ",\n  "))
    report = run(manager)
    assert (report.counts.rows_read, report.counts.rows_rejected) == (6, 2)
    found = rows(engine, "sensor, _source_line")
    assert found == [("s0", 1), ("s1", 3), ("s2", 5), ("sone", 1)]
    assert rows(engine, "line, code", "problem") == [(2, "not-json"), (4, "not-json")]


def test_an_array_that_is_cut_off_loads_nothing(
    bucket: TestBucket, engine: Engine, manager: DataManager
):
    whole = "[" + ",".join(GOOD % (place, "") for place in range(60_000)) + "]"
    bucket.put("sensors/a/1.json", whole[:-20])
    bucket.put("sensors/a/2.json", whole[:20])
    assert run(manager).counts.objects_quarantined == 2
    assert rows(engine, "sensor") == []
    found = rows(engine, "key, code, note", "problem")
    assert [(key, code) for key, code, _ in found] == [
        ("sensors/a/1.json", "not-json"),
        ("sensors/a/2.json", "not-json"),
    ]
    assert "within row 60,000" in found[0][2]
    bucket.put("sensors/a/1.json", whole)
    assert run(manager).counts.rows_inserted == 60_000


def test_unknown_members_refuse_the_object_if_the_dataset_says_so(
    bucket: TestBucket, engine: Engine, settings: Settings
):
    strict = replace(READINGS, unknown_columns=UnknownColumns.REFUSE)
    bucket.put("sensors/a/1.jsonl", "\n".join([GOOD % (1, ""), GOOD % (2, ',"unit":"C"')]))
    bucket.put("sensors/a/2.jsonl", GOOD % (3, ""))
    DataManager(settings, datasets=(strict,)).run(Trigger.CLI)
    assert rows(engine, "sensor") == [("s3",)]
    assert rows(engine, "code, value", "problem") == [("unknown-column", "unit")]


def test_other_members_stay_json_values_in_extra(
    bucket: TestBucket, engine: Engine, settings: Settings
):
    dataset = replace(READINGS, unknown_columns=UnknownColumns.EXTRA)
    members = ',"n":1.50,"t":" x ","b":false,"l":[{"a":null}],"none":null,"blank":" "'
    bucket.put("sensors/a/1.ndjson", GOOD % (1, members))
    DataManager(settings, datasets=(dataset,)).run(Trigger.CLI)
    assert rows(engine, "_extra") == [({"n": 1.5, "t": "x", "b": False, "l": [{"a": None}]},)]


def test_a_corrected_file_closes_its_problems(
    bucket: TestBucket, engine: Engine, manager: DataManager
):
    bucket.put("sensors/a/1.ndjson", "\n".join([GOOD % (1, ""), "{"]))
    run(manager)
    assert rows(engine, "code", "problem") == [("not-json",)]
    bucket.put("sensors/a/1.ndjson", "\n".join([GOOD % (1, ""), GOOD % (2, "")]))
    report = run(manager)
    assert rows(engine, "code", "problem JOIN source_object USING (bucket, key, etag)") == []
    assert (report.counts.rows_unchanged, report.counts.rows_inserted) == (1, 1)


def test_a_large_compressed_file_is_read_replaced_and_read_again(
    bucket: TestBucket, engine: Engine, manager: DataManager
):
    lines = [GOOD % (place, f',"celsius":{place}.25') for place in range(5_000)]
    key = "sensors/North/2026.ndjson.zst"
    bucket.put(key, compressed("\n".join(lines).encode(), Compression.ZSTD))
    assert run(manager).counts.rows_inserted == len(lines)
    assert run(manager).counts.objects_changed == 0
    lines[3_000] = lines[3_000].replace(".25", ".5")
    bucket.put(key, compressed("\n".join(lines).encode(), Compression.ZSTD))
    report = run(manager)
    assert (report.counts.rows_updated, report.counts.rows_unchanged) == (1, len(lines) - 1)
    found = rows(engine, "sum(celsius), min(site)")
    assert found == [(sum(range(len(lines))) + 0.25 * (len(lines) + 1), "North")]
    with engine.begin() as connection:
        assert read_again(connection, dataset=None, key=key, code=None) == 1
    report = run(manager)
    assert (report.counts.objects_modified, report.counts.rows_unchanged) == (1, len(lines))
