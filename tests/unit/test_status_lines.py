"""What `status` prints: the overview first, then what it has not said, within 80 columns."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console

from etl.cli import status_lines
from etl.cli.common import print_lines
from etl.model.overview import overview
from etl.model.snapshot import (
    DatasetFacts,
    FaultyObject,
    FileFault,
    HoldFacts,
    RunFailure,
    Snapshot,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FACTS = {
    "users": {"live": 60, "with_image": 46, "retired": 0, "shadowed_rows": 1, "objects": 107},
    "objects": {"known": 108, "data": 59, "image": 48, "other": 1, "quarantined": 3},
    "images": {"ready": 46, "corrupt": 1, "too_large": 0, "unsupported": 0, "waiting": 1},
    "problems": {"empty-file": 1, "not-an-integer": 2},
    "datasets": {},
    "runs": [],
    "output": None,
}
HEALTHY = Snapshot(
    now=NOW,
    bucket="src-data",
    datasets=(DatasetFacts("users", rows=60, objects=107, errors=2, warnings=1, changed_at=NOW),),
    last_commit_at=NOW,
    due_at=NOW + timedelta(minutes=25),
)
RUN = {
    "id": 1_234_567,
    "trigger": "interval",
    "state": "succeeded",
    "error": None,
    "started_at": NOW,
    "counts": {"rows_read": 12_345, "rows_loaded": 5, "rows_rejected": 0, "rows_retired": 80},
}


def lines(facts: dict[str, Any] = FACTS, found: Snapshot = HEALTHY) -> list[str]:
    text = io.StringIO()
    console = Console(file=text, width=80, highlight=False)
    print_lines(console, status_lines.status(facts, overview(found)))
    return text.getvalue().splitlines()


def test_the_sentence_comes_first_and_the_datasets_after_it():
    first, second, gap, heading, users, *_ = lines()
    assert first == "All in sync since 03:04 UTC."
    assert second.endswith("Nothing needs attention. Next full run in 25 min, at 03:29 UTC.")
    assert gap == ""
    assert heading.split() == [
        "dataset",
        "state",
        "rows",
        "objects",
        "errors",
        "warnings",
        "lag",
        "last",
        "change",
    ]
    assert users.split() == [
        "users",
        "In",
        "sync",
        "60",
        "107",
        "2",
        "1",
        "0",
        "s",
        "03:04:05",
        "UTC",
    ]


def test_what_the_overview_does_not_say_follows_in_words():
    shown = lines()
    assert "users    46 with an image; 0 retired, 1 shadowed" in shown
    assert "objects  108 known = 59 data + 48 image + 1 other; 3 quarantined" in shown
    assert "images   46 ready, 1 corrupt, 0 too large, 0 unsupported, 1 waiting" in shown
    assert any(
        line.startswith("problems 3 open (`./run.sh problems` explains each): 1 empty-file")
        for line in shown
    )
    assert "output   not published yet" in shown


def test_lines_have_no_trailing_spaces():
    shown = lines(FACTS | {"runs": [RUN]})
    assert any("succeeded" in line for line in shown)
    assert [line for line in shown if line != line.rstrip()] == []


def test_runs_show_the_rows_that_they_retired_within_80_columns():
    *_, heading, line = lines(FACTS | {"runs": [RUN]})
    assert heading.split()[-4:] == ["read", "loaded", "rejected", "retired"]
    assert line.split()[-4:] == ["12345", "5", "0", "80"]


def test_a_missing_table_is_named():
    orders = {"missing": ["orders"], "live": 0, "shadowed": 0, "objects": 3, "problems": 0}
    shown = lines(FACTS | {"users": None, "datasets": {"orders": orders}})
    assert "orders   orders is missing; 0 shadowed" in shown


def test_a_hold_shows_how_to_allow_it():
    hold = HoldFacts("users", 7, NOW, rows=40, live=60, objects=1)
    shown = lines(found=replace(HEALTHY, holds=(hold,)))
    assert shown[0] == "40 retirements of users are held."
    place = shown.index("Needs attention: 1")
    assert shown[place + 1] == (
        "  Held   users: 40 of 60 rows would be retired: 1 object is gone or lost rows,"
        " since 03:04 UTC"
    )
    assert "--allow-mass-retirement users" in shown[place + 2]


def test_the_reasons_of_several_datasets_are_on_lines_of_their_own():
    failure = RunFailure(7, NOW, "a is in use.\nb is in use.\nCommitted: c.", "Wait.", ("a", "b"))
    shown = lines(found=replace(HEALTHY, failed_datasets=(failure,)))
    place = shown.index("Needs attention: 1")
    assert shown[place + 1 : place + 5] == [
        "  Failed a and b: a is in use, since 03:04 UTC",
        "         b is in use.",
        "         Committed: c.",
        "         Wait.",
    ]


def test_each_fault_of_the_datasets_file_has_a_line():
    fault = FileFault("datasets.toml has 2 faults.\nline 1\nline 2", "Correct it.")
    shown = lines(found=replace(HEALTHY, datasets_file=fault))
    place = shown.index("Needs attention: 1")
    assert shown[place + 1 : place + 5] == [
        "  Failed datasets.toml has 2 faults.",
        "         line 1",
        "         line 2",
        "         Correct it.",
    ]


def test_only_the_first_objects_with_errors_are_listed():
    faulty = FaultyObject(
        bucket="src-data",
        key="a\n\x1b[2Jb.csv",
        dataset="users",
        codes=(("empty-file", 1),),
        rows_read=0,
        rows_rejected=0,
        is_refused=True,
        run_id=1,
    )
    shown = lines(found=replace(HEALTHY, faulty=(faulty,), faulty_count=215))
    assert "Needs attention: 215" in shown
    assert "  Error  users: a\\n\\x1b[2Jb.csv: refused: 1 empty-file" in shown
    assert "  … and 214 more: `./run.sh problems` lists them." in shown


def test_without_problems_it_points_nowhere():
    assert "problems none" in lines(FACTS | {"problems": {}})
