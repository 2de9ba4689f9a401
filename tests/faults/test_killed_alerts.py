"""Alerts and processes that are killed: none is lost, and one that is sent again is recognized."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from etl.db import alerts
from etl.model.alerts import AlertEvent, Incident
from etl.model.values import Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from etl.sync.merge import THRESHOLDS
from tests.alert_receivers import HANG, OK, AlertReceiver, receiving
from tests.conftest import TestBucket, wait_until
from tests.killed_runs import Job, Moment, Work, run_in_process
from tests.processes import start

FLOOR = 1


@pytest.fixture
def receiver() -> Iterator[AlertReceiver]:
    with receiving() as receiver:
        yield receiver


def is_true(engine: Engine, question: str) -> bool:
    with engine.connect() as connection:
        return bool(connection.scalar(text(question)))


def test_sender_killed_before_it_has_the_answer_sends_the_alert_again(
    settings: Settings, engine: Engine, receiver: AlertReceiver
):
    with engine.begin() as connection:
        facts = {"error": {"message": "It failed.", "hint": ""}}
        orders = Incident(AlertEvent.RUN_FAILED, "orders", facts=facts)
        alerts.settle(connection, [orders], run_id=1)
    first = start(receiver.of(settings), "schedule", stderr=subprocess.DEVNULL)
    receiver.answer = lambda number: HANG if number == 1 else OK
    receiver.on_arrival = first.kill
    with first:
        first.wait(60)
    receiver.on_arrival = lambda: None
    with start(receiver.of(settings), "schedule", stderr=subprocess.DEVNULL) as second:
        try:
            wait_until(
                lambda: is_true(engine, "SELECT count(*) = 2 FROM alert WHERE sent_at > 'epoch'")
            )
        finally:
            second.kill()
    # The first full run ends the incident.
    assert [one.alert["event"] for one in receiver.arrived] == ["run-failed"] * 2 + ["recovered"]
    assert len({one.alert["id"] for one in receiver.arrived}) == 2
    assert receiver.events == ["run-failed", "recovered"]


def written(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return [str(alert.event) for alert, _ in reversed(alerts.last(connection, 1000))]


class Holds:
    """Runs that hold three of four users, each in a process that may be killed."""

    def __init__(self, settings: Settings, bucket: TestBucket, notes: Path) -> None:
        self._bucket, self._notes = bucket, notes
        self._manager = DataManager(settings)
        self._job = Job(Work.FULL, settings, None, THRESHOLDS, FLOOR)
        self._put_all()

    def make(self, moment: Moment | None = None) -> int:
        """Hold them, then end the hold; return how many operations the first run made."""
        for number in range(3):
            self._bucket.remove(f"{number}.csv")
        ended = run_in_process(self._job, self._notes, moment)
        assert ended.was_killed == (moment is not None)
        # PostgreSQL ends the session of the killed run, and its lock, with a delay.
        self._manager.run(Trigger.CLI, wait_seconds=60)
        self._put_all()
        return ended.operations

    def _put_all(self) -> None:
        for number in range(4):
            self._bucket.user(f"{number}.csv")
        self._manager.run(Trigger.CLI)


@pytest.fixture
def holds(
    settings: Settings,
    bucket: TestBucket,
    receiver: AlertReceiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Holds:
    monkeypatch.setattr("etl.sync.holds.FLOOR", FLOOR)
    return Holds(receiver.of(settings), bucket, tmp_path / "notes")


def test_run_killed_around_its_commit_has_one_alert_after_the_next(holds: Holds, engine: Engine):
    last = holds.make()
    moments = [Moment(last - back) for back in (3, 1)]
    for moment in moments:
        holds.make(moment)
    assert written(engine) == ["retirement-held", "recovered"] * (1 + len(moments))


@pytest.mark.long
def test_run_killed_at_any_moment_has_one_alert_after_the_next(holds: Holds, engine: Engine):
    operations = range(0, holds.make(), 4)
    for operation in operations:
        holds.make(Moment(operation))
    assert written(engine) == ["retirement-held", "recovered"] * (1 + len(operations))
