"""A replaced object is compared with its stored rows; only what differs is staged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from etl.db import events
from etl.db.engine import connect
from etl.model.dataset import USERS, Dataset, Field, FieldType, UnknownColumns
from etl.model.errors import DatabaseUnavailable
from etl.model.values import RunReport, Trigger
from etl.settings import Settings
from etl.sync import holds, unchanged
from etl.sync.manager import DataManager
from etl.sync.merge import Thresholds
from tests.conftest import TestBucket
from tests.sample_datasets import ORDERS, READINGS, REQUIRED
from tests.stores import PRECISE_TIMES

pytestmark = pytest.mark.usefixtures("compared")

DATASETS = (ORDERS, READINGS, USERS)
TABLES = ("orders", "orders_shadowed", '"Readings"')
HEADER = "order_id,amount,rank,updated,note\n"
ROWS = [f"A{number},{number}.50,{number},{number % 7},n\n" for number in range(40)]

UUID = "5F0C8A52-3d1e-4b7a-9c66-0d2f1e8b7a1"
# By the name of its column: a field, a text of it, and another that differs.
TYPES: dict[str, tuple[Field, str, str]] = {
    one.name: (one, *texts)
    for one, *texts in [
        (Field(name="text"), "a", "A"),
        (Field(name="varchar", sql="varchar(5)"), "ü", "u"),
        (Field(name="char", sql="char(5)"), "ab", "abc"),
        (
            Field(name="uuid", sql="uuid"),
            *("5F0C8A52-3d1e-4b7a-9c66-0d2f1e8b7a1" + n for n in "01"),
        ),
        (Field(name="bigint", type=FieldType.INTEGER), "007", "8"),
        (Field(name="smallint", type=FieldType.INTEGER, sql="smallint"), "-1", "1"),
        (Field(name="whole", type=FieldType.INTEGER, sql="numeric"), "12", "13"),
        (Field(name="numeric", type=FieldType.NUMBER), "1.50", "1.51"),
        (Field(name="scaled", type=FieldType.NUMBER, sql="numeric(12,2)"), "1.5", "1.51"),
        (Field(name="wide", type=FieldType.NUMBER, sql="numeric(60,2)"), "1.50", "1.51"),
        (Field(name="double", type=FieldType.NUMBER, sql="double precision"), "0.1", "NaN"),
        (Field(name="nan", type=FieldType.NUMBER, sql="double precision"), "NaN", "-INF"),
        (Field(name="real", type=FieldType.NUMBER, sql="real"), "1e10", "1.1e10"),
        (Field(name="boolean", type=FieldType.BOOLEAN), "true", "false"),
        (Field(name="date", type=FieldType.DATE), "0001-01-01", "9999-12-31"),
        (Field(name="time", type=FieldType.TIME), "12:30:00", "12:30:00.5"),
        (Field(name="zoned", type=FieldType.DATETIME), "2026-01-01T00:00:00.25Z", "2026-01-01"),
        (
            Field(name="local", type=FieldType.DATETIME, sql="timestamp"),
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:01",
        ),
        (Field(name="year", type=FieldType.YEAR), "1980", "1981"),
        (Field(name="object", type=FieldType.OBJECT), '{""a"": 1}', '{""a"": 2}'),
        (Field(name="epoch", type=FieldType.EPOCH_MS), "0", "1"),
    ]
}
ALL = list(TYPES.values())
OF_ALL_TYPES = Dataset(
    name="all_types",
    table="all_types",
    include=("types/**",),
    primary_key=("id",),
    fields=(Field(name="id", constraints=REQUIRED), *(one for one, _, _ in ALL)),
)


def run(settings: Settings, *datasets: Dataset) -> RunReport:
    return DataManager(settings, datasets=datasets or DATASETS).run(Trigger.CLI)


def staged(report: RunReport) -> int:
    """The number of rows that the run staged."""
    return report.step_rows["stage"]


def state(settings: Settings) -> dict[str, list[str]]:
    """The rows of the tables, without what depends on the history."""
    engine = connect(settings)
    with engine.connect() as connection:
        found = {
            name: sorted(
                connection.scalars(
                    text(
                        f"SELECT (to_jsonb(t) - '_run_id' - '_updated_at')\\:\\:text FROM {name} t"
                    )
                )
            )
            for name in TABLES
        }
    engine.dispose()
    return found


def cells(index: int) -> str:
    """A row of all types, of the first or of the second texts."""
    return ",".join(f'"{one[index]}"' for one in ALL)


def test_only_the_changed_row_is_staged(settings: Settings, bucket: TestBucket):
    bucket.put("orders/1.csv", HEADER + "".join(ROWS))
    run(settings)
    bucket.put("orders/1.csv", HEADER + "".join([*ROWS[:20], "A20,7,7,7,m\n", *ROWS[21:]]))
    report = run(settings)
    assert staged(report) == 1
    counts = report.dataset_counts["orders"]
    assert (counts.updated, counts.rows_loaded, counts.rows_unchanged) == (1, 1, 39)
    assert (counts.live, counts.rows_read) == (40, 40)


def test_an_object_uploaded_again_stages_no_row(settings: Settings, bucket: TestBucket):
    bucket.put("orders/1.csv", HEADER + "".join(ROWS))
    bucket.put("sensors/Oslo/1.csv", "sensor,celsius,b,a\n" + "t,1.5,x,é\nu,,,\n" * 10)
    run(settings)
    for key in list(bucket.keys()):
        bucket.put(key, bucket.get(key))
    report = run(settings)
    assert staged(report) == 0
    assert report.dataset_counts["readings"].rows_unchanged == 20


def test_rows_at_the_end_are_added_and_removed(settings: Settings, bucket: TestBucket):
    bucket.put("orders/1.csv", HEADER + "".join(ROWS[:30]))
    run(settings)
    bucket.put("orders/1.csv", HEADER + "".join(ROWS))
    assert staged(run(settings)) == 10
    bucket.put("orders/1.csv", HEADER + "".join(ROWS[:30]))
    report = run(settings)
    assert (staged(report), report.dataset_counts["orders"].retired) == (0, 10)


@pytest.mark.parametrize("most", [0, 50_000])
def test_many_removed_rows_are_found_by_the_merge(
    most: int, settings: Settings, bucket: TestBucket, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(unchanged, "MOST_REMOVED", most)
    monkeypatch.setattr(unchanged, "BLOCK_BYTES", 200)
    bucket.put("orders/1.csv", HEADER + "".join(ROWS))
    run(settings)
    bucket.put("orders/1.csv", HEADER + "".join(ROWS[:25]))
    report = run(settings)
    assert (staged(report), report.dataset_counts["orders"].retired) == (0, 15)


def test_comparing_stops_when_lines_have_moved(settings: Settings, bucket: TestBucket):
    bucket.put("orders/1.csv", HEADER + "".join(ROWS))
    run(settings)
    bucket.put("orders/1.csv", HEADER + "".join([*ROWS[:20], "B1,1,1,1,n\n", *ROWS[20:]]))
    report = run(settings)
    counts = report.dataset_counts["orders"]
    assert staged(report) == 21
    assert (counts.inserted, counts.updated, counts.rows_unchanged) == (1, 20, 20)


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["replace", "insert", "delete", "swap", "shorten"]),
        st.integers(0, 39),
        st.sampled_from(["A1,1,1,1,\n", "A2,2.50,2,9,n\n", "B1,x,1,1,n\n", "B2,1,,,n\n", "B3\n"]),
    ),
    max_size=4,
)


def edited(rows: list[str], edits: list[tuple[str, int, str]]) -> list[str]:
    rows = list(rows)
    for what, place, row in edits:
        at = min(place, len(rows) - 1)
        if what == "replace":
            rows[at] = row
        elif what == "insert":
            rows.insert(at, row)
        elif what == "delete" and len(rows) > 1:
            del rows[at]
        elif what == "swap":
            rows[at], rows[0] = rows[0], rows[at]
        elif what == "shorten":
            rows = rows[: max(at, 1)]
    return rows


@given(edits=st.lists(st.tuples(EDITS, EDITS, st.booleans()), min_size=1, max_size=4))
@hypothesis_settings(max_examples=6, suppress_health_check=list(HealthCheck))
def test_edited_objects_equal_a_fresh_run(
    edits: list[tuple[Any, Any, bool]],
    fresh_database: Callable[[], Settings],
    monkeypatch: pytest.MonkeyPatch,
):
    """Of two objects with the same keys, both or only one are replaced."""
    monkeypatch.setattr(holds, "FLOOR", 1_000)
    settings = fresh_database()
    bucket = TestBucket(settings)
    bucket.clear()
    first = second = ROWS
    bucket.put("orders/2.csv", HEADER + "".join(second[10:]))
    for changes, others, both in [([], [], False), *edits]:
        first = edited(first, changes)
        bucket.put("orders/1.csv", HEADER + "".join(first))
        if both:
            second = edited(second, others)
            bucket.put("orders/2.csv", HEADER + "".join(second))
        run(settings)
    fresh = fresh_database()
    run(fresh)
    assert state(settings) == state(fresh)


@pytest.mark.store(PRECISE_TIMES)
def test_an_equal_row_loses_if_its_object_is_now_the_older_one(
    settings: Settings, bucket: TestBucket, engine: Engine
):
    """As after a backup of the bucket was restored. The event run reads one of the objects only."""
    bucket.put("orders/1.csv", HEADER + "A1,1,1,1,n\n")
    bucket.put("orders/2.csv", HEADER + "A1,2,1,1,n\n")
    run(settings)
    with engine.begin() as connection:
        later = "UPDATE source_object SET last_modified = '2100-01-01' WHERE key = 'orders/1.csv'"
        connection.execute(text(later))
    bucket.put("orders/2.csv", bucket.get("orders/2.csv"))
    record = {
        "eventName": "s3:ObjectCreated:Put",
        "s3": {
            "bucket": {"name": bucket.name},
            "object": {"key": "orders/2.csv", "sequencer": "1"},
        },
    }
    with engine.begin() as connection:
        found = events.parse(json.dumps({"Records": [record]}).encode())
        events.store(connection, found, source_bucket=bucket.name)
    report = DataManager(settings).run_events()
    assert report is not None
    assert (report.counts.rows_read, report.counts.rows_shadowed) == (1, 1)
    with engine.connect() as connection:
        keys = connection.scalars(
            text("SELECT _source_key FROM orders UNION ALL SELECT _source_key FROM orders_shadowed")
        ).all()
    assert keys == ["orders/1.csv", "orders/2.csv"]


def test_an_emptied_table_is_filled_again(settings: Settings, bucket: TestBucket, engine: Engine):
    bucket.put("orders/1.csv", HEADER + "".join(ROWS))
    thresholds = Thresholds(small=0, many=1)
    DataManager(settings, datasets=DATASETS, thresholds=thresholds).run(Trigger.CLI)
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE orders"))
    bucket.put("orders/1.csv", bucket.get("orders/1.csv"))
    manager = DataManager(settings, datasets=DATASETS, thresholds=thresholds)
    counts = manager.run(Trigger.CLI).dataset_counts["orders"]
    assert (counts.inserted, counts.live) == (40, 40)


def test_a_changed_cell_of_each_type_is_found(
    settings: Settings, bucket: TestBucket, engine: Engine
):
    """Of each type, one row differs in its cell, and three are equal."""
    header = ",".join(["id", *TYPES]) + "\n"
    before, after = [header], [header]
    for name in TYPES:
        changed = ",".join(f'"{two if one.name == name else value}"' for one, value, two in ALL)
        same = f"{name}-1,{cells(1)}\n{name}-2,{cells(2)}\n{name}-3{',' * len(TYPES)}\n"
        before.append(f"{name},{cells(1)}\n{same}")
        after.append(f"{name},{changed}\n{same}")
    bucket.put("types/1.csv", "".join(before))
    assert run(settings, OF_ALL_TYPES).dataset_counts["all_types"].rows_rejected == 0
    bucket.put("types/1.csv", "".join(after))
    assert staged(run(settings, OF_ALL_TYPES)) == len(TYPES)
    with engine.connect() as connection:
        found = set(connection.scalars(text("SELECT id FROM all_types WHERE _run_id = 2")))
    assert found == set(TYPES)


def test_blank_and_missing_cells_differ(settings: Settings, bucket: TestBucket, engine: Engine):
    dataset = replace(OF_ALL_TYPES, missing_values=("NULL",), fields=OF_ALL_TYPES.fields[:2])
    bucket.put("types/1.csv", "id,text\n1,\n2,NULL\n")
    run(settings, dataset)
    bucket.put("types/1.csv", "id,text\n1,NULL\n2,\n")
    assert run(settings, dataset).dataset_counts["all_types"].updated == 2
    with engine.connect() as connection:
        found = connection.execute(text("SELECT id, text FROM all_types ORDER BY id")).all()
    assert [tuple(row) for row in found] == [("1", None), ("2", "")]


def test_columns_are_added_while_objects_are_compared(
    settings: Settings, bucket: TestBucket, engine: Engine
):
    """An ALTER TABLE waits for no COPY of the run itself."""
    adding = replace(READINGS, unknown_columns=UnknownColumns.ADD)
    rows = "".join(f"t{number},{number}\n" for number in range(3_000))
    for key in ("sensors/1.csv", "sensors/2.csv"):
        bucket.put(key, "sensor,celsius\n" + rows)
    run(settings, adding)
    bucket.put("sensors/1.csv", "sensor,celsius,color\nt0,0,red\n")
    bucket.put("sensors/2.csv", "sensor,celsius\n" + rows)
    report = run(settings, adding)
    assert report.dataset_counts["readings"].rows_loaded >= 1
    with engine.connect() as connection:
        colors = connection.scalars(text("SELECT color FROM \"Readings\" WHERE color <> ''")).all()
    assert colors == ["red"]


@pytest.mark.store(PRECISE_TIMES)
def test_a_value_that_no_file_has_ends_the_comparison(
    settings: Settings, bucket: TestBucket, engine: Engine
):
    header = ",".join(["id", *TYPES]) + "\n"
    bucket.put("types/1.csv", header + f"1,{cells(1)}\n2,{cells(1)}\n")
    run(settings, OF_ALL_TYPES)
    with engine.begin() as connection:
        connection.execute(text("UPDATE all_types SET date = 'infinity' WHERE id = '2'"))
    bucket.put("types/1.csv", bucket.get("types/1.csv"))
    report = run(settings, OF_ALL_TYPES)
    assert report.dataset_counts["all_types"].updated == 1


def test_a_lost_connection_fails_the_run_and_changes_nothing(
    settings: Settings, bucket: TestBucket, monkeypatch: pytest.MonkeyPatch
):
    bucket.put("orders/1.csv", HEADER + "".join(ROWS))
    run(settings)
    before = state(settings)
    bucket.put("orders/1.csv", HEADER + "".join(ROWS[1:]))
    with monkeypatch.context() as patch:
        patch.setattr(unchanged, "_PLANNER", "SELECT pg_terminate_backend(pg_backend_pid())")
        with pytest.raises(DatabaseUnavailable):
            run(settings)
    assert state(settings) == before
    assert run(settings).dataset_counts["orders"].rows_read == 39


def test_held_objects_keep_their_rows(
    settings: Settings, bucket: TestBucket, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(holds, "FLOOR", 2)
    bucket.put("orders/1.csv", HEADER + "".join(ROWS))
    bucket.put("orders/2.csv", HEADER + "B1,1,1,1,n\nB2,1,1,1,n\n")
    run(settings)
    bucket.put("orders/1.csv", HEADER + "".join(ROWS[:10]))
    bucket.put("orders/2.csv", HEADER + "B1,1,1,1,n\nB2,2,1,1,n\n")
    counts = run(settings).dataset_counts["orders"]
    assert (counts.objects_held, counts.rows_held, counts.updated, counts.live) == (1, 10, 1, 42)
    assert counts.retirements_held == 30
