"""Each run that changes rows of a dataset notifies its channel, with the commit and once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, text

from etl.db.engine import driver
from etl.db.names import dataset_channel
from etl.model.dataset import USERS
from etl.model.errors import DatasetsFailed
from etl.model.values import Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from tests.api_client import get
from tests.conftest import TestBucket
from tests.sample_datasets import ORDERS, READINGS

Received = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def several(settings: Settings) -> DataManager:
    return DataManager(settings, datasets=(ORDERS, READINGS, USERS))


@pytest.fixture
def received(engine: Engine) -> Iterator[Received]:
    """A function that returns the notifications since its last call, of a client of PostgreSQL."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for one in (ORDERS, READINGS, USERS):
            connection.execute(text(f'LISTEN "{dataset_channel(one.name)}"'))

        def take() -> list[dict[str, Any]]:
            connection.execute(text("SELECT 1"))  # the answer comes after all notifications
            found = driver(connection).notifies
            taken = [json.loads(each.payload) for each in found]
            channels = [each.channel for each in found]
            assert channels == [f"bucketline_{each['dataset']}" for each in taken]
            found.clear()
            return taken

        yield take


def orders(*ids: str) -> str:
    return "order_id,amount\n" + "".join(f"{one},1\n" for one in ids)


def test_changes_are_announced_by_dataset(
    bucket: TestBucket, several: DataManager, received: Received, engine: Engine
):
    bucket.put("orders/1.csv", orders("A", "B"))
    bucket.user("1.csv")
    first = several.run(Trigger.CLI)
    none = {"updated": 0, "restored": 0, "retired": 0}
    found = sorted(received(), key=lambda one: str(one["dataset"]))
    assert found == [
        {"dataset": "orders", "run_id": first.id, "inserted": 2} | none | {"revision": 1},
        {"dataset": "users", "run_id": first.id, "inserted": 1} | none | {"revision": 1},
    ]
    several.run(Trigger.CLI)
    assert received() == []
    bucket.put("orders/1.csv", orders("B", "C").replace("B,1", "B,2"))
    several.run(Trigger.CLI)
    (changed,) = received()
    counts = {name: changed[name] for name in ("inserted", "updated", "restored", "retired")}
    assert counts == {"inserted": 1, "updated": 1, "restored": 0, "retired": 1}
    with engine.connect() as connection:
        revision = text("SELECT number FROM revision WHERE noun = 'dataset:orders'")
        assert changed["revision"] == connection.scalar(revision) == 2
        updated = text("SELECT count(*) FROM orders WHERE _run_id = :run_id")
        assert connection.scalar(updated, {"run_id": changed["run_id"]}) == 2


def test_event_runs_announce_their_changes(
    bucket: TestBucket, several: DataManager, received: Received, engine: Engine
):
    several.run(Trigger.CLI)
    bucket.put("orders/1.csv", orders("A"))
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO bucket_event (bucket, key, mark, event_name, record)"
                " VALUES (:bucket, 'orders/1.csv', 'm', 's3:ObjectCreated:Put', '{}')"
            ),
            {"bucket": bucket.name},
        )
    assert several.run_events() is not None
    assert [(one["dataset"], one["inserted"]) for one in received()] == [("orders", 1)]


def test_a_rebuild_is_announced_if_it_changes_rows_or_columns(
    bucket: TestBucket, several: DataManager, received: Received, settings: Settings
):
    bucket.put("orders/1.csv", orders("A"))
    several.run(Trigger.CLI)
    received()
    assert several.rebuild("orders").report.counts.rows_read == 1
    assert received() == []
    fewer = tuple(one for one in ORDERS.fields if one.name != "rank")
    changed = (replace(ORDERS, fields=fewer, indexes=()), READINGS, USERS)
    report = DataManager(settings, datasets=changed).rebuild("orders").report
    none = dict.fromkeys(("inserted", "updated", "restored", "retired"), 0)
    assert received() == [{"dataset": "orders", "run_id": report.id, **none, "revision": 2}]


def test_nothing_is_announced_that_is_not_committed(
    bucket: TestBucket, several: DataManager, received: Received, engine: Engine
):
    several.run(Trigger.CLI)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE orders ADD CHECK (order_id <> 'B')"))
    bucket.put("orders/1.csv", orders("A", "B"))
    bucket.user("1.csv")
    with pytest.raises(DatasetsFailed):
        several.run(Trigger.CLI)
    assert [one["dataset"] for one in received()] == ["users"]
    bucket.put("orders/1.csv", orders("A"))
    several.preview()
    assert received() == []


def test_the_channel_is_shown_with_the_dataset(several: DataManager, client: FlaskClient):
    several.run(Trigger.CLI)
    assert get(client, "/datasets/orders")["channel"] == "bucketline_orders"


def test_names_of_channels_are_short_enough_and_differ_between_installations():
    schemas = ["bucketline", "s" * 63, "bucketline_x"]
    names = [dataset_channel(name, one) for one in schemas for name in ("d" * 48, "x_y", "y")]
    assert len(set(names)) == len(names)
    assert max(len(name.encode()) for name in names) <= 63
