"""Events of a dataset or a bucket that a run could not sync stay pending, and delay no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import Engine, text

from api import create_app
from etl.cli.status import status
from etl.db import events
from etl.model.dataset import USERS, Dataset
from etl.model.errors import DatasetsFailed, ObjectStoreUnavailable
from etl.model.values import SourceFile, SourceObject, Trigger
from etl.services.scheduler import Retries
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.storage.listing import ListingPage
from etl.sync.manager import DataManager
from tests.api_client import get
from tests.conftest import TestBucket, wait_until
from tests.integration.test_schedule import runs, scheduling
from tests.integration.test_several_datasets import orders
from tests.sample_datasets import ORDERS

NEVER = 3_600  # seconds
FORBID = "ALTER TABLE orders ADD CONSTRAINT theirs CHECK (rank < 10)"
DEFERRED = "ALTER TABLE orders ADD CONSTRAINT theirs UNIQUE (rank) DEFERRABLE INITIALLY DEFERRED"
ALLOW = "ALTER TABLE orders DROP CONSTRAINT theirs"


@dataclass
class Site:
    """Two buckets: users in the first, orders in the second or in the first too."""

    settings: Settings
    engine: Engine
    first: TestBucket
    second: TestBucket
    sent: int = 0

    def datasets(self, *, in_one_bucket: bool = False) -> tuple[Dataset, ...]:
        return (ORDERS if in_one_bucket else replace(ORDERS, bucket=self.second.name), USERS)

    def execute(self, statement: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement))

    def notify(self, bucket: TestBucket, *keys: str) -> None:
        made = []
        for key in keys:
            self.sent += 1
            item = {"key": key, "sequencer": f"{self.sent:08}"}
            record = {
                "eventName": "s3:ObjectCreated:Put",
                "s3": {"bucket": {"name": bucket.name}, "object": item},
            }
            made += events.parse({"Records": [record]})
        with self.engine.begin() as connection:
            events.store(connection, made, source_bucket=self.first.name)

    def pending(self) -> list[str]:
        with self.engine.connect() as connection:
            found = "SELECT key FROM bucket_event WHERE handled_by_run IS NULL ORDER BY key"
            return list(connection.scalars(text(found)))

    def rows(self, column: str, table: str) -> list[str]:
        with self.engine.connect() as connection:
            return list(connection.scalars(text(f"SELECT {column} FROM {table} ORDER BY 1")))

    def add(self, number: int, *, in_one_bucket: bool = False) -> None:
        """An order and a user, with an event for each."""
        bucket = self.first if in_one_bucket else self.second
        bucket.put(f"orders/{number}.csv", orders(f"{number},1,50,1"))
        self.first.user(f"{number}.csv")
        self.notify(bucket, f"orders/{number}.csv")
        self.notify(self.first, f"{number}.csv")


@pytest.fixture
def site(settings: Settings, engine: Engine, bucket: TestBucket, store: ObjectStore) -> Site:
    name = settings.source_bucket.replace("src-", "shop-")
    store.ensure_bucket(name)
    second = TestBucket(settings)
    second.name = name
    return Site(settings, engine, bucket, second)


Run = Callable[[DataManager], object]
KINDS: dict[str, Run] = {
    "event": lambda manager: manager.run_events(),
    "full": lambda manager: manager.run(Trigger.CLI),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("forbid", [FORBID, DEFERRED])
def test_events_of_a_failed_dataset_stay_pending(kind: str, forbid: str, site: Site):
    """Those of the others are handled, also if only the commit finds the failure."""
    manager = DataManager(site.settings, datasets=site.datasets(in_one_bucket=True))
    site.first.put("orders/0.csv", orders("0,1,1,1"))
    manager.run(Trigger.CLI)
    site.execute(forbid)
    site.add(1, in_one_bucket=True)
    site.first.put("orders/2.csv", orders("2,1,50,1"))
    site.notify(site.first, "/orders//2.csv")
    with pytest.raises(DatasetsFailed, match="theirs"):
        KINDS[kind](manager)
    assert site.rows("user_id", "users") == ["1"]
    assert site.pending() == ["/orders//2.csv", "orders/1.csv"]
    assert manager.run_events(include_refused=False) is None
    site.execute(ALLOW)
    manager.run_events()
    assert site.rows("order_id", "orders") == ["0", "1", "2"]
    assert site.pending() == []


def test_failed_dataset_is_retried_without_a_full_run_and_delays_no_others(site: Site):
    manager = DataManager(site.settings, datasets=site.datasets())
    with scheduling(site.settings, manager, Retries(0.2)):
        wait_until(lambda: runs(site.engine, "state = 'succeeded'") == 1)
        site.execute(FORBID)
        site.add(1)
        wait_until(lambda: runs(site.engine, "trigger = 'event' AND state = 'failed'") >= 2)
        site.execute(ALLOW)
        wait_until(lambda: site.rows("order_id", "orders") == ["1"])
        wait_until(lambda: site.pending() == [])
    assert runs(site.engine, "trigger <> 'event'") == 1


def test_events_arrive_while_those_of_a_failed_dataset_wait(site: Site):
    manager = DataManager(site.settings, datasets=site.datasets())
    with scheduling(site.settings, manager, Retries(NEVER)):
        wait_until(lambda: runs(site.engine, "state = 'succeeded'") == 1)
        site.execute(FORBID)
        site.add(1)
        wait_until(lambda: runs(site.engine, "state = 'failed'") == 1)
        for user in ("2", "3"):
            site.first.user(f"{user}.csv")
            site.notify(site.first, f"{user}.csv")
            wait_until(lambda user=user: user in site.rows("user_id", "users"))
    assert site.pending() == ["orders/1.csv"]
    assert runs(site.engine, "state = 'failed'") == 1


class Unreachable(ObjectStore):
    """A store that does not give out one bucket."""

    bucket = ""

    def check_reachable(self, bucket: str) -> None:
        if bucket == self.bucket:
            raise ObjectStoreUnavailable(f"{bucket} did not respond.")

    def list_pages(self, bucket: str, *others: Any) -> Iterator[ListingPage]:  # noqa: ANN401
        self.check_reachable(bucket)
        yield from super().list_pages(bucket, *others)

    def stat(self, bucket: str, key: str) -> SourceObject | None:
        self.check_reachable(bucket)
        return super().stat(bucket, key)


class Unreadable(ObjectStore):
    """A store that lists a bucket, but does not give out its objects."""

    bucket = ""

    def fetch(self, bucket: str, source: SourceObject) -> SourceFile | None:
        if bucket == self.bucket:
            raise ObjectStoreUnavailable(f"{bucket} did not respond.")
        return super().fetch(bucket, source)


@pytest.mark.parametrize("kind", [Unreachable, Unreadable])
def test_bucket_that_cannot_be_read_delays_no_events_of_others(
    kind: type[Unreachable | Unreadable], site: Site
):
    """Its events come first and alone; then those of the other bucket, while they wait."""
    store = kind(site.settings)
    manager = DataManager(site.settings, store=store, datasets=site.datasets())
    with scheduling(site.settings, manager, Retries(NEVER)):
        wait_until(lambda: runs(site.engine, "state = 'succeeded'") == 1)
        store.bucket = site.second.name
        for number in ("1", "2"):
            site.second.put(f"orders/{number}.csv", orders(f"{number},1,50,1"))
            site.notify(site.second, f"orders/{number}.csv")
            wait_until(lambda: not waits_first(site))
            site.first.user(f"{number}.csv")
            site.notify(site.first, f"{number}.csv")
            wait_until(lambda number=number: number in site.rows("user_id", "users"))
    assert site.pending() == ["orders/1.csv", "orders/2.csv"]
    store.bucket = ""
    manager.run_events()
    assert site.rows("order_id", "orders") == ["1", "2"]
    assert site.pending() == []


def waits_first(site: Site) -> bool:
    """Whether an event waits for its first attempt."""
    with site.engine.connect() as connection:
        return events.any_pending(connection, include_refused=False)


def test_bucket_that_can_be_read_again_is_retried(site: Site):
    store = Unreachable(site.settings)
    manager = DataManager(site.settings, store=store, datasets=site.datasets())
    with scheduling(site.settings, manager, Retries(0.2)):
        wait_until(lambda: runs(site.engine, "state = 'succeeded'") == 1)
        store.bucket = site.second.name
        site.add(1)
        wait_until(lambda: site.rows("user_id", "users") == ["1"])
        store.bucket = ""
        wait_until(lambda: site.rows("order_id", "orders") == ["1"])
        wait_until(lambda: site.pending() == [])


def test_many_refused_events_do_not_extend_the_debounce(site: Site):
    site.notify(site.first, *(f"{number}.csv" for number in range(20)))
    with site.engine.begin() as connection:
        connection.execute(text("UPDATE bucket_event SET refused_by_run = 0"))
        assert events.count_pending(connection) == 20
        assert events.count_pending(connection, include_refused=False) == 0


def test_failure_is_shown_until_a_run_commits_the_dataset(site: Site):
    """Runs of other datasets, and one that has just begun, do not hide it."""
    client = create_app(site.settings).test_client()

    def failed() -> list[str]:
        with site.engine.connect() as connection:
            names = [one["dataset"] for one in status(connection, site.settings)["failed_datasets"]]
        assert [one["dataset"] for one in get(client, "/health")["attention"]] == names
        return names

    manager = DataManager(site.settings, datasets=site.datasets())
    manager.run(Trigger.CLI)
    site.execute(FORBID)
    site.add(1)
    with pytest.raises(DatasetsFailed):
        manager.run_events()
    site.first.user("2.csv")
    site.notify(site.first, "2.csv")
    manager.run_events(include_refused=False)
    assert failed() == ["orders"]
    manager.run(Trigger.CLI, only=frozenset({"users"}))
    assert failed() == ["orders"]
    site.execute("INSERT INTO run (trigger, state, started_at) VALUES ('cli', 'running', now())")
    assert failed() == ["orders"]
    site.execute(ALLOW)
    manager.run_events()
    assert failed() == []
