"""The sender of alerts: each arrives once, whatever happens to receiver, database and process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from etl.db import alerts
from etl.model.alerts import AlertEvent, Incident
from etl.model.errors import DatabaseUnavailable
from etl.model.values import RunReport, Trigger
from etl.runtime.service import ServiceLoop
from etl.services.alerts import sender as senders
from etl.services.alerts.receiver import Receiver
from etl.services.alerts.sender import AlertSender
from etl.services.alerts.unrecorded import UnrecordedFailures
from etl.services.scheduler import Retries, Scheduler
from etl.settings import Settings
from etl.sync.manager import DataManager
from tests.alert_receivers import HANG, OK, AlertReceiver, receiving
from tests.api_client import terminate_others
from tests.conftest import wait_until
from tests.gates import gated

SHORT = {"poll_seconds": 0.05, "first_retry_seconds": 0.01, "start_seconds": 0.0}


@contextmanager
def in_threads(*loops: ServiceLoop) -> Iterator[None]:
    threads = [threading.Thread(target=one.run_forever) for one in loops]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for one in loops:
            one.stop()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)


def sender(
    settings: Settings,
    receiver: AlertReceiver,
    unrecorded: UnrecordedFailures | None = None,
    *,
    response_seconds: float = 10,
    **seconds: float,
) -> AlertSender:
    return AlertSender(
        receiver.of(settings),
        Receiver(receiver.url, response_seconds=response_seconds),
        unrecorded or UnrecordedFailures(),
        **(SHORT | seconds),
    )


@contextmanager
def sending(settings: Settings, receiver: AlertReceiver, **seconds: float) -> Iterator[None]:
    with in_threads(sender(settings, receiver, **seconds)):
        yield


def fail(engine: Engine, dataset: str) -> None:
    """Open an incident of this dataset, with an alert."""
    facts = {"error": {"message": "It failed.", "hint": ""}}
    with engine.begin() as connection:
        alerts.settle(connection, [Incident(AlertEvent.RUN_FAILED, dataset, facts=facts)], run_id=1)


def unsent(engine: Engine) -> int:
    with engine.connect() as connection:
        return len(alerts.pending(connection, 0, 1000))


def datasets(receiver: AlertReceiver) -> list[str]:
    return [one["incidents"][0]["dataset"] for one in receiver.alerts]


def test_alerts_arrive_once_in_order(settings: Settings, engine: Engine):
    names = [f"d{number}" for number in range(senders.PAGE + 5)]
    for name in names[:-1]:
        fail(engine, name)
    with receiving() as receiver, sending(settings, receiver, poll_seconds=60):
        wait_until(lambda: len(receiver.accepted) == len(names) - 1)
        fail(engine, names[-1])  # of which the sender is notified
        wait_until(lambda: len(receiver.accepted) == len(names))
    assert datasets(receiver) == names
    assert len({one["id"] for one in receiver.alerts}) == len(names)
    assert unsent(engine) == 0


@pytest.mark.parametrize("answer", [500, 429, 302, HANG])
def test_alerts_arrive_once_after_the_receiver_fails(
    settings: Settings, engine: Engine, answer: int
):
    for name in "abc":
        fail(engine, name)
    receiver = AlertReceiver(answer=lambda number: answer if number <= 2 else OK)
    with receiving(receiver), sending(settings, receiver, response_seconds=0.2):
        wait_until(lambda: len(receiver.accepted) == 3)
        wait_until(lambda: unsent(engine) == 0)
    assert sorted(datasets(receiver)) == ["a", "b", "c"]
    assert len(receiver.arrived) == 5


@given(
    st.lists(st.sampled_from([OK, OK, 500, 404, 302]), max_size=12),
    st.integers(min_value=1, max_value=5),
)
@hypothesis_settings(max_examples=10)
def test_each_alert_is_accepted_once_whatever_the_receiver_answers(
    settings: Settings, engine: Engine, answers: list[int], count: int
):
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM incident"))
    names = [f"d{number}" for number in range(count)]
    for name in names:
        fail(engine, name)
    receiver = AlertReceiver(answer=lambda number: [*answers, OK][min(number - 1, len(answers))])
    with receiving(receiver), sending(settings, receiver):
        wait_until(lambda: unsent(engine) == 0)
    assert sorted(datasets(receiver)) == names
    if not {404, 302} & set(answers):
        assert datasets(receiver) == names


def test_alerts_arrive_once_after_the_receiver_was_down(settings: Settings, engine: Engine):
    receiver = AlertReceiver()
    with receiving(receiver):
        pass
    with sending(settings, receiver):
        for name in "abc":
            fail(engine, name)
        wait_until(lambda: is_true(engine, "SELECT max(attempts) >= 3 FROM alert"))
        assert receiver.arrived == []
        with receiving(receiver):
            wait_until(lambda: unsent(engine) == 0)
        assert datasets(receiver) == ["a", "b", "c"]


def is_true(engine: Engine, question: str) -> bool:
    with engine.connect() as connection:
        return bool(connection.scalar(text(question)))


def test_rejected_alert_delays_no_other_and_is_retried(settings: Settings, engine: Engine):
    has_changed = threading.Event()
    receiver = AlertReceiver()

    def answer(_number: int) -> int:
        name = receiver.arrived[-1].alert["incidents"][0]["dataset"]
        return 400 if name == "bad" and not has_changed.is_set() else OK

    receiver.answer = answer
    fail(engine, "bad")
    with receiving(receiver), sending(settings, receiver):
        for name in "abc":
            fail(engine, name)
        wait_until(lambda: datasets(receiver) == ["a", "b", "c"])
        has_changed.set()
        wait_until(lambda: unsent(engine) == 0)
    assert datasets(receiver) == ["a", "b", "c", "bad"]


def test_several_senders_send_each_alert_once(settings: Settings, engine: Engine):
    with receiving() as receiver:
        several = [sender(settings, receiver) for _ in range(3)]
        with in_threads(*several):
            for number in range(20):
                fail(engine, f"d{number}")
            wait_until(lambda: unsent(engine) == 0)
    assert datasets(receiver) == [f"d{number}" for number in range(20)]


def test_another_sender_takes_over(settings: Settings, engine: Engine):
    with receiving() as receiver, ExitStack() as others:
        with sending(settings, receiver):
            fail(engine, "a")
            wait_until(lambda: unsent(engine) == 0)
            others.enter_context(sending(settings, receiver))
            terminate_others(engine)  # one of them gets the lock
            fail(engine, "b")
            wait_until(lambda: unsent(engine) == 0)
        fail(engine, "c")
        wait_until(lambda: unsent(engine) == 0)
    assert datasets(receiver) == ["a", "b", "c"]


def test_alert_that_nothing_accepts_for_a_day_is_given_up(settings: Settings, engine: Engine):
    fail(engine, "old")
    with engine.begin() as connection:
        connection.execute(text("UPDATE alert SET created_at = now() - interval '25 hours'"))
    fail(engine, "new")
    with receiving() as receiver, sending(settings, receiver):
        wait_until(lambda: unsent(engine) == 0)
    assert datasets(receiver) == ["new"]
    assert is_true(engine, "SELECT count(*) = 1 FROM alert WHERE given_up_at IS NOT NULL")


def test_late_run_has_one_alert_and_the_next_run_ends_it(
    settings: Settings, engine: Engine, manager: DataManager
):
    manager.run(Trigger.INTERVAL)
    with engine.begin() as connection:
        connection.execute(text("UPDATE run SET finished_at = now() - interval '2 hours'"))
    with receiving() as receiver, sending(settings, receiver), sending(settings, receiver):
        wait_until(lambda: receiver.events == ["late"])
        manager.run(Trigger.INTERVAL)
        wait_until(lambda: len(receiver.accepted) == 2)
    assert receiver.events == ["late", "recovered"]
    assert receiver.alerts[1]["recovers"] == "late"
    assert receiver.alerts[0]["text"].startswith("No full run has succeeded since ")


def test_nothing_is_late_while_the_first_run_after_a_break_may_still_be_made(
    settings: Settings, engine: Engine, manager: DataManager
):
    manager.run(Trigger.INTERVAL)
    with engine.begin() as connection:
        connection.execute(text("UPDATE run SET finished_at = now() - interval '2 hours'"))
    with receiving() as receiver, sending(settings, receiver, start_seconds=3600):
        fail(engine, "a")
        wait_until(lambda: unsent(engine) == 0)
    assert receiver.events == ["run-failed"]


# -- outages of the database


@contextmanager
def scheduling(
    settings: Settings,
    receiver: AlertReceiver,
    unrecorded: UnrecordedFailures,
    manager: DataManager | None = None,
) -> Iterator[None]:
    """The scheduler and its sender, as in one process."""
    own = receiver.of(settings)
    scheduler = Scheduler(
        own,
        manager or DataManager(own),
        retries=Retries(0.05),
        poll_seconds=0.05,
        unrecorded=unrecorded,
    )
    with in_threads(scheduler, sender(settings, receiver, unrecorded)):
        yield


def test_outage_of_the_database_has_one_alert_and_its_end_another(
    settings: Settings, engine: Engine
):
    """Without the database, and while the receiver is down as well."""
    unrecorded = UnrecordedFailures(grace_seconds=0)
    receiver = AlertReceiver()
    with receiving(receiver):
        pass
    with gated(settings) as (gate, through), scheduling(through, receiver, unrecorded):
        wait_until(
            lambda: is_true(engine, "SELECT count(*) > 0 FROM run WHERE state = 'succeeded'")
        )
        gate.close()
        wait_until(lambda: unrecorded.next() is not None)
        with receiving(receiver):
            wait_until(lambda: len(receiver.accepted) == 1)
            gate.open()
            wait_until(lambda: len(receiver.accepted) == 2)
    assert receiver.events == ["run-failed", "recovered"]
    first, second = receiver.alerts
    assert "PostgreSQL is not available." in first["text"]
    assert second["recovers"] == "run-failed"
    assert is_true(engine, "SELECT count(*) = 0 FROM alert")


class Failing(DataManager):
    """Each run fails until the test says otherwise, as if its tables were on a full disk."""

    attempts = 0
    is_full = True
    is_recorded = False

    def run_requested(self, *, wait_seconds: float = 0) -> RunReport | None:
        self.attempts += 1
        if self.is_full:
            error = DatabaseUnavailable("PostgreSQL is not available: the disk is full")
            if self.is_recorded:
                self.recorded.append(error)
            raise error
        return super().run_requested(wait_seconds=wait_seconds)


def test_failure_that_no_run_could_record_has_one_alert_though_the_database_answers(
    settings: Settings,
):
    unrecorded = UnrecordedFailures(grace_seconds=0)
    with receiving() as receiver:
        manager = Failing(receiver.of(settings))
        with scheduling(settings, receiver, unrecorded, manager):
            wait_until(lambda: manager.attempts >= 3)
            wait_until(lambda: receiver.events == ["run-failed"])
            manager.is_full = False
            wait_until(lambda: len(receiver.accepted) == 2)
    assert receiver.events == ["run-failed", "recovered"]


def test_failure_that_its_run_has_recorded_is_not_reported_twice(
    settings: Settings, engine: Engine
):
    unrecorded = UnrecordedFailures(grace_seconds=0)
    with receiving() as receiver:
        manager = Failing(receiver.of(settings))
        manager.is_recorded = True
        with scheduling(settings, receiver, unrecorded, manager):
            wait_until(lambda: manager.attempts >= 3)
            fail(engine, "orders")  # by such a run
            wait_until(lambda: unsent(engine) == 0)
    assert datasets(receiver) == ["orders"]
    assert unrecorded.next() is None
