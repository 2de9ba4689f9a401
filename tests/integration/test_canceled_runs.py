"""Canceling a run: one that is requested, one that reads, and one that is about to commit."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import Engine, text

from etl.db import active_runs, runs
from etl.db.active_runs import Canceled
from etl.model.errors import RunCanceled
from etl.model.values import RunState, Trigger
from etl.runtime.service import in_thread
from etl.services.scheduler import Scheduler
from etl.settings import Settings
from etl.sync.manager import DataManager
from tests.conftest import TestBucket, wait_until


def cancel(engine: Engine, run_id: int) -> Canceled:
    with engine.begin() as connection:
        return active_runs.cancel(connection, run_id)


def row(engine: Engine, run_id: int) -> dict[str, object]:
    with engine.connect() as connection:
        found = connection.execute(text("SELECT * FROM run WHERE id = :id"), {"id": run_id})
        return dict(found.mappings().one())


def count(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        return connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0


def active(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.scalar(text("SELECT id FROM run WHERE state = 'running'")) or 0


def test_a_requested_run_never_begins(bucket: TestBucket, manager: DataManager, engine: Engine):
    bucket.user("1.csv")
    with engine.begin() as connection:
        run_id = runs.request_run(connection, Trigger.REQUEST)
    assert cancel(engine, run_id) is Canceled.CANCELED
    assert manager.run_requested() is None
    found = row(engine, run_id)
    assert (found["state"], found["error"]["code"]) == ("failed", "RunCanceled")
    assert count(engine, "users") == 0


@pytest.mark.parametrize("step", ["list", "read"])
def test_an_active_run_ends_and_changes_nothing(
    step: str,
    bucket: TestBucket,
    settings: Settings,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("etl.sync.progress.INTERVAL_SECONDS", 0)
    bucket.user("1.csv")
    steps: list[str] = []
    outcomes: list[Canceled] = []

    def at_step(name: str, _done: int) -> None:
        steps.append(name)
        if name == step:
            outcomes.append(cancel(engine, active(engine)))

    with pytest.raises(RunCanceled, match="before it committed"):
        DataManager(settings, progress=at_step).run(Trigger.CLI)
    assert outcomes == [Canceled.CANCELING]
    assert steps[-1] == step  # it did nothing afterwards
    assert count(engine, "users") == 0
    assert DataManager(settings).run(Trigger.CLI).counts.users_inserted == 1


def test_a_run_that_records_no_progress_is_canceled_when_it_commits(
    bucket: TestBucket, settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("etl.sync.progress.INTERVAL_SECONDS", 3_600)
    bucket.user("1.csv")
    todo = [lambda: cancel(engine, active(engine))]
    manager = DataManager(settings, progress=lambda *_: todo and todo.pop()())
    with pytest.raises(RunCanceled):
        manager.run(Trigger.CLI)
    assert count(engine, "users") == 0
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT state FROM run")) == "failed"


def test_a_run_that_commits_is_not_canceled(
    bucket: TestBucket, settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    """The request waits for the row of the run, and finds it ended."""
    bucket.user("1.csv")
    outcomes: list[Canceled] = []
    threads = []
    complete = runs.complete_run

    def completing(*args: object, **kwargs: object) -> None:
        complete(*args, **kwargs)
        run_id = active(engine)
        thread = threading.Thread(target=lambda: outcomes.append(cancel(engine, run_id)))
        thread.start()
        threads.append(thread)

    monkeypatch.setattr(runs, "complete_run", completing)
    assert DataManager(settings).run(Trigger.CLI).state is RunState.SUCCEEDED
    for thread in threads:
        thread.join()
    assert outcomes == [Canceled.ENDED]
    assert count(engine, "users") == 1


def test_a_run_that_ended_or_never_was_cannot_be_canceled(manager: DataManager, engine: Engine):
    run = manager.run(Trigger.CLI)
    assert cancel(engine, run.id) is Canceled.ENDED
    assert cancel(engine, run.id + 1) is Canceled.UNKNOWN
    assert row(engine, run.id)["cancel_requested_at"] is None


def test_the_progress_of_a_run_is_recorded_by_step(
    bucket: TestBucket, settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("etl.sync.progress.INTERVAL_SECONDS", 0)
    for number in range(3):
        bucket.user(f"{number}.csv")
    seen = []

    def look(_step: str, _done: int) -> None:
        """What was recorded of the report before this one."""
        seen.append(row(engine, active(engine))["progress"])

    run = DataManager(settings, progress=look).run(Trigger.CLI)
    assert seen == [None, {"step": "list", "done": 3, "total": None}]
    assert row(engine, run.id)["progress"] == {"step": "read", "done": 3, "total": 3}


def test_a_run_that_ends_within_the_interval_records_nothing(
    bucket: TestBucket, manager: DataManager, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("etl.sync.progress.INTERVAL_SECONDS", 3_600)
    bucket.user("1.csv")
    assert row(engine, manager.run(Trigger.CLI).id)["progress"] is None


def test_a_scheduler_goes_on_after_a_canceled_run(
    bucket: TestBucket, settings: Settings, engine: Engine
):
    bucket.user("1.csv")
    todo = [lambda: cancel(engine, active(engine))]
    manager = DataManager(settings, progress=lambda *_: todo and todo.pop()())
    scheduler = Scheduler(settings, manager)
    with in_thread(scheduler, "scheduler"):
        wait_until(lambda: count(engine, "run WHERE outcome = 'canceled'"))
        with engine.begin() as connection:
            runs.request_run(connection, Trigger.REQUEST)
        wait_until(lambda: count(engine, "users"))
    assert count(engine, "run WHERE outcome = 'canceled'") == 1
