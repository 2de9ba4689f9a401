"""Datasets that were not declared for some time, and find the tables of then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from etl.model.dataset import USERS, Dataset
from etl.model.values import DatasetCounts, Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from tests.conftest import TestBucket
from tests.integration.conftest import Query
from tests.sample_datasets import ORDERS, PARTS, READINGS

ALL = (ORDERS, READINGS, PARTS, USERS)
OTHER = replace(ORDERS, name="other", table="other", include=("other/*.csv",), publish=())

Run = Callable[..., dict[str, DatasetCounts]]


@pytest.fixture
def run(settings: Settings) -> Run:
    """Make a full run of the datasets as they are declared now; return its counts."""

    def make(*datasets: Dataset, only: frozenset[str] | None = None) -> dict[str, DatasetCounts]:
        manager = DataManager(settings, datasets=datasets)
        return manager.run(Trigger.CLI, only=only).dataset_counts

    return make


def orders(*names: str) -> str:
    return "order_id,amount,rank,updated\n" + "".join(f"{name},1,1,1\n" for name in names)


@pytest.mark.parametrize("meanwhile", [OTHER, USERS], ids=lambda one: one.name)
def test_rows_whose_objects_are_gone_are_retired(
    bucket: TestBucket, run: Run, meanwhile: Dataset, query: Query
):
    bucket.put("orders/1.csv", orders("A", "B"))
    bucket.put("orders/2.csv", orders("B", "C"))
    bucket.put("orders/3.csv", orders("C", "D"))
    bucket.put("sensors/a/1.csv", "sensor,celsius\nt1,1\n")
    bucket.put("sensors/b/1.csv", "sensor,celsius\nt2,2\n")
    run(*ALL)
    run(meanwhile)
    for key in ("orders/2.csv", "orders/3.csv", "sensors/a/1.csv"):
        bucket.remove(key)
    found = run(*ALL)
    assert (found["orders"].retired, found["readings"].retired) == (2, 1)
    assert query("SELECT order_id, _source_key FROM orders ORDER BY 1") == [
        ("A", "orders/1.csv"),
        ("B", "orders/1.csv"),
    ]
    assert query("SELECT count(*) FROM orders_shadowed") == [(0,)]
    assert query("SELECT order_id FROM orders_retired ORDER BY 1") == [("C",), ("D",)]
    assert query('SELECT sensor FROM "Readings"') == [("t2",)]
    assert query("SELECT DISTINCT etag FROM source_object WHERE etag = ''") == []
    assert all(one.changed == 0 for one in run(*ALL).values())


@pytest.mark.parametrize("meanwhile", [OTHER, USERS], ids=lambda one: one.name)
def test_rows_of_an_emptied_bucket_are_retired(
    bucket: TestBucket, run: Run, meanwhile: Dataset, query: Query
):
    """The manifest has no object any more, so nothing but the table tells of them."""
    bucket.put("orders/1.csv", orders("A"))
    run(ORDERS)
    run(meanwhile)
    bucket.remove("orders/1.csv")
    run(OTHER)
    assert query("SELECT count(*) FROM source_object") == [(0,)]
    assert run(ORDERS)["orders"].retired == 1


@pytest.mark.parametrize("meanwhile", [OTHER, USERS], ids=lambda one: one.name)
def test_rows_whose_objects_are_still_there_are_unchanged(
    bucket: TestBucket, run: Run, meanwhile: Dataset, query: Query
):
    bucket.put("orders/1.csv", orders("A", "B"))
    run(*ALL)
    before = query("SELECT * FROM orders ORDER BY 1")
    run(meanwhile)
    found = run(*ALL)["orders"]
    assert (found.rows_unchanged, found.changed, found.live) == (2, 0, 2)
    assert query("SELECT * FROM orders ORDER BY 1") == before


@pytest.mark.parametrize("meanwhile", [OTHER, USERS], ids=lambda one: one.name)
def test_most_rows_at_once_are_held(bucket: TestBucket, run: Run, meanwhile: Dataset, query: Query):
    bucket.put("orders/1.csv", orders(*(f"A{number}" for number in range(150))))
    run(*ALL)
    run(meanwhile)
    bucket.remove("orders/1.csv")
    for _ in range(2):
        found = run(*ALL)["orders"]
        assert (found.objects_held, found.live) == (1, 150)
    bucket.put("orders/1.csv", orders(*(f"A{number}" for number in range(150))))
    assert run(*ALL)["orders"].objects_held == 0
    assert query("SELECT count(*) FROM hold") == [(0,)]


@pytest.mark.parametrize("meanwhile", [OTHER, USERS], ids=lambda one: one.name)
def test_attachments_that_are_gone_are_no_longer_named(
    bucket: TestBucket, run: Run, meanwhile: Dataset, query: Query
):
    bucket.put("parts/x/1.csv", "number,drawing,made\n7,D1,0\n8,D2,0\n")
    bucket.put("parts/photos/7.png", "x")
    bucket.put("parts/plans/D1.png", "x")
    bucket.put("parts/plans/D2.png", "x")
    run(*ALL)
    run(meanwhile)
    bucket.remove("parts/photos/7.png")
    bucket.remove("parts/plans/D2.png")
    assert run(*ALL)["parts"].attached == 1
    assert query("SELECT number, photo, plan FROM parts ORDER BY 1") == [
        (7, None, f"{bucket.name}/parts/plans/D1.png"),
        (8, None, None),
    ]


@pytest.mark.parametrize("meanwhile", [OTHER, USERS], ids=lambda one: one.name)
def test_totals_of_a_dataset_that_is_left_out_are_those_of_its_table(
    bucket: TestBucket, run: Run, meanwhile: Dataset
):
    bucket.put("orders/1.csv", orders("A", "B"))
    run(ORDERS, OTHER)
    run(meanwhile)
    assert run(ORDERS, OTHER, only=frozenset({"other"}))["orders"].live == 2
    bucket.put("orders/2.csv", orders("C"))
    assert run(ORDERS, OTHER)["orders"].live == 3
