"""Stale store listings retire no user and hide no change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest
from sqlalchemy import Engine, text

from etl.model.values import Counts, Trigger
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.storage.listing import ListingPage
from etl.sync.manager import DataManager
from etl.sync.probe import stat_keys
from etl.verify import verify
from tests.conftest import TestBucket

pytestmark = pytest.mark.storage

HIDDEN = "2.csv"


class StaleListing(ObjectStore):
    """Lists every object except `2.csv`."""

    def list_pages(
        self, bucket: str, split_points: Iterable[str] = (), *more: Callable[[str], bool]
    ) -> Iterator[ListingPage]:
        for page in super().list_pages(bucket, split_points, *more):
            yield ListingPage([row for row in page.rows if row[0] != HIDDEN], page.ignored)


@pytest.fixture
def stale(settings: Settings) -> DataManager:
    return DataManager(settings, store=StaleListing(settings))


@pytest.fixture(autouse=True)
def three_users(bucket: TestBucket, manager: DataManager) -> None:
    for number in (1, 2, 3):
        bucket.user(f"{number}.csv")
    manager.run(Trigger.CLI)


def objects(counts: Counts) -> tuple[int, int, int, int]:
    found = (counts.objects_listed, counts.objects_unchanged)
    return (*found, counts.objects_modified, counts.objects_removed)


def names(engine: Engine) -> dict[str, str]:
    with engine.connect() as connection:
        query = "SELECT user_id, first_name FROM users"
        return {row.user_id: row.first_name for row in connection.execute(text(query))}


def test_existing_object_is_not_reported_removed(
    stale: DataManager, settings: Settings, engine: Engine
):
    counts = stale.run(Trigger.CLI).counts
    assert objects(counts) == (3, 3, 0, 0)
    assert counts.users_live == 3
    assert verify(settings, engine) == []


def test_replaced_object_is_read(stale: DataManager, bucket: TestBucket, engine: Engine):
    bucket.user(HIDDEN, "New")
    assert objects(stale.run(Trigger.CLI).counts) == (3, 2, 1, 0)
    assert names(engine) == {"1": "Ann", "2": "New", "3": "Ann"}


def test_missing_object_is_reported_removed(stale: DataManager, bucket: TestBucket, engine: Engine):
    bucket.remove(HIDDEN)
    assert objects(stale.run(Trigger.CLI).counts) == (2, 2, 0, 1)
    assert set(names(engine)) == {"1", "3"}


def test_checked_keys_are_found_despite_a_stale_listing(settings: Settings, bucket: TestBucket):
    """There are enough keys that the bucket is listed instead of each being checked."""
    keys = sorted([HIDDEN, *(f"0{number}.csv" for number in range(20))])
    found = stat_keys(StaleListing(settings), bucket.name, keys, objects_known=0)
    assert [source.key for source in found] == [HIDDEN]


def test_an_object_that_became_ignored_is_removed(
    manager: DataManager, bucket: TestBucket, settings: Settings, engine: Engine
):
    """The object was replaced by an empty folder marker."""
    bucket.put("4.txt", "no image, no CSV")
    manager.run(Trigger.CLI)
    bucket.put("4.txt", b"")
    counts = manager.run(Trigger.CLI).counts
    assert objects(counts) == (4, 3, 0, 1)
    assert counts.objects_ignored == 1
    assert verify(settings, engine) == []
