"""The run reports of `up`: each failure once, each long wait once, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from etl.cli.run_watch import LONG_WAIT, RunNews, RunRow, StateNews
from etl.model.errors import EtlError, ListingOutOfOrder, ObjectStoreUnavailable, RunCanceled
from etl.model.values import RunState

NOW = datetime(2026, 1, 2, tzinfo=UTC)
REFUSED = ListingOutOfOrder("The store lists b before a.")
DOWN = ObjectStoreUnavailable("Could not list.")


def run(number: int, state: RunState = RunState.SUCCEEDED, error: EtlError | None = None) -> RunRow:
    return RunRow(
        number, "interval", state, error.as_dict() if error else None, NOW - LONG_WAIT * 2
    )


def failed(number: int, error: EtlError) -> RunRow:
    return run(number, RunState.FAILED, error)


@pytest.mark.parametrize(("error", "how"), [(REFUSED, "was refused"), (DOWN, "failed")])
def test_a_failure_is_one_line_with_its_hint(error: EtlError, how: str):
    news = RunNews([run(1)])
    (line,) = news.lines([failed(2, error), run(1)], NOW)
    assert line == f"Run 2 (interval) {how}: {error.message} {error.hint}"
    assert news.lines([failed(2, error), run(1)], NOW) == []


def test_a_canceled_run_has_not_failed():
    (line,) = RunNews([]).lines([failed(1, RunCanceled.before_commit())], NOW)
    assert line.startswith("Run 1 (interval): The run was canceled before it committed. ")


def test_earlier_failure_is_not_reported():
    assert RunNews([failed(1, DOWN)]).lines([failed(1, DOWN)], NOW) == []


def test_repeated_failure_is_reported_again_only_after_a_success():
    news = RunNews([])
    runs = [failed(1, REFUSED)]
    assert len(news.lines(runs, NOW)) == 1
    runs.append(failed(2, REFUSED))
    assert news.lines(runs, NOW) == []
    runs.append(failed(3, DOWN))
    assert len(news.lines(runs, NOW)) == 1
    runs += [run(4), failed(5, DOWN)]
    assert len(news.lines(runs, NOW)) == 1


def test_failure_of_a_run_requested_earlier_is_reported():
    news = RunNews([run(1, RunState.REQUESTED), run(2)])
    assert len(news.lines([failed(1, DOWN), run(2)], NOW)) == 1


def test_a_run_that_could_not_be_published_has_not_failed():
    assert RunNews([]).lines([run(1, RunState.SUCCEEDED, DOWN)], NOW) == []


def test_long_wait_for_another_run_is_reported_once():
    news = RunNews([])
    runs = [run(1, RunState.RUNNING), run(2, RunState.REQUESTED)]
    (line,) = news.lines(runs, NOW)
    assert line.startswith("Run 2 has to wait: run 1 (interval) is active.")
    assert news.lines(runs, NOW) == []


@pytest.mark.parametrize(
    ("runs", "now"),
    [
        ([run(2, RunState.REQUESTED)], NOW),
        ([run(1, RunState.RUNNING)], NOW),
        (
            [run(1, RunState.RUNNING), run(2, RunState.REQUESTED)],
            NOW - LONG_WAIT - timedelta(seconds=1),
        ),
    ],
    ids=["no active run", "no waiting run", "short wait"],
)
def test_other_waits_are_not_reported(runs: list[RunRow], now: datetime):
    assert RunNews([]).lines(runs, now) == []


def test_a_hold_is_reported_when_it_opens_and_not_when_it_grows():
    news = StateNews()
    hold = {"dataset": "orders", "rows": 200, "live": 200, "objects": 1}
    (line,) = news.lines([hold], None)
    assert line.startswith("Held: 200 rows of orders")
    assert "--allow-mass-retirement orders" in line
    assert news.lines([hold | {"rows": 201}], None) == []
    assert news.lines([], None) == []
    assert len(news.lines([hold], None)) == 1


def test_each_faulty_version_of_the_datasets_file_is_reported_until_it_is_valid_again():
    news = StateNews()
    fault = {"message": "datasets.toml has 2 faults.\nline 1.\nline 2.", "hint": "Correct it."}
    gone = {"message": "datasets.toml is gone.", "hint": "Restore it."}
    assert news.lines([], None) == []
    expected = ["datasets.toml has 2 faults.", "line 1.", "line 2.", "Correct it."]
    assert news.lines([], fault) == expected
    assert news.lines([], fault) == []
    assert news.lines([], gone) == ["datasets.toml is gone. Restore it."]
    assert news.lines([], None) == ["The datasets file is valid again, and runs use it."]
    assert news.lines([], None) == []
