"""The messages of alerts: sentences that say what happened, what to do and where to look."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model.alerts import Alert, AlertEvent, Lateness
from etl.services.alerts.texts import MOST_INCIDENTS, message

AT = datetime(2026, 11, 28, 6, 20, tzinfo=UTC)
SINCE = AT.isoformat()
FAILED: dict[str, Any] = {"dataset": "", "code": "", "since": SINCE, "trigger": "interval"}
DOWN = {"code": "ObjectStoreUnavailable", "message": "The store is down", "hint": "Check it."}


def alert(
    event: AlertEvent,
    *incidents: dict[str, Any],
    run_id: int | None = 8130,
    recovers: AlertEvent | None = None,
) -> Alert:
    return Alert("0123", event, AT, run_id, recovers, incidents)


def text(
    event: AlertEvent,
    *incidents: dict[str, Any],
    run_id: int | None = 8130,
    recovers: AlertEvent | None = None,
) -> str:
    return str(message(alert(event, *incidents, run_id=run_id, recovers=recovers))["text"])


def problem(code: str, count: int = 1, dataset: str = "orders") -> dict[str, Any]:
    return {"dataset": dataset, "code": code, "count": count, "since": SINCE}


def hold(dataset: str = "orders", objects: int = 12) -> dict[str, Any]:
    facts = {"rows": 131_208, "live": 231_094, "objects": objects}
    return {"dataset": dataset, "code": "", "since": SINCE, **facts}


def test_failed_run_says_that_nothing_changed_and_why():
    assert text(AlertEvent.RUN_FAILED, FAILED | {"error": DOWN}) == (
        "Run 8,130 failed at 2026-11-28 06:20 UTC. Nothing was changed. The store is down."
        " Check it. See /ui/runs/8130"
    )


def test_failed_datasets_are_named_with_the_reason_once():
    error = {"message": "Table orders is locked.\nCommitted: users.", "hint": ""}
    failed = [FAILED | {"dataset": name, "error": error} for name in ("orders", "visits")]
    assert text(AlertEvent.RUN_FAILED, *failed) == (
        "Run 8,130 did not commit orders and visits; the other datasets are committed."
        " Table orders is locked. Committed: users. See /ui/runs/8130"
    )


def test_outage_of_the_database_needs_no_run():
    down = FAILED | {"error": DOWN | {"message": "PostgreSQL is not available."}}
    assert text(AlertEvent.RUN_FAILED, down, run_id=None) == (
        "No run has been possible since 2026-11-28 06:20 UTC. PostgreSQL is not available."
        " Check it. See /ui/"
    )


def test_held_retirement_says_how_many_rows_and_both_ways_out():
    assert text(AlertEvent.RETIREMENT_HELD, hold()) == (
        "131,208 of 231,094 rows of orders would be retired and wait for permission, because 12"
        " objects are gone or lost rows. If that is right, allow it: `./run.sh run"
        " --allow-mass-retirement orders`. If not, upload the objects again. Until then, the rows"
        " stay. See /ui/runs/8130"
    )


def test_new_problems_are_counted_by_dataset_and_code():
    found = [problem("missing-cell", 7), problem("not-a-number", 1200), problem("x", 1, "users")]
    assert text(AlertEvent.NEW_PROBLEMS, *found) == (
        "Run 8,130 found new kinds of problems: 7 missing-cell and 1,200 not-a-number in orders;"
        " 1 x in users. The rows or objects at fault are not loaded; all others are."
        " `./run.sh problems` lists each problem with its line and a hint. See /ui/problems"
    )
    one = text(AlertEvent.NEW_PROBLEMS, problem("missing-cell"))
    assert "`./run.sh problems --dataset orders`" in one
    assert one.endswith("See /ui/problems?dataset=orders")


@pytest.mark.parametrize(
    ("reason", "count", "sentence"),
    [
        (Lateness.FULL_RUN, 0, "No full run has succeeded since 2026-11-28 06:20 UTC."),
        (Lateness.CHANGES, 1, "1 change has been waiting for a run since 2026-11-28 06:20 UTC."),
        (Lateness.CHANGES, 2, "2 changes have been waiting for a run since 2026-11-28 06:20 UTC."),
        (
            Lateness.OUTPUT,
            1,
            "The changes that were committed at 2026-11-28 06:20 UTC have not been published.",
        ),
    ],
)
def test_late_says_what_is_late(reason: Lateness, count: int, sentence: str):
    one = {"dataset": "", "code": "", "since": SINCE, "last": SINCE}
    shown = text(AlertEvent.LATE, one | {"reason": reason, "count": count}, run_id=None)
    assert shown.startswith(f"{sentence} `./run.sh status` shows")


@pytest.mark.parametrize(
    ("ended", "incident", "sentence"),
    [
        (AlertEvent.RUN_FAILED, FAILED, "Runs succeed again; they had failed since"),
        (
            AlertEvent.RUN_FAILED,
            FAILED | {"dataset": "orders"},
            "orders is committed again; it had failed since",
        ),
        (AlertEvent.RETIREMENT_HELD, hold(), "No row of orders is held any more; some were since"),
        (AlertEvent.NEW_PROBLEMS, problem("a"), "orders has no problem a any more."),
        (AlertEvent.LATE, FAILED, "Runs are on time again; they had been late since"),
    ],
)
def test_recovered_says_what_ended(ended: AlertEvent, incident: dict[str, Any], sentence: str):
    assert text(AlertEvent.RECOVERED, incident, recovers=ended).startswith(sentence)


def test_links_begin_with_public_url():
    found = message(alert(AlertEvent.RETIREMENT_HELD, hold()), "https://sync.example.com/")
    assert found["link"] == "https://sync.example.com/ui/runs/8130"
    assert found["text"].endswith(" See https://sync.example.com/ui/runs/8130")


def test_message_has_the_incidents_and_how_many_there_are():
    found = [problem(f"code-{number}") for number in range(MOST_INCIDENTS + 20)]
    shown = message(alert(AlertEvent.NEW_PROBLEMS, *found))
    assert shown["incidents"] == found[:MOST_INCIDENTS]
    assert shown["incident_count"] == MOST_INCIDENTS + 20
    assert "code-4 and 115 more in orders" in shown["text"]


NAMES = st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=30)
ERRORS = st.fixed_dictionaries({"code": NAMES, "message": NAMES, "hint": NAMES})
INCIDENTS = {
    AlertEvent.RUN_FAILED: st.fixed_dictionaries({"error": ERRORS}),
    AlertEvent.RETIREMENT_HELD: st.fixed_dictionaries(
        dict.fromkeys(("rows", "live", "objects"), st.integers(0, 2**40))
    ),
    AlertEvent.NEW_PROBLEMS: st.fixed_dictionaries({"count": st.integers(1, 2**40)}),
    AlertEvent.LATE: st.fixed_dictionaries(
        {"reason": st.sampled_from(Lateness), "last": st.just(SINCE), "count": st.integers(0, 9)}
    ),
}


@st.composite
def alerts(draw: st.DrawFn) -> Alert:
    """Any alert that a run or the sender can write."""
    event = draw(st.sampled_from(list(INCIDENTS)))
    has_one = event is AlertEvent.LATE
    facts = draw(st.lists(INCIDENTS[event], min_size=1, max_size=1 if has_one else 130))
    names = st.just("") if has_one else NAMES
    incidents = tuple(
        {"dataset": draw(names), "code": draw(names), "since": SINCE, **one} for one in facts
    )
    run_id = None if has_one else draw(st.integers(1, 2**40))
    if draw(st.booleans()):
        return Alert("1", AlertEvent.RECOVERED, AT, run_id, event, incidents)
    return Alert("1", event, AT, run_id, None, incidents)


@given(alerts(), st.sampled_from([None, "https://sync.example.com/base"]))
def test_every_alert_has_one_short_line_and_the_same_message_each_time(
    found: Alert, public_url: str | None
):
    shown = message(found, public_url)
    assert shown == message(found, public_url)
    assert json.loads(json.dumps(shown)) == shown
    assert "\n" not in shown["text"]
    assert len(shown["text"]) < 3_200
    assert shown["text"].endswith(f" See {shown['link']}")
