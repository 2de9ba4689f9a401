"""`runs`: the list with folded event runs, one run in detail, and canceling one."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from click.testing import Result
from flask.testing import FlaskClient
from sqlalchemy import Engine

from etl.db.runs import request_run
from etl.model.errors import ConfigurationError
from etl.model.values import RunOutcome, RunState, Trigger
from etl.sync.manager import DataManager
from tests.api_client import get, put_run
from tests.conftest import TestBucket
from tests.user_rows import NOW

Command = Callable[..., Result]
COUNTS = {
    "objects_added": 1,
    "objects_modified": 2,
    "objects_removed": 0,
    "rows_read": 30,
    "rows_inserted": 4,
    "rows_updated": 5,
    "rows_restored": 0,
    "rows_retired": 1,
}


def put(
    engine: Engine,
    trigger: Trigger,
    outcome: RunOutcome = RunOutcome.SUCCEEDED,
    **values: object,
) -> int:
    """A run that took a tenth of a second."""
    state = RunState.FAILED if outcome is RunOutcome.FAILED else RunState.SUCCEEDED
    ended = {"finished_at": NOW + timedelta(seconds=0.1), "counts": COUNTS}
    return put_run(engine, trigger=trigger, state=state, outcome=outcome, **{**ended, **values})


def lines(result: Result) -> list[str]:
    assert result.exit_code == 0, result.exception
    return result.stdout.splitlines()


def test_uneventful_event_runs_are_one_line_between_others(engine: Engine, command: Command):
    for trigger in ("event", "interval", "event", "event", "cli", "event"):
        put(engine, Trigger(trigger))
    failed = put(
        engine,
        Trigger.EVENT,
        RunOutcome.FAILED,
        error={"code": "X", "message": "It broke.", "hint": ""},
        counts={},
    )
    heading, *shown = lines(command("runs"))
    assert heading.split()[:3] == ["run", "state", "trigger"]
    assert [line.split("  ")[0].strip() for line in shown] == [
        str(failed),
        "6",
        "5",
        "2 event runs",
        "2",
        "1",
    ]
    assert "0.10 s each" in shown[3]
    assert shown[3].split()[-4:] == ["6", "60", "20", "0"]
    assert "It broke." in shown[0]
    assert len(lines(command("runs", "--all"))) == 8


def test_runs_of_earlier_versions_have_fewer_counters(engine: Engine, command: Command):
    put(engine, Trigger.EVENT, counts={"rows_read": 3})
    put(engine, Trigger.CLI, counts={"objects_listed": 3})
    shown = lines(command("runs"))
    assert shown[2].split()[-4:] == ["0", "3", "0", "0"]
    assert command("runs", "2").exit_code == 0


def test_pages_cover_every_run_once(engine: Engine, command: Command):
    for number in range(9):
        put(engine, Trigger.EVENT if number % 3 else Trigger.CLI)
    first = command("runs", "--limit", "2").stdout
    assert "Older ones: `./run.sh runs --before 4`." in first
    second = command("runs", "--limit", "2", "--before", "4").stdout
    assert "2 event runs" in second
    assert "Older ones" not in second


def test_filters_name_runs_by_state_trigger_and_dataset(
    engine: Engine, command: Command, bucket: TestBucket, manager: DataManager
):
    bucket.user("1.csv")
    changed = manager.run(Trigger.CLI).id
    manager.run(Trigger.REQUEST)
    with engine.begin() as connection:
        requested = request_run(connection, Trigger.REQUEST)

    def ids(*words: str) -> list[int]:
        return [run["id"] for run in json.loads(command("runs", *words, "--json").stdout)]

    assert ids() == [requested, changed + 1, changed]
    assert ids("--trigger", "cli") == [changed]
    assert ids("--state", "requested") == [requested]
    assert ids("--state", "succeeded", "--limit", "1") == [changed + 1]
    assert ids("--dataset", "users") == [changed]
    assert "No run with outcome failed." in command("runs", "--state", "failed").stdout
    assert isinstance(command("runs", "--dataset", "nope").exception, ConfigurationError)


def test_the_json_of_runs_is_that_of_the_api(
    command: Command, bucket: TestBucket, client: FlaskClient
):
    bucket.user("1.csv")
    bucket.put("2.csv", "")
    command("run")
    (listed,) = json.loads(command("runs", "--json").stdout)
    (expected,) = get(client, "/runs")["runs"]
    assert listed.pop("outcome") == "succeeded"
    assert listed == expected
    details = json.loads(command("runs", str(listed["id"]), "--json").stdout)
    one = get(client, f"/runs/{listed['id']}")
    assert details["run"]["counts"] == one["counts"]
    assert details["run"]["step_seconds"] == one["step_seconds"]
    assert all(table["adds_up"] for table in details["sums"])


def test_a_run_shows_its_steps_and_that_its_counts_add_up(
    command: Command, bucket: TestBucket, manager: DataManager
):
    bucket.user("1.csv")
    bucket.user("2.csv")
    manager.run(Trigger.CLI)
    bucket.remove("1.csv")
    bucket.put("3.csv", "first_name,last_name,birthts\nAda,Lovelace,soon\n")
    run = manager.run(Trigger.CLI)
    shown = lines(command("runs", str(run.id)))
    assert shown[0].startswith(f"Run {run.id} succeeded in ")
    assert shown[1].startswith("Run by a command, ")
    assert any(line.split()[:1] == ["merge"] for line in shown)
    assert shown.count("  adds up") == 3
    before = next(line for line in shown if "= after" in line)
    users = shown[shown.index(before) + 1]
    assert users.split() == ["users", "2", "0", "0", "1", "1"]
    assert any("It found 1 problem" in line for line in shown)


def test_a_failed_run_names_its_cause_and_the_run_that_recovered(
    engine: Engine, command: Command, manager: DataManager
):
    failed = put(
        engine,
        Trigger.INTERVAL,
        RunOutcome.FAILED,
        counts={},
        error={"code": "X", "message": "The disk is full.", "hint": "Free it: `./run.sh status`."},
    )
    shown = lines(command("runs", str(failed)))
    assert shown[0] == f"Run {failed} failed after 0.10 s. Nothing was changed."
    assert "  The disk is full." in shown
    assert "  Free it: `./run.sh status`." in shown
    assert not any("Recovered" in line for line in shown)
    later = manager.run(Trigger.CLI)
    shown = lines(command("runs", str(failed)))
    assert any(f"Recovered by run {later.id} at " in line for line in shown)


def test_an_unknown_run_is_refused(command: Command):
    assert isinstance(command("runs", "7").exception, ConfigurationError)
    assert isinstance(command("runs", "cancel", "7").exception, ConfigurationError)
    assert command("runs", "no-such").exit_code == 2


def test_a_requested_run_is_canceled_once(command: Command, engine: Engine):
    with engine.begin() as connection:
        requested = request_run(connection, Trigger.REQUEST)
    assert command("runs", "cancel", str(requested)).stdout == (
        f"Run {requested} is canceled; it had not begun.\n"
    )
    again = command("runs", "cancel", str(requested))
    assert again.exit_code == 3
    assert "had ended before" in again.stderr
    shown = lines(command("runs", str(requested)))
    assert shown[0] == f"Run {requested} was canceled. Nothing was changed."
    (run,) = json.loads(command("runs", "--state", "canceled", "--json").stdout)
    assert run["id"] == requested


@pytest.mark.parametrize("state", ["requested", "running"])
def test_canceling_prints_its_outcome_as_json(command: Command, engine: Engine, state: str):
    run_id = put_run(engine, state=state, started_at=NOW if state == "running" else None)
    found = json.loads(command("runs", "cancel", str(run_id), "--json").stdout)
    assert found == {"id": run_id, "outcome": "canceled" if state == "requested" else "canceling"}
