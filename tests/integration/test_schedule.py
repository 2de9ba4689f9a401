"""The scheduler process, against a real database and store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from etl.db.runs import request_run
from etl.model.errors import ObjectStoreUnavailable, RightMissing
from etl.model.values import RunReport, Trigger
from etl.runtime.service import StopEvent
from etl.services.scheduler import POLL_SECONDS, Retries, Scheduler
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.storage.listing import ListingPage
from etl.sync.manager import DataManager
from tests.conftest import TestBucket, wait_until
from tests.stores import MISSING_BUCKETS


@contextmanager
def scheduling(
    settings: Settings,
    manager: DataManager | None = None,
    retries: Retries | None = None,
    poll_seconds: float = POLL_SECONDS,
) -> Iterator[Scheduler]:
    scheduler = Scheduler(
        settings,
        manager or DataManager(settings),
        retries=retries,
        poll_seconds=poll_seconds,
    )
    with scheduling_with(scheduler):
        yield scheduler


@contextmanager
def scheduling_with(scheduler: Scheduler) -> Iterator[None]:
    """Run the scheduler in a thread while the block runs."""
    thread = threading.Thread(target=scheduler.run_forever)
    thread.start()
    try:
        yield
    finally:
        scheduler.stop()
        thread.join(30)
        assert not thread.is_alive()


def runs(engine: Engine, condition: str = "true") -> int:
    with engine.connect() as connection:
        return connection.scalar(text(f"SELECT count(*) FROM run WHERE {condition}")) or 0


def ask(engine: Engine) -> int:
    with engine.begin() as connection:
        return request_run(connection, Trigger.REQUEST)


def test_a_run_is_made_at_the_start(bucket: TestBucket, settings: Settings, engine: Engine):
    bucket.user("1.csv")
    with scheduling(settings):
        wait_until(lambda: runs(engine, "state = 'succeeded' AND trigger = 'interval'"))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM users")) == 1


def test_interval_requests_runs_repeatedly(settings: Settings, engine: Engine):
    often = settings.model_copy(update={"etl_interval": timedelta(seconds=1)})
    with scheduling(often):
        wait_until(lambda: runs(engine, "state = 'succeeded'") >= 3)


def test_a_request_is_served_without_waiting_for_the_interval(settings: Settings, engine: Engine):
    with scheduling(settings):
        wait_until(lambda: runs(engine, "state = 'succeeded'") == 1)
        requested = ask(engine)
        wait_until(lambda: runs(engine, f"id = {requested} AND state = 'succeeded'"))


def test_waiting_requests_are_one(settings: Settings, engine: Engine):
    asked = {ask(engine) for _ in range(5)}
    assert len(asked) == 1
    with scheduling(settings):
        wait_until(lambda: runs(engine, "state = 'succeeded'") == 1)
    assert runs(engine) == 1


def test_two_schedulers_do_not_duplicate_a_run(
    bucket: TestBucket, settings: Settings, engine: Engine
):
    bucket.user("1.csv")
    with scheduling(settings), scheduling(settings):
        wait_until(lambda: runs(engine, "state = 'succeeded'"))
        for _ in range(10):
            requested = ask(engine)
            wait_until(
                lambda requested=requested: runs(
                    engine, f"id = {requested} AND state = 'succeeded'"
                )
            )
    assert runs(engine, "state <> 'succeeded'") == 0
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT sum((counts->>'users_inserted')::int) FROM run")) == 1


def test_a_lost_database_connection_is_made_again(settings: Settings, engine: Engine):
    with scheduling(settings):
        wait_until(lambda: runs(engine, "state = 'succeeded'") == 1)
        with engine.begin() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        wait_until(lambda: runs(engine, "state = 'succeeded'") == 2)
        requested = ask(engine)
        wait_until(lambda: runs(engine, f"id = {requested} AND state = 'succeeded'"))


def test_newest_run_is_the_last_even_if_the_clock_is_set_back(
    bucket: TestBucket, manager: DataManager, engine: Engine
):
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    with engine.begin() as connection:  # as the clock was then
        connection.execute(text("UPDATE run SET finished_at = now() + interval '1 hour'"))
    for number in (2, 3, 4):
        bucket.user(f"{number}.csv")
        assert manager.run(Trigger.CLI).counts.users_live == number


def test_run_failed_by_an_outage_is_retried_before_the_interval(
    bucket: TestBucket, settings: Settings, engine: Engine
):
    class DownAtFirst(ObjectStore):
        attempts = 0

        def list_pages(
            self, bucket: str, split_points: Iterable[str] = (), *more: Callable[[str], bool]
        ) -> Iterator[ListingPage]:
            self.attempts += 1
            if self.attempts == 1:
                raise ObjectStoreUnavailable("The store is starting.")
            return super().list_pages(bucket, split_points, *more)

    bucket.user("1.csv")
    manager = DataManager(settings, store=DownAtFirst(settings))
    with scheduling(settings, manager, Retries(0.2)):
        wait_until(lambda: runs(engine, "state = 'succeeded'"))
    assert runs(engine, "state = 'failed' AND error->>'code' = 'ObjectStoreUnavailable'") == 1


@pytest.mark.store(MISSING_BUCKETS)
def test_failed_publishing_is_retried_with_backoff(bucket: TestBucket, settings: Settings):
    times: list[float] = []

    class Watched(DataManager):
        def publish_if_due(self, *, wait_seconds: float = 0) -> bool:
            times.append(time.monotonic())
            return super().publish_if_due(wait_seconds=wait_seconds)

    bucket.user("1.csv")
    nowhere = settings.model_copy(update={"processed_bucket": "there-is-no-such-bucket"})
    with scheduling(nowhere, Watched(nowhere), Retries(0.2), poll_seconds=0.01):
        wait_until(lambda: len(times) >= 4)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    for gap, least in zip(gaps, (0.2, 0.4, 0.8), strict=False):
        assert gap >= least


@pytest.mark.parametrize("error", [RightMissing, ValueError])
def test_a_failure_that_lasts_is_retried_more_and_more_rarely(
    settings: Settings, engine: Engine, error: type[Exception]
):
    """The scheduler waits longer before each retry of a run that fails immediately."""

    class Broken(DataManager):
        attempts = 0

        def run_requested(self, *, wait_seconds: float = 0) -> RunReport | None:
            self.attempts += 1
            if self.attempts <= 3:
                raise error("broken")
            return super().run_requested(wait_seconds=wait_seconds)

    retries = Retries(0.01)
    with scheduling(settings, Broken(settings), retries):
        wait_until(lambda: runs(engine, "state = 'succeeded'"))
        wait_until(lambda: retries.error.next() == 0.01)  # the first delay again: it was reset


def test_scheduler_does_not_spin_during_a_database_outage(settings: Settings):
    """The waits apply to a due retry, too, while no connection can be made."""
    waits: list[float] = []

    class Stopping(StopEvent):
        def wait(self, seconds: float, *_sources: object) -> bool:
            waits.append(seconds)
            self.set()
            return True

    lost = settings.model_copy(
        update={"database_url": SecretStr("postgresql://db_user@127.0.0.1:9/nowhere")}
    )
    retries = Retries(0)
    retries.run.arm()  # as after a run that failed because of the outage
    scheduler = Scheduler(lost, DataManager(lost), retries=retries)
    scheduler.stopping = Stopping()
    scheduler.run_forever()
    assert waits == [0.5]
