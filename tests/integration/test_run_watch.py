"""The run reports of `up`, from the run table and through an outage."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, make_url

from etl.cli import run_watch
from etl.cli.run_watch import await_first_run, watching_runs
from etl.model.errors import ConfigurationError
from etl.model.values import RunState, Trigger
from etl.runtime.service import StopEvent
from etl.settings import Settings
from etl.sync.manager import DataManager, utc_now
from tests.brokers import relayed
from tests.conftest import TestBucket, wait_until


def fail(settings: Settings) -> None:
    """Make a run that fails, because it cannot find its bucket."""
    with pytest.raises(ConfigurationError):
        DataManager(settings).run(Trigger.INTERVAL)


def fail_until_reported(settings: Settings, reports: list[str]) -> None:
    """Repeat, because a run that ends before the first check counts as reported."""
    before = len(reports)
    wait_until(lambda: fail(settings) or len(reports) > before)


def test_failed_runs_are_reported_around_a_database_outage(
    settings: Settings, manager: DataManager, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run_watch, "POLL_SECONDS", 0.02)
    reports: list[str] = []
    gone = settings.model_copy(update={"source_bucket": "no-such-bucket"})
    url = make_url(settings.sqlalchemy_url).set(drivername="postgresql")
    with relayed((url.host or "", url.port or 0)) as relay:
        through = url.set(port=relay.port).render_as_string(hide_password=False)
        with watching_runs(
            settings.model_copy(update={"database_url": SecretStr(through)}),
            reports.append,
            lambda _: None,
        ):
            for _ in range(2):
                manager.run(Trigger.CLI)
                fail_until_reported(gone, reports)
                relay.cut()
                relay.restore()
    assert len(reports) == 2
    for line in reports:
        assert "(interval) failed: " in line
        assert "no-such-bucket" in line


def test_runs_that_load_rows_are_printed_and_those_without_changes_are_not(
    settings: Settings, manager: DataManager, bucket: TestBucket, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run_watch, "POLL_SECONDS", 0.02)
    printed: list[str] = []
    warned: list[str] = []
    numbers = iter(range(1000))

    def load() -> int:
        bucket.user(f"{next(numbers)}.csv")
        return manager.run(Trigger.CLI).id

    with watching_runs(settings, warned.append, printed.append):
        # Repeat, because a run that ends before the first check counts as reported.
        wait_until(lambda: load() and printed[-1:] and printed[-1].startswith("Run "))
        idle = manager.run(Trigger.CLI).id
        last = f"Run {load()} (cli): users 1 loaded."
        wait_until(lambda: last in printed)
    assert warned == []
    runs = [line for line in printed if line.startswith("Run ")]
    assert all(line.endswith(" (cli): users 1 loaded.") for line in runs)
    assert not any(line.startswith(f"Run {idle} ") for line in printed)


def test_long_first_run_is_reported_once(
    manager: DataManager, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run_watch, "SLOW_SECONDS", 0)
    reports: list[str] = []
    checks: list[int] = []

    def run_on_fourth_check() -> None:
        checks.append(1)
        if len(checks) == 4:
            manager.run(Trigger.INTERVAL)

    found = await_first_run(
        engine,
        utc_now(),
        stopping=StopEvent(),
        meanwhile=run_on_fourth_check,
        slow=lambda: reports.append("slow"),
    )
    assert found is not None
    assert found.state is RunState.SUCCEEDED
    assert reports == ["slow"]
