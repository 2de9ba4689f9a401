"""Runs of some datasets, which leave the others as they are."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import quote

import pytest
from sqlalchemy import Engine

from etl.db import events
from etl.model.dataset import USERS, Dataset, Field, FieldType, OnRemoved
from etl.model.values import Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from tests.conftest import TestBucket
from tests.integration.conftest import Query

ITEMS = Dataset(
    name="items",
    table="items",
    include=("items/**/*.csv",),
    primary_key=("id",),
    fields=(Field(name="id"), Field(name="n", type=FieldType.INTEGER)),
)
LOG = Dataset(
    name="log",
    table="log",
    include=("log/**/*.csv",),
    on_removed=OnRemoved.DELETE,
    fields=(Field(name="line"),),
)
ALL = (ITEMS, LOG, USERS)


@pytest.fixture
def manager(settings: Settings) -> DataManager:
    return DataManager(settings, datasets=ALL)


def put_all(bucket: TestBucket, version: int) -> None:
    bucket.put("items/1.csv", f"id,n\na,{version}\nb,{version}\n")
    bucket.put("log/1.csv", f"line\n{version}\n")
    bucket.put("1.csv", f"user_id,first_name,last_name,birthts\n1,Ann,{version},0\n")


def notify(engine: Engine, bucket: TestBucket, *keys: str) -> None:
    """Store an event of each key."""
    records = [
        {
            "eventName": "s3:ObjectCreated:Put",
            "s3": {
                "bucket": {"name": bucket.name},
                "object": {"key": quote(key), "sequencer": "1"},
            },
        }
        for key in keys
    ]
    with engine.begin() as connection:
        events.store(
            connection,
            events.parse(json.dumps({"Records": records}).encode()),
            source_bucket=bucket.name,
        )


def test_a_run_of_one_dataset_leaves_the_others(
    bucket: TestBucket, manager: DataManager, query: Query
):
    put_all(bucket, 1)
    manager.run(Trigger.CLI)
    put_all(bucket, 2)
    bucket.remove("log/1.csv")
    report = manager.run(Trigger.CLI, only=frozenset({"items"}))
    assert report.dataset_counts["items"].updated == 2
    assert query("SELECT n FROM items") == [(2,), (2,)]
    assert query("SELECT line FROM log") == [("1",)]
    assert query("SELECT last_name FROM users") == [("1",)]
    rest = manager.run(Trigger.CLI)
    assert (rest.dataset_counts["log"].retired, rest.dataset_counts["users"].updated) == (1, 1)
    assert rest.dataset_counts["items"].changed == 0


def test_changed_declarations_still_wait_for_the_datasets_left_out(
    bucket: TestBucket, settings: Settings, query: Query
):
    put_all(bucket, 1)
    DataManager(settings, datasets=(USERS,)).run(Trigger.CLI)
    changed = DataManager(settings, datasets=ALL)
    changed.run(Trigger.CLI, only=frozenset({"items"}))
    assert query("SELECT count(*) FROM log") == [(0,)]
    assert changed.run(Trigger.CLI).dataset_counts["log"].inserted == 1
    assert query("SELECT name FROM dataset ORDER BY installed_at") == [
        ("items",),
        ("log",),
        ("users",),
    ]


def test_events_of_the_datasets_left_out_stay_pending(
    bucket: TestBucket, manager: DataManager, engine: Engine, query: Query
):
    put_all(bucket, 1)
    manager.run(Trigger.CLI)
    put_all(bucket, 2)
    notify(engine, bucket, "items/1.csv", "log/1.csv", "1.csv")
    manager.run(Trigger.CLI, only=frozenset({"items"}))
    report = manager.run_events()
    assert report is not None
    assert query("SELECT line FROM log") == [("2",)]


def rows_of(name: str, first: int, last: int) -> str:
    return f"{name}\n" + "".join(f"{number}\n" for number in range(first, last))


@pytest.fixture
def half_emptied(bucket: TestBucket, manager: DataManager, engine: Engine) -> TestBucket:
    """`items` and `log` of 200 rows each in two objects, one of which an event run retired."""
    for name, column in (("items", "id"), ("log", "line")):
        for half in (0, 1):
            bucket.put(f"{name}/{half}.csv", rows_of(column, 100 * half, 100 * half + 100))
    manager.run(Trigger.CLI)
    for key in ("items/0.csv", "log/0.csv"):
        bucket.remove(key)
        notify(engine, bucket, key)
    report = manager.run_events()
    assert report is not None
    assert report.dataset_counts["items"].retired == report.dataset_counts["log"].retired == 100
    return bucket


@pytest.mark.parametrize("reason", ["not asked for", "paused"])
def test_retirements_by_events_count_until_a_full_run_of_their_dataset(
    half_emptied: TestBucket, settings: Settings, manager: DataManager, reason: str
):
    if reason == "paused":
        datasets = (ITEMS, replace(LOG, is_paused=True), USERS)
        DataManager(settings, datasets=datasets).run(Trigger.CLI)
        manager = DataManager(settings, datasets=ALL)
    else:
        manager.run(Trigger.CLI, only=frozenset({"items"}))
    half_emptied.put("items/1.csv", rows_of("id", 100, 160))
    half_emptied.put("log/1.csv", rows_of("line", 100, 160))
    found = manager.run(Trigger.CLI).dataset_counts
    assert (found["items"].objects_held, found["log"].objects_held) == (0, 1)
