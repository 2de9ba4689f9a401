"""Names and keys of every kind reach their tables unharmed, and nothing else is touched."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, text

from etl.model.dataset import Constraints, Dataset, Field, FieldType, UnknownColumns
from etl.model.values import Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from etl.sync.merge import Thresholds
from etl.verify import verify
from tests.conftest import TestBucket

REQUIRED = Constraints(required=True)
SIZES = pytest.mark.parametrize(
    "thresholds",
    [Thresholds(), Thresholds(small=0), Thresholds(small=0, many=1)],
    ids=["small", "bulk", "first load"],
)

# Headers as strangers write them. All are columns of their own, in lower case.
NAMES = (
    "a:b",
    ":id",
    "::text",
    "100%",
    "%s %(id)s",
    'say "x"',
    "it's",
    "x'); drop table free; --",
    '"; drop table free; --',
    "back\\slash",
    "\\:id",
    "stra\xdfe",
    "\u540d\u524d",
    "e\u0301",
    "\U0001f600",
    "{braces} {0}",
    "$1 $$",
    "select",
    "user",
    "ctid",
    "xmin",
    "tableoid",
    "run_id",
    "key",
    "n" * 63,
    "\xe9" * 31,
    "two words",
    "a.b",
    "a/*b*/",
    "?",
    "@@",
)

FREE = Dataset(
    name="free",
    table="free",
    include=("free/*.csv",),
    fields=(Field(name="id", constraints=REQUIRED),),
    unknown_columns=UnknownColumns.ADD,
    primary_key=("id",),
    publish=("free.csv",),
)


def rows(engine: Engine, table: str) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        found = connection.execute(text(f'SELECT * FROM public."{table}"'))
        return sorted((dict(row) for row in found.mappings()), key=repr)


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


def csv_of(*lines: list[str]) -> str:
    return "".join(",".join(map(quoted, line)) + "\n" for line in lines)


@SIZES
@pytest.mark.parametrize("key", [("id",), ()], ids=["with key", "without key"])
def test_any_column_name_is_a_column(
    settings: Settings,
    bucket: TestBucket,
    engine: Engine,
    thresholds: Thresholds,
    key: tuple[str, ...],
):
    dataset = replace(FREE, primary_key=key)
    manager = DataManager(settings, datasets=(dataset,), thresholds=thresholds)
    values = {name: f"{place}:x %s '\"" for place, name in enumerate(NAMES)}
    bucket.put("free/1.csv", csv_of(["id", *NAMES], ["1", *values.values()]))
    manager.run(Trigger.CLI)
    bucket.put("free/2.csv", csv_of([*reversed(NAMES), "id"], [*reversed(values.values()), "2"]))
    manager.run(Trigger.CLI)

    found = rows(engine, "free")
    kept = {name for name in NAMES if name in found[0]}
    in_extra = set(NAMES) - kept
    assert in_extra <= {"ctid", "xmin", "tableoid"}, "only names of PostgreSQL's own columns"
    for row, number in zip(sorted(found, key=lambda one: one["id"]), "12", strict=True):
        assert row["id"] == number
        assert {name: row[name] for name in kept} == {name: values[name] for name in kept}
        assert (row["_extra"] or {}) == {name: values[name] for name in in_extra}
    assert verify(settings, engine, datasets=(dataset,)) == []

    bucket.remove("free/1.csv")
    manager.run(Trigger.CLI)
    assert [row["id"] for row in rows(engine, "free_retired")] == ["1"]
    assert {name: rows(engine, "free_retired")[0][name] for name in kept} == {
        name: values[name] for name in kept
    }
    assert verify(settings, engine, datasets=(dataset,)) == []


def test_columns_beyond_the_limit_stay_in_extra(
    settings: Settings, bucket: TestBucket, engine: Engine
):
    names = [f"c{number:03d}" for number in range(250)]
    bucket.put("free/1.csv", csv_of(["id", *names], ["1", *names]))
    bucket.put("free/2.csv", csv_of(["id", *reversed(names)], ["2", *reversed(names)]))
    DataManager(settings, datasets=(FREE,)).run(Trigger.CLI)
    for row in rows(engine, "free"):
        columns = {name for name in names if name in row}
        assert len(columns) == 200
        assert all(row[name] == name for name in columns)
        assert row["_extra"] == {name: name for name in names if name not in columns}
    assert verify(settings, engine, datasets=(FREE,)) == []


def test_names_that_cannot_be_columns_stay_in_extra(
    settings: Settings, bucket: TestBucket, engine: Engine
):
    names = ["_run_id", "_x", "n" * 64, "\xe9" * 32]
    bucket.put("free/1.csv", csv_of(["id", *names], ["1", *names]))
    DataManager(settings, datasets=(FREE,)).run(Trigger.CLI)
    (row,) = rows(engine, "free")
    assert row["_extra"] == {name: name for name in names}
    assert verify(settings, engine, datasets=(FREE,)) == []


KEYS: dict[str, tuple[Field, list[str], list[str]]] = {
    # The field, two spellings of one key, two other keys.
    "number": (
        Field(name="id", type=FieldType.NUMBER, constraints=REQUIRED),
        ["1.0", "1.00"],
        ["-2", "0.1"],
    ),
    "double": (
        Field(name="id", type=FieldType.NUMBER, sql="double precision", constraints=REQUIRED),
        ["0.0", "-0.0"],
        ["1e300", "0.1"],
    ),
    "integer": (
        Field(name="id", type=FieldType.INTEGER, constraints=REQUIRED),
        ["7", "007"],
        ["-7", "9223372036854775807"],
    ),
    "datetime": (
        Field(name="id", type=FieldType.DATETIME, constraints=REQUIRED),
        ["2024-01-01T10:00:00Z", "2024-01-01T11:00:00+01:00"],
        ["2024-01-01T10:00:00.000001Z", "1969-01-01T00:00:00Z"],
    ),
    "uuid": (
        Field(name="id", sql="uuid", constraints=REQUIRED),
        ["3F2504E0-4F89-11D3-9A0C-0305E82C3301", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"],
        ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    ),
    "boolean": (
        Field(name="id", type=FieldType.BOOLEAN, constraints=REQUIRED),
        ["true", "1"],
        ["false"],
    ),
    "date": (
        Field(name="id", type=FieldType.DATE, constraints=REQUIRED),
        ["2024-02-29", "2024-02-29"],
        ["0001-01-01", "9999-12-31"],
    ),
    "text": (Field(name="id", constraints=REQUIRED), ["a", "a"], ["A", "\xe4", "a\u0308"]),
}


@SIZES
@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_every_type_compete(
    settings: Settings, bucket: TestBucket, engine: Engine, thresholds: Thresholds, kind: str
):
    key, same, others = KEYS[kind]
    dataset = Dataset(
        name="keyed",
        table="keyed",
        include=("keyed/*.csv",),
        primary_key=("id", "part"),
        fields=(key, Field(name="part", constraints=REQUIRED), Field(name="value")),
    )
    manager = DataManager(settings, datasets=(dataset,), thresholds=thresholds)
    lines = [[one, "p", str(place)] for place, one in enumerate([*same, *others])]
    bucket.put("keyed/1.csv", csv_of(["id", "part", "value"], *lines, [same[0], "q", "z"]))
    for _ in range(2):
        manager.run(Trigger.CLI)
        found = rows(engine, "keyed")
        assert sorted(row["value"] for row in found) == [
            *(str(place) for place in range(1, 2 + len(others))),
            "z",
        ]
        assert [row["value"] for row in rows(engine, "keyed_shadowed")] == ["0"]
        assert verify(settings, engine, datasets=(dataset,)) == []
    bucket.put("keyed/0.csv", csv_of(["id", "part", "value"], [same[1], "p", "new"]))
    manager.run(Trigger.CLI)
    assert len(rows(engine, "keyed_shadowed")) == 2
    assert verify(settings, engine, datasets=(dataset,)) == []
    bucket.remove("keyed/1.csv")
    manager.run(Trigger.CLI, allowed_retirements={"keyed": None})
    assert [row["value"] for row in rows(engine, "keyed")] == ["new"]
    assert rows(engine, "keyed_shadowed") == []
    assert verify(settings, engine, datasets=(dataset,)) == []


@pytest.mark.parametrize(
    "content",
    ["", "id\n", "id,a\n", "\ufeffid,a\r\n", "\n\n", "id,a\n,\n", "id,a\n\n\n", "id,a\n1,\n2,\n"],
)
@SIZES
def test_files_with_few_rows_or_values(
    settings: Settings, bucket: TestBucket, engine: Engine, thresholds: Thresholds, content: str
):
    manager = DataManager(settings, datasets=(FREE,), thresholds=thresholds)
    manager.run(Trigger.CLI)  # without any object
    assert verify(settings, engine, datasets=(FREE,)) == []
    bucket.put("free/1.csv", content)
    manager.run(Trigger.CLI)
    assert len(rows(engine, "free")) == content.count("1,") + content.count("2,")
    assert verify(settings, engine, datasets=(FREE,)) == []


LONGEST = "n" + "Ab_1" * 11 + "xyz"


@SIZES
@pytest.mark.parametrize("name", [LONGEST, "select", "User", "order", "public", "Problem", "Run"])
def test_declared_names_of_any_kind(
    settings: Settings, bucket: TestBucket, engine: Engine, thresholds: Thresholds, name: str
):
    """Names that are SQL's words, those of state tables in other letters, or of greatest length."""
    dataset = Dataset(
        name=name,
        table=name,
        include=("x/*.csv",),
        fields=(Field(name=name, constraints=REQUIRED), Field(name="from", type=FieldType.INTEGER)),
        primary_key=(name,),
        indexes=((name, "from"), ("from",)),
        prefer="from",
        publish=(f"{name}.csv",),
    )
    manager = DataManager(settings, datasets=(dataset,), thresholds=thresholds)
    bucket.put("x/1.csv", csv_of([name, "from"], ["a", "1"], ["b", "2"], ["a", "3"]))
    manager.run(Trigger.CLI)
    assert [(row[name], row["from"]) for row in rows(engine, name)] == [("a", 3), ("b", 2)]
    bucket.remove("x/1.csv")
    manager.run(Trigger.CLI)
    assert rows(engine, name) == []
    assert len(rows(engine, f"{name}_retired")) == 2
    assert verify(settings, engine, datasets=(dataset,)) == []
