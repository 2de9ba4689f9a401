"""The scheduler's image worker, with a real database and store."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Engine, text

from etl.db.engine import connect_unpooled
from etl.db.locks import image_lock
from etl.images.indexer import ThumbnailIndexer
from etl.model.errors import ObjectStoreUnavailable
from etl.model.values import SourceFile, SourceObject, Trigger
from etl.services.image_worker import ImageWorker
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.sync.manager import DataManager
from tests.conftest import TestBucket, wait_until
from tests.sample_datasets import ORDERS
from tests.sample_images import plain


@contextmanager
def working(
    settings: Settings, indexer: ThumbnailIndexer | None = None, **seconds: float
) -> Iterator[None]:
    worker = ImageWorker(settings, indexer or ThumbnailIndexer(settings), **seconds)
    thread = threading.Thread(target=worker.run_forever)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(60)
        assert not thread.is_alive()


def count(engine: Engine, state: str = "ready") -> int:
    with engine.connect() as connection:
        statement = text("SELECT count(*) FROM image WHERE state = :state")
        return connection.scalar(statement, {"state": state}) or 0


def cut_connections(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


def test_pending_images_and_those_of_new_runs_are_processed(
    bucket: TestBucket, settings: Settings, engine: Engine, manager: DataManager
):
    bucket.put("a.png", plain())
    manager.run(Trigger.CLI)
    with working(settings):
        wait_until(lambda: count(engine) == 1)
        bucket.put("b.png", plain(50, 50))
        manager.run(Trigger.CLI)
        wait_until(lambda: count(engine) == 2)
        bucket.remove("a.png")
        manager.run(Trigger.CLI)
        wait_until(lambda: count(engine) == 1)


@pytest.mark.usefixtures("settings")
def test_metadata_of_a_dataset_that_is_no_longer_declared_is_removed(
    bucket: TestBucket, settings: Settings, engine: Engine, manager: DataManager
):
    bucket.put("a.png", plain())
    manager.run(Trigger.CLI)
    with working(settings):
        wait_until(lambda: count(engine) == 1)
        DataManager(settings, datasets=[ORDERS]).run(Trigger.CLI)
        wait_until(lambda: count(engine) == 0)


def test_run_without_images_does_not_wake_the_image_worker(
    bucket: TestBucket, settings: Settings, manager: DataManager
):
    engine = connect_unpooled(settings)
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text("LISTEN images_waiting"))
        driver = connection.connection.driver_connection
        assert driver is not None

        def notifications() -> int:
            before_poll = len(driver.notifies)
            driver.poll()
            return max(before_poll, len(driver.notifies))

        bucket.user("1.csv")
        manager.run(Trigger.CLI)
        assert notifications() == 0
        bucket.put("1.png", b"x")
        manager.run(Trigger.CLI)
        wait_until(lambda: notifications() == 1)


def test_a_lost_connection_is_made_again(
    bucket: TestBucket, settings: Settings, engine: Engine, manager: DataManager
):
    with working(settings):
        bucket.put("a.png", plain())
        manager.run(Trigger.CLI)
        wait_until(lambda: count(engine) == 1)
        cut_connections(engine)
        bucket.put("b.png", plain(50, 50))
        manager.run(Trigger.CLI)
        wait_until(lambda: count(engine) == 2)


def test_image_worker_waits_for_an_unavailable_store(
    bucket: TestBucket, settings: Settings, engine: Engine, manager: DataManager
):
    class DownAtFirst(ObjectStore):
        attempts = 0

        def fetch(self, bucket: str, source: SourceObject) -> SourceFile | None:
            self.attempts += 1
            if self.attempts == 1:
                raise ObjectStoreUnavailable("The store is starting.")
            return super().fetch(bucket, source)

    bucket.put("a.png", plain())
    manager.run(Trigger.CLI)
    store = DownAtFirst(settings)
    with working(settings, ThumbnailIndexer(settings, store=store), first_retry_seconds=0.1):
        wait_until(lambda: count(engine) == 1)
    assert store.attempts == 2


def test_unexpected_error_does_not_end_the_image_worker(
    bucket: TestBucket, settings: Settings, engine: Engine, manager: DataManager
):
    class FaultyAtFirst(ObjectStore):
        attempts = 0

        def fetch(self, bucket: str, source: SourceObject) -> SourceFile | None:
            self.attempts += 1
            if self.attempts == 1:
                raise LookupError
            return super().fetch(bucket, source)

    bucket.put("a.png", plain())
    manager.run(Trigger.CLI)
    indexer = ThumbnailIndexer(settings, store=FaultyAtFirst(settings))
    with working(settings, indexer, first_retry_seconds=0.1):
        wait_until(lambda: count(engine) == 1)


def test_image_worker_waits_while_another_is_active(
    bucket: TestBucket, settings: Settings, engine: Engine, manager: DataManager
):
    bucket.put("a.png", plain())
    manager.run(Trigger.CLI)
    with image_lock(connect_unpooled(settings)) as _, working(settings, busy_retry_seconds=0.1):
        assert count(engine) == 0
    with working(settings):
        wait_until(lambda: count(engine) == 1)
