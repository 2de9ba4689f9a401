"""The debounce window of a burst of events."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from sqlalchemy import Connection, Engine, text

from etl.db import events
from etl.services.scheduler import BURST, MOST_GATHERS, Scheduler
from etl.settings import Settings
from etl.sync.manager import DataManager


class Bursting(Scheduler):
    """Events come in whenever it waits, so many each time, and none after the last."""

    def __init__(self, settings: Settings, engine: Engine, coming: Sequence[int]) -> None:
        super().__init__(settings, DataManager(settings))
        self._source, self._database = settings.source_bucket, engine
        self._coming = list(coming)
        self.waits = 0

    def _wait(self, seconds: float, connection: Connection | None = None) -> None:
        assert seconds <= self._settings.event_gather.total_seconds()
        assert connection is None
        self.waits += 1
        count = self._coming.pop(0) if self._coming else 0
        records = [record(self._source, f"{self.waits}/{number}.csv") for number in range(count)]
        told = events.parse(json.dumps({"Records": records}).encode())
        with self._database.begin() as writing:
            events.store(writing, told, source_bucket=self._source)


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
        ([BURST] * 99, MOST_GATHERS),
    ],
    ids=["nothing more", "few", "a short burst", "a long one", "one without end"],
)
def test_burst_is_debounced_while_events_keep_arriving(
    settings: Settings, engine: Engine, coming: list[int], waits: int
):
    scheduler = Bursting(settings, engine, coming)
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(text(f"LISTEN {events.CHANNEL}"))
        scheduler._gather(connection)  # noqa: SLF001 - what decides when a run begins
    assert scheduler.waits == waits
