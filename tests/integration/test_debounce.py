"""The debounce window of events, and of a burst of them."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Sequence

import pytest
from sqlalchemy import Connection, Engine, text

from etl.db import events
from etl.db.engine import connect_unpooled
from etl.db.locks import run_lock
from etl.runtime.service import StopEvent
from etl.services.scheduler import BURST, MAX_DEBOUNCE_WINDOWS, Scheduler
from etl.settings import Settings
from etl.sync.manager import DataManager


class Bursting(StopEvent):
    """Events that arrive during each wait: a number per wait, and none after the last."""

    def __init__(self, settings: Settings, engine: Engine, coming: Sequence[int]) -> None:
        super().__init__()
        self._source, self._database = settings.source_bucket, engine
        self._window = settings.event_gather.total_seconds()
        self._coming = list(coming)
        self.waits = 0

    def wait(self, seconds: float, *sources: object) -> bool:
        assert seconds == self._window
        assert not sources
        self.waits += 1
        count = self._coming.pop(0) if self._coming else 0
        records = [record(self._source, f"{self.waits}/{number}.csv") for number in range(count)]
        parsed = events.parse(json.dumps({"Records": records}).encode())
        with self._database.begin() as writing:
            events.store(writing, parsed, source_bucket=self._source)
        return False


def record(bucket: str, key: str) -> dict[str, object]:
    thing = {"bucket": {"name": bucket}, "object": {"key": key, "sequencer": "1"}}
    return {"eventName": "s3:ObjectCreated:Put", "s3": thing}


@pytest.mark.parametrize(
    ("coming", "waits"),
    [
        ([], 1),
        ([BURST - 1, BURST], 1),
        ([BURST, BURST - 1, BURST], 2),
        ([BURST] * 5, 6),
        ([BURST] * 99, MAX_DEBOUNCE_WINDOWS),
    ],
    ids=["nothing more", "few", "a short burst", "a long one", "one without end"],
)
def test_burst_is_debounced_while_events_keep_arriving(
    settings: Settings, engine: Engine, coming: list[int], waits: int
):
    scheduler = Scheduler(settings, DataManager(settings))
    scheduler.stopping = bursting = Bursting(settings, engine, coming)
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text(f"LISTEN {events.CHANNEL}"))
        scheduler.debounce(connection)
    assert bursting.waits == waits


def test_events_wake_a_scheduler_that_has_not_worked_yet(settings: Settings, engine: Engine):
    """Another one makes the runs."""
    noticed: list[str] = []

    class Watched(Scheduler):
        def debounce(self, _connection: Connection) -> None:
            noticed.append("debounced")
            self.stop()

        def handle_failure(self, error: Exception) -> float:
            noticed.append(repr(error))
            return 0.1

    with run_lock(connect_unpooled(settings)):
        scheduler = Watched(settings, DataManager(settings))
        thread = threading.Thread(target=scheduler.run_forever)
        thread.start()
        while not noticed:
            announce(settings, engine)
            scheduler.stopping.wait(0.1)
        scheduler.stop()
        thread.join()
    assert set(noticed) == {"debounced"}


def announce(settings: Settings, engine: Engine) -> None:
    made = record(settings.source_bucket, f"{uuid.uuid4()}.csv")
    with engine.begin() as connection:
        parsed = events.parse(json.dumps({"Records": [made]}).encode())
        events.store(connection, parsed, source_bucket=settings.source_bucket)
