"""Console output: plain words, times in UTC, and no control characters."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from etl.cli import render, run_lines
from etl.cli.common import print_lines
from etl.cli.difference_lines import differences
from etl.model.dataset import USERS
from etl.model.values import Counts, DatasetCounts, RunReport, RunState, Trigger
from etl.settings import Settings
from etl.storage.notifications import wanted
from etl.verify import Difference

MOMENT = datetime(2026, 1, 2, 4, 4, 5, tzinfo=timezone(timedelta(hours=1)))
PROBLEM = {
    "key": "1054.csv",
    "line": 2,
    "column": "birthts",
    "severity": "error",
    "code": "not-an-integer",
    "value": "31.12.1999",
    "note": "Write milliseconds.",
}


def rendered(what: Any, *arguments: Any) -> list[str]:  # noqa: ANN401 - any function of render
    text = io.StringIO()
    print_lines(Console(file=text, width=80, highlight=False), what(*arguments))
    return [line.rstrip() for line in text.getvalue().splitlines()]


def test_times_of_any_zone_are_shown_in_utc():
    assert render.iso(MOMENT) == "2026-01-02T03:04:05Z"


def test_problem_shows_place_code_value_and_hint():
    assert rendered(render.problem, PROBLEM) == [
        "1054.csv, line 2, column birthts: error not-an-integer: 31.12.1999",
        "  Write milliseconds.",
    ]


def test_a_problem_of_a_whole_object_has_no_line():
    whole = PROBLEM | {"line": None, "column": None, "value": None, "code": "empty-file"}
    assert rendered(render.problem, whole)[0] == "1054.csv: error empty-file"


def test_a_key_cannot_forge_a_line_or_move_the_cursor():
    lines = rendered(render.problem, PROBLEM | {"key": "a\n\x1b[2Jb.csv"})
    assert lines[0].startswith("a\\n\\x1b[2Jb.csv, line 2")
    assert len(lines) == 2


def test_absence_of_problems_is_shown():
    def none(others: int, key: str | None = None, code: str | None = None) -> list[str]:
        return rendered(partial(render.no_problems, key=key, code=code, others=others))

    assert none(0) == ["No problem is open."]
    assert none(0, "nope") == ["No problem of 'nope' is open."]
    assert none(2, "no\x1bpe", "empty-file") == [
        r"No problem empty-file of 'no\x1bpe' is open.",
        "2 others are: `./run.sh problems`.",
    ]
    assert none(1, code="empty-file")[1] == "1 other is: `./run.sh problems`."


def test_held_differences_follow_the_others():
    note = "The bucket has this row, but the table of orders does not."
    found = [
        Difference("row-missing", "7", None, None, note, "orders", is_held=True),
        Difference("row-missing", "8", None, None, note, "orders"),
    ]
    first, count, held, last = rendered(differences, found)
    assert first.startswith("orders row-missing 8: ")
    assert count.startswith("1 difference. ")
    assert held.startswith("orders row-missing 7: ")
    assert last == "1 difference of held objects and of rows that foreign keys keep."


def test_one_difference_shows_both_sides_in_words():
    difference = Difference(
        "manifest-differs",
        "1.csv",
        {"last_modified": MOMENT, "etag": "a b", "user_id": None},
        {"last_modified": MOMENT.astimezone(UTC), "etag": 'a"b', "user_id": "1"},
        "The bucket and the manifest disagree.",
    )
    first, bucket, table, last = rendered(differences, [difference])
    assert first == "manifest-differs 1.csv: The bucket and the manifest disagree."
    assert bucket == (
        '  in the bucket last_modified 2026-01-02T03:04:05Z, etag "a b", user_id none'
    )
    assert table.startswith("  in the table  last_modified 2026-01-02T03:04:05Z, etag")
    assert last.startswith("1 difference. ")


def test_missing_or_extra_value_is_shown_as_nothing():
    row = ("1.csv", 2, "1")
    found = [
        Difference("shadowed-missing", "1.csv 2 1", row, None, "Missing."),
        Difference("output-surplus", "3", None, {"img_path": ""}, "Surplus."),
        Difference("output-unsorted", "2", None, None, "Unsorted."),
    ]
    assert rendered(differences, found)[:-2] == [
        "shadowed-missing 1.csv 2 1: Missing.",
        '  in the bucket "1.csv", 2, "1"',
        "  in the table  nothing",
        "output-surplus 3: Surplus.",
        "  in the bucket nothing",
        '  in the output img_path ""',
        "output-unsorted 2: Unsorted.",
    ]
    totals, count = rendered(differences, found)[-2:]
    assert totals == "no dataset: 1 shadowed-missing, 1 output-surplus, 1 output-unsorted"
    assert count.startswith("3 differences. ")


def test_many_differences_of_a_kind_are_cut_and_counted_by_dataset_and_kind():
    found = [
        Difference(what, str(number), None, None, "Note.", dataset)
        for dataset, what, count in (
            ("orders", "row-missing", 25),
            ("orders", "row-surplus", 1),
            ("users", "row-missing", 2),
        )
        for number in range(count)
    ]
    lines = rendered(partial(differences, found, shows_all=False))
    assert lines[19:22] == [
        "orders row-missing 19: Note.",
        "… and 5 more of orders row-missing; `--all` prints each",
        "orders row-surplus 0: Note.",
    ]
    assert lines[-3:-1] == ["orders: 25 row-missing, 1 row-surplus", "users: 2 row-missing"]
    assert lines[-1].startswith("28 differences. ")
    whole = rendered(partial(differences, found, shows_all=True))
    assert len(whole) == 28 + 3


def test_problems_are_grouped_by_column_and_code():
    many = [PROBLEM | {"line": n, "column": "item", "code": "too-long"} for n in range(2, 12)]
    other = PROBLEM | {"line": 4, "column": "sku", "code": "too-long"}
    whole = PROBLEM | {"line": None, "column": None, "code": "empty-file"}
    lines = rendered(render.problems, [*many[:3], other, *many[3:], whole])
    assert [line.split(":")[0] for line in lines if not line.startswith(" ")] == [
        "1054.csv, line 2, column item",
        "1054.csv, line 3, column item",
        "1054.csv, line 4, column item",
        "… and 7 more of too-long in item (lines 5, 6, 7, …)",
        "1054.csv, line 4, column sku",
        "1054.csv",
    ]
    last = rendered(render.problems, many[:4])[-1]
    assert last == "… and 1 more of too-long in item (line 5)"


def test_the_environment_holds_the_address_of_an_api_that_is_up():
    settings = Settings(_env_file=None, database_url="postgresql://u:p@127.0.0.1/d")
    url = "http://127.0.0.1:5000"
    assert render.environment(settings, url)["API_URL"] == url
    assert "API_URL" not in render.environment(settings, None)


def test_run_report_ends_with_step_timings_in_order():
    run = RunReport(
        1,
        Trigger.CLI,
        RunState.SUCCEEDED,
        Counts(),
        requested_at=MOMENT,
        started_at=MOMENT,
        finished_at=MOMENT + timedelta(seconds=2),
        step_seconds={"merge": 1.5, "list": 0.5, "thumbnails": 2.0},
        step_rows={"merge": 3_000, "list": 1},
    )
    *_, header, first, second, third = rendered(run_lines.report, run)
    assert header.split() == ["step", "seconds", "share", "rows", "rows/s"]
    assert first.split() == ["list", "0.500", "12%", "1", "2"]
    assert second.split() == ["merge", "1.500", "38%", "3,000", "2,000"]
    assert third.split() == ["thumbnails", "2.000", "50%"]


def test_run_report_counts_each_dataset_and_what_is_held():
    run = RunReport(
        1,
        Trigger.CLI,
        RunState.SUCCEEDED,
        Counts(objects_held=1, rows_held=7, retirements_held=5),
        requested_at=MOMENT,
        started_at=MOMENT,
        finished_at=MOMENT,
        dataset_counts={
            "orders": DatasetCounts(live=9, retired=2, rows_held=7, retirements_held=5)
        },
    )
    held = {"dataset": "orders", "rows": 5, "live": 9, "objects": 1}
    _, objects, rows, orders, last = rendered(run_lines.report, run, [held])
    assert " + 1 held;" in objects
    assert rows.endswith(" + 7 held; 5 retirements held")
    assert orders == (
        "  orders   9 live; 0 inserted, 0 updated, 0 restored, 2 retired; 0 rejected;"
        " 5 retirements held"
    )
    assert "run --allow-mass-retirement orders" in last


def test_run_report_aligns_long_names_and_lists_users_first():
    names = ["log", "users", "customer_addresses", "a"]  # as JSONB orders no names
    run = RunReport(
        1,
        Trigger.CLI,
        RunState.SUCCEEDED,
        Counts(problems=3),
        requested_at=MOMENT,
        started_at=MOMENT,
        finished_at=MOMENT,
        dataset_counts={name: DatasetCounts() for name in names},
    )
    _, *lines = rendered(run_lines.report, run)
    labels = [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]
    assert labels == ["objects", "rows", "users", "a", "customer_addresses", "log", "problems"]
    starts = {
        len(line) - len(line[2:].lstrip("abcdefghijklmnopqrstuvwxyz_").lstrip())
        for line in lines
        if line.startswith("  ") and line[2] != " "
    }
    assert starts == {2 + len("customer_addresses") + 1}


def test_subscriptions_are_listed_with_the_listening_scheduler():
    alone = partial(render.subscriptions, event_listen=False)
    while_listening = partial(render.subscriptions, event_listen=True)
    scheduler = "The scheduler listens while it is up (EVENT_LISTEN)."
    assert rendered(alone, []) == ["There are no subscriptions."]
    assert rendered(while_listening, []) == ["There are no subscriptions.", scheduler]
    (one,) = wanted(["arn:minio:sqs::1:webhook"])
    target = "arn:minio:sqs::1:webhook: s3:ObjectCreated:*, s3:ObjectRemoved:* of *"
    assert rendered(alone, [one]) == [target]
    assert rendered(while_listening, [one]) == [target, scheduler]


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["users"], ["/data?", "FROM users "]),
        (
            ["orders", "users"],
            ["/data?", "/datasets/orders/rows?", "FROM users ", 'FROM "orders" '],
        ),
        (["orders", "log"], ["/datasets/orders/rows?", 'FROM "orders" ']),
    ],
)
def test_up_suggests_queries_of_the_datasets_that_exist(
    tmp_path: Path, names: list[str], shown: list[str]
):
    datasets = [
        USERS
        if name == "users"
        else replace(USERS, name=name, table=name, is_preset=False, publish=())
        for name in names
    ]
    settings = Settings(key_file=tmp_path / "none")
    lines = rendered(lambda: render.welcome(settings, "http://x", datasets))
    queries = [line for line in lines if "GET" in line or "curl '" in line or "psql" in line]
    assert len(queries) == len(shown)
    assert all(part in line for part, line in zip(shown, queries, strict=True))
