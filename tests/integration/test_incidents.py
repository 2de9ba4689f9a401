"""Incidents: what runs record of them, one alert when they begin and one when they end."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr
from sqlalchemy import Engine, text

from etl.db import alerts, events, runs
from etl.db.engine import connect_unpooled
from etl.model.alerts import AlertEvent, Incident
from etl.model.dataset import USERS
from etl.model.errors import ConfigurationError, DatasetsFailed, RunCanceled
from etl.model.values import Trigger
from etl.services.alerts.texts import message
from etl.settings import Settings
from etl.sync import incidents
from etl.sync.manager import DataManager
from etl.sync.recording import locked
from etl.sync.run import CurrentRun
from etl.sync.staging import Stager
from tests.conftest import TestBucket
from tests.sample_datasets import ORDERS

GOOD = "order_id,amount\na,1\n"
AN_HOUR = timedelta(hours=1)


@pytest.fixture
def alerted(settings: Settings) -> Settings:
    return settings.model_copy(update={"alert_url": SecretStr("http://127.0.0.1:1/")})


@pytest.fixture
def manager(alerted: Settings) -> DataManager:
    return DataManager(alerted, datasets=(USERS, ORDERS))


@pytest.fixture
def lost(alerted: Settings) -> DataManager:
    """A manager whose source bucket is missing."""
    missing = alerted.model_copy(update={"source_bucket": "missing"})
    return DataManager(missing, datasets=(USERS, ORDERS))


@pytest.fixture
def small_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etl.sync.holds.FLOOR", 1)


def written(engine: Engine) -> list[str]:
    """The alerts in order, each as its event, what it recovers, and its incidents."""
    with engine.connect() as connection:
        found = [alert for alert, _ in alerts.last(connection, 100)]
    return [
        " ".join([(alert.recovers and f"-{alert.recovers}") or alert.event, *names])
        for alert in reversed(found)
        for names in [[":".join(filter(None, (i["dataset"], i["code"]))) for i in alert.incidents]]
    ]


def texts(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return [message(alert)["text"] for alert, _ in reversed(alerts.last(connection, 100))]


def execute(engine: Engine, *written_statements: str) -> None:
    with engine.begin() as connection:
        for statement in written_statements:
            connection.execute(text(statement))


# -- the law

INCIDENTS = [
    Incident(event, dataset, code)
    for event in (AlertEvent.RUN_FAILED, AlertEvent.NEW_PROBLEMS)
    for dataset in ("", "orders")
    for code in ("", "x")
]


@given(st.lists(st.tuples(st.sets(st.sampled_from(INCIDENTS)), st.booleans()), max_size=6))
@hypothesis_settings(max_examples=40)
def test_each_incident_has_an_alert_when_it_begins_and_one_when_it_ends(
    engine: Engine, history: list[tuple[set[Incident], bool]]
):
    """Whatever is found, and whether or not its transaction commits."""
    execute(engine, "DELETE FROM incident", "DELETE FROM alert")
    complete = (AlertEvent.RUN_FAILED, AlertEvent.NEW_PROBLEMS)
    wanted = Counter[tuple[str, str, str, bool]]()
    before: set[Incident] = set()
    for found, commits in history:
        with engine.connect() as connection:
            alerts.settle(connection, found, complete=complete)
            if commits:
                connection.commit()
        if commits:
            wanted.update((one.event, one.dataset, one.code, True) for one in found - before)
            wanted.update((one.event, one.dataset, one.code, False) for one in before - found)
            before = found
    sent = Counter[tuple[str, str, str, bool]]()
    with engine.connect() as connection:
        for alert, _ in alerts.last(connection, 1000):
            event = alert.recovers or alert.event
            sent.update(
                (event, one["dataset"], one["code"], alert.recovers is None)
                for one in alert.incidents
            )
        opened = {(i["event"], i["dataset"], i["code"]) for i in alerts.open_incidents(connection)}
    assert sent == wanted
    assert opened == {(one.event, one.dataset, one.code) for one in before}


def test_processes_that_find_the_same_at_once_write_one_alert(engine: Engine):
    barrier = Barrier(4)
    late = Incident(AlertEvent.LATE)

    def settle(found: list[Incident]) -> None:
        with engine.begin() as connection:
            barrier.wait()
            alerts.settle(connection, found, complete=[AlertEvent.LATE])

    with ThreadPoolExecutor(4) as pool:
        for found in ([late], [], [late]):
            list(pool.map(settle, [found] * 4))
    assert written(engine) == ["late ", "-late ", "late "]


def test_alert_that_is_rolled_back_wakes_no_sender_and_is_not_pending(engine: Engine):
    with engine.connect() as connection:
        alerts.settle(connection, [Incident(AlertEvent.LATE)])
    with engine.connect() as connection:
        assert alerts.pending(connection, 0, 10) == []


# -- failed runs


def test_failing_runs_have_one_alert_and_the_next_success_ends_it(
    manager: DataManager, lost: DataManager, engine: Engine
):
    for _ in range(3):
        with pytest.raises(ConfigurationError):
            lost.run(Trigger.INTERVAL)
    assert written(engine) == ["run-failed "]
    (said,) = texts(engine)
    assert said.startswith("Run 1 failed at ")
    assert "missing" in said
    for _ in range(2):
        manager.run(Trigger.INTERVAL)
    assert written(engine) == ["run-failed ", "-run-failed "]


def test_nothing_is_recorded_without_a_receiver(settings: Settings, engine: Engine):
    with pytest.raises(ConfigurationError):
        DataManager(settings.model_copy(update={"source_bucket": "missing"})).run(Trigger.CLI)
    assert written(engine) == []


def test_failing_dataset_has_its_own_incident(
    manager: DataManager, bucket: TestBucket, engine: Engine
):
    bucket.put("orders/1.csv", GOOD)
    manager.run(Trigger.INTERVAL)
    execute(engine, "ALTER TABLE orders ADD CONSTRAINT few CHECK (amount < 5)")
    bucket.put("orders/2.csv", "order_id,amount\nb,9\n")
    bucket.user("1.csv")
    for _ in range(2):
        with pytest.raises(DatasetsFailed):
            manager.run(Trigger.INTERVAL)
    assert written(engine) == ["run-failed orders"]
    assert "did not commit orders" in texts(engine)[0]
    assert "Committed: users." in texts(engine)[0]
    bucket.remove("orders/2.csv")
    manager.run(Trigger.INTERVAL)
    assert written(engine) == ["run-failed orders", "-run-failed orders"]


def test_failure_of_full_runs_is_not_ended_by_a_run_for_events(
    manager: DataManager, lost: DataManager, engine: Engine, bucket: TestBucket, settings: Settings
):
    manager.run(Trigger.INTERVAL)
    with pytest.raises(ConfigurationError):
        lost.run(Trigger.INTERVAL)
    bucket.user("1.csv")
    notify(engine, settings, "1.csv")
    assert manager.run_events() is not None
    assert written(engine) == ["run-failed "]
    manager.run(Trigger.INTERVAL)
    assert written(engine) == ["run-failed ", "-run-failed "]


def test_failure_of_a_run_for_events_is_ended_by_the_next_of_them(
    manager: DataManager,
    engine: Engine,
    bucket: TestBucket,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
):
    manager.run(Trigger.INTERVAL)
    bucket.user("1.csv")
    notify(engine, settings, "1.csv")
    with monkeypatch.context() as patched:
        patched.setattr(Stager, "stage", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            manager.run_events()
    assert written(engine) == ["run-failed "]
    assert "ZeroDivisionError; the log has the details." in texts(engine)[0]
    manager.run_events()
    assert written(engine) == ["run-failed ", "-run-failed "]


def test_canceled_run_is_no_incident(
    manager: DataManager, engine: Engine, bucket: TestBucket, monkeypatch: pytest.MonkeyPatch
):
    def cancel(*_: object) -> None:
        raise RunCanceled.before_commit()

    bucket.user("1.csv")
    monkeypatch.setattr(Stager, "stage", cancel)
    with pytest.raises(RunCanceled):
        manager.run(Trigger.INTERVAL)
    assert written(engine) == []


def notify(engine: Engine, settings: Settings, key: str) -> None:
    record = {
        "eventName": "s3:ObjectCreated:Put",
        "eventTime": "2026-01-02T03:04:05Z",
        "s3": {
            "bucket": {"name": settings.source_bucket},
            "object": {"key": key, "sequencer": "1"},
        },
    }
    with engine.begin() as connection:
        found = events.parse({"Records": [record]})
        events.store(connection, found, source_bucket=settings.source_bucket)


def test_only_the_second_interrupted_run_in_a_row_is_an_incident(
    alerted: Settings, manager: DataManager, engine: Engine
):
    def interrupt() -> None:
        """A process dies during a run: the requested one, if there is one."""
        with locked(connect_unpooled(alerted), 0, has_alerts=True) as connection:
            if runs.claim_run(connection) is None:
                runs.begin_run(connection, Trigger.INTERVAL)

    for _ in range(2):
        interrupt()
        manager.run_requested()
    assert written(engine) == []
    interrupt()
    interrupt()
    assert written(engine) == []
    with locked(connect_unpooled(alerted), 0, has_alerts=True):
        assert written(engine) == ["run-failed "]
    assert "during the run before it" in texts(engine)[0]
    manager.run(Trigger.INTERVAL)
    assert written(engine) == ["run-failed ", "-run-failed "]


# -- what runs commit


@pytest.mark.usefixtures("small_holds")
def test_hold_has_one_alert_until_it_ends(manager: DataManager, bucket: TestBucket, engine: Engine):
    for number in range(5):
        bucket.user(f"{number}.csv")
    manager.run(Trigger.INTERVAL)
    for number in range(4):
        bucket.remove(f"{number}.csv")
        if number >= 2:
            manager.run(Trigger.INTERVAL)
    assert written(engine) == ["retirement-held users"]
    assert texts(engine)[0].startswith("3 of 5 rows of users would be retired and wait")
    manager.run(Trigger.INTERVAL, allowed_retirements={"users": None})
    assert written(engine) == ["retirement-held users", "-retirement-held users"]


@pytest.mark.usefixtures("small_holds")
def test_run_that_does_not_commit_reports_its_failure_only(
    manager: DataManager, bucket: TestBucket, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    for number in range(5):
        bucket.user(f"{number}.csv")
    manager.run(Trigger.INTERVAL)
    bucket.clear()

    record_commit = incidents.record_commit

    def record_and_fail(run: CurrentRun, *, has_failures: bool) -> None:
        record_commit(run, has_failures=has_failures)
        raise ZeroDivisionError

    monkeypatch.setattr(incidents, "record_commit", record_and_fail)
    with pytest.raises(ZeroDivisionError):
        manager.run(Trigger.INTERVAL)
    assert written(engine) == ["run-failed "]


def test_new_kind_of_problem_has_an_alert_until_the_last_of_it_is_solved(
    manager: DataManager, bucket: TestBucket, engine: Engine
):
    found = []
    for key, content in (
        ("orders/1.csv", GOOD),
        ("orders/2.csv", "order_id,amount\nb,much\n,2\n"),
        ("orders/3.csv", "order_id,amount\nc,few\n"),  # of a known kind
        ("orders/4.csv", "order_id,amount\nd\n"),
        ("orders/2.csv", "order_id,amount\nb,2\n"),  # a not-a-number remains
        ("orders/3.csv", GOOD),
        ("orders/4.csv", GOOD),
    ):
        bucket.put(key, content)
        manager.run(Trigger.INTERVAL)
        found.append(written(engine))
    new = [now[len(before) :] for before, now in zip([[], *found], found, strict=False)]
    assert new == [
        [],
        ["new-problems orders:missing-cell orders:not-a-number"],
        [],
        ["new-problems orders:short-row"],
        ["-new-problems orders:missing-cell"],
        ["-new-problems orders:not-a-number"],
        ["-new-problems orders:short-row"],
    ]
    assert texts(engine)[0].startswith(
        "Run 2 found new kinds of problems: 1 missing-cell and 1 not-a-number in orders."
    )


def test_warning_has_no_alert(manager: DataManager, bucket: TestBucket, engine: Engine):
    bucket.put("orders/1.csv", "order_id,amount\n")  # no-rows
    report = manager.run(Trigger.INTERVAL)
    assert report.counts.problems > 0
    assert written(engine) == []


# -- late


def late(engine: Engine) -> str | None:
    with engine.connect() as connection:
        found = alerts.late(connection, late_after=AN_HOUR, publish_after=2 * AN_HOUR)
        return None if found is None else str(found.facts["reason"])


def test_nothing_is_late_before_the_first_request(engine: Engine):
    assert late(engine) is None


def age(engine: Engine, table: str, column: str, minutes: int) -> None:
    execute(engine, f"UPDATE {table} SET {column} = now() - interval '{minutes} minutes'")


def test_full_run_is_late_an_hour_after_the_last(
    manager: DataManager, lost: DataManager, engine: Engine
):
    manager.run(Trigger.INTERVAL)
    age(engine, "run", "finished_at", 59)
    assert late(engine) is None
    age(engine, "run", "finished_at", 61)
    assert late(engine) == "full-run"
    with pytest.raises(ConfigurationError):
        lost.run(Trigger.INTERVAL)
    assert late(engine) == "full-run"
    manager.run(Trigger.CLI, only=frozenset({"users"}))
    assert late(engine) == "full-run"
    manager.run(Trigger.CLI)
    assert late(engine) is None


def test_first_full_run_is_late_an_hour_after_its_request(engine: Engine, lost: DataManager):
    with pytest.raises(ConfigurationError):
        lost.run(Trigger.INTERVAL)
    assert late(engine) is None
    age(engine, "run", "requested_at", 61)
    assert late(engine) == "full-run"


def test_change_is_late_unless_its_object_was_refused(
    manager: DataManager, engine: Engine, settings: Settings
):
    manager.run(Trigger.INTERVAL)
    notify(engine, settings, "1.csv")
    assert late(engine) is None
    age(engine, "bucket_event", "received_at", 61)
    assert late(engine) == "changes"
    execute(engine, "UPDATE bucket_event SET refused_by_run = 0")
    assert late(engine) is None


def test_output_is_late_after_the_publish_interval(manager: DataManager, engine: Engine):
    manager.run(Trigger.INTERVAL)
    run_id = manager.run(Trigger.INTERVAL).id
    execute(engine, f"UPDATE run SET publish_pending = true WHERE id = {run_id - 1}")
    execute(
        engine,
        "UPDATE run SET finished_at = now() - interval '119 minutes' WHERE publish_pending",
    )
    assert late(engine) is None
    execute(
        engine,
        "UPDATE run SET finished_at = now() - interval '121 minutes' WHERE publish_pending",
    )
    assert late(engine) == "output"
