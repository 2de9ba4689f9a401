"""The sentence about an installation: which state it is about, and what it says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from etl.model.attention import AttentionKind
from etl.model.overview import DatasetState, overview
from etl.model.phrases import ShownTime, joined, listed, phrase, span
from etl.model.sentences import OverviewState
from etl.model.snapshot import (
    ActiveRun,
    DatasetFacts,
    FaultyObject,
    FileFault,
    HoldFacts,
    Outage,
    Part,
    RunFailure,
    Snapshot,
    Step,
)
from etl.model.values import Trigger

NOW = datetime(2026, 11, 27, 12, 26, 40, tzinfo=UTC)
NOON = NOW.replace(hour=12, minute=4, second=0)
DUE = NOW.replace(hour=12, minute=35, second=0)
HEALTHY = Snapshot(
    now=NOW,
    bucket="src-data",
    datasets=(
        DatasetFacts("users", rows=48_221, objects=42_885, changed_at=NOON),
        DatasetFacts("orders", rows=231_094, objects=1_333, changed_at=NOON - timedelta(hours=1)),
    ),
    last_full_at=NOW - timedelta(minutes=16),
    last_commit_at=NOON,
    due_at=DUE,
)
STORE = Outage(
    Part.OBJECT_STORE, "Connection refused.", "Start it.", NOW.replace(minute=8, second=22)
)
FAILED_RUN = RunFailure(8_130, NOW.replace(hour=6, minute=20), "The disk is full.", "Free space.")
FAILED_DATASET = replace(FAILED_RUN, datasets=("orders",), committed=1)
HOLD = HoldFacts("orders", 8_296, NOW.replace(hour=9, minute=40), 131_208, 231_094, 812)
FAULTY = FaultyObject(
    bucket="src-data",
    key="crm/a.csv",
    dataset="users",
    codes=(("not-a-date", 17), ("missing-cell", 2)),
    rows_read=1_204,
    rows_rejected=19,
    is_refused=False,
    run_id=7,
)
RUNNING = ActiveRun(8_432, Trigger.REQUEST, NOW - timedelta(seconds=4), Step("read", 318, 521))

# What may be true at once, in the order in which the sentence prefers it.
FACTS = {
    OverviewState.DOWN: {"outage": STORE},
    OverviewState.LATE: {"due_at": NOW - timedelta(minutes=5)},
    OverviewState.FAILED: {"failed_run": FAILED_RUN},
    OverviewState.HELD: {"holds": (HOLD,)},
    OverviewState.ERRORS: {"faulty": (FAULTY,), "faulty_count": 3},
    OverviewState.RUNNING: {"running": RUNNING},
    OverviewState.WAITING: {"last_commit_at": None},
    OverviewState.EMPTY: {"datasets": (DatasetFacts("users", changed_at=NOON),)},
}


def said(**facts: object):
    return overview(replace(HEALTHY, **facts))


def sentence(**facts: object):
    return said(**facts).sentence.text(NOW)


def details(**facts: object):
    return joined(said(**facts).details).text(NOW)


@pytest.mark.parametrize("chosen", list(product((False, True), repeat=len(FACTS))))
def test_the_sentence_is_about_the_first_state_that_applies(chosen: tuple[bool, ...]):
    states = [state for state, is_so in zip(FACTS, chosen, strict=True) if is_so]
    facts = {name: value for state in states for name, value in FACTS[state].items()}
    found = said(**facts)
    if OverviewState.RUNNING in states and OverviewState.LATE in states:
        states.remove(OverviewState.LATE)  # a run that is late has begun
    assert found.state is (states[0] if states else OverviewState.IN_SYNC)
    assert found.sentence.text(NOW).endswith(".")
    assert all(one.text(NOW).endswith((".", "!", "?")) for one in found.details)
    assert found.title


@pytest.mark.parametrize("chosen", list(product((False, True), repeat=8)))
def test_attention_has_every_fault_once_and_the_worst_first(chosen: tuple[bool, ...]):
    each = {
        AttentionKind.OUTAGE: {"outage": STORE},
        AttentionKind.LATE: {"due_at": NOW - timedelta(minutes=5)},
        AttentionKind.RUN_FAILED: {"failed_run": FAILED_RUN},
        AttentionKind.DATASET_FAILED: {"failed_datasets": (replace(FAILED_DATASET, run_id=8),)},
        AttentionKind.DATASETS_FILE: {"datasets_file": FileFault("line 3: unknown key")},
        AttentionKind.NOT_PUBLISHED: {"unpublished": replace(FAILED_RUN, run_id=9)},
        AttentionKind.HELD: {"holds": (HOLD,)},
        AttentionKind.ERROR: {"faulty": (FAULTY,), "faulty_count": 215},
    }
    kinds = [kind for kind, is_so in zip(each, chosen, strict=True) if is_so]
    found = said(**{name: value for kind in kinds for name, value in each[kind].items()})
    assert [one.kind for one in found.attention] == kinds
    hidden = 214 if AttentionKind.ERROR in kinds else 0
    assert found.attention_count == len(kinds) + hidden


def test_all_is_in_sync_since_the_last_change():
    assert sentence() == "All in sync since 12:04 UTC."
    assert details() == (
        "2 datasets, 279,315 rows. Nothing needs attention. Next full run in 8 min, at 12:35 UTC."
    )


def test_all_is_in_sync_since_the_run_that_followed_a_failure():
    assert sentence(settled_at=NOW.replace(minute=20)) == "All in sync since 12:20 UTC."


def test_a_time_of_another_day_has_its_date():
    yesterday = tuple(replace(one, changed_at=NOON - timedelta(days=1)) for one in HEALTHY.datasets)
    assert sentence(datasets=yesterday) == "All in sync since 2026-11-26 12:04 UTC."


def test_an_outage_is_said_with_its_duration_and_what_is_still_served():
    assert sentence(outage=STORE) == (
        "The object store has not answered since 12:08:22 UTC, 18 min ago."
    )
    assert details(outage=STORE) == (
        "Connection refused. Rows are served as of 12:04 UTC; nothing is lost."
        " Work resumes when it answers, with a full run."
    )


def test_an_outage_that_no_run_has_noticed_has_no_time():
    assert sentence(outage=replace(STORE, since=None)) == "The object store does not answer."


def test_without_a_database_nothing_else_is_known():
    found = overview(Snapshot(NOW, "src-data", outage=Outage(Part.DATABASE, "Refused.")))
    assert found.sentence.text(NOW) == "The database does not answer."
    assert found.datasets == ()
    assert "Rows are served" not in joined(found.details).text(NOW)


def test_a_full_run_is_late_after_a_minute():
    due = NOW.replace(hour=10, minute=5, second=0)
    last = NOW.replace(hour=9, minute=40)
    assert sentence(due_at=due, last_full_at=last) == (
        "No full run since 09:40 UTC; one was due at 10:05 UTC."
    )
    assert sentence(due_at=NOW - timedelta(seconds=59)) == "All in sync since 12:04 UTC."


def test_without_a_scheduler_no_next_run_is_promised():
    found = said(has_scheduler=False)
    assert found.next_run_at is None
    assert "Next full run" not in joined(found.details).text(NOW)
    assert "No scheduler is running" in joined(found.details).text(NOW)


def test_a_failed_run_says_whether_anything_was_changed():
    assert sentence(failed_run=FAILED_RUN) == (
        "Run 8,130 failed at 06:20 UTC. Nothing was changed."
    )
    partly = replace(FAILED_RUN, datasets=("orders",), committed=2)
    assert sentence(failed_run=partly) == (
        "Run 8,130 failed at 06:20 UTC. orders failed; 2 datasets committed."
    )


def test_a_dataset_that_failed_before_the_last_run_is_named():
    assert sentence(failed_datasets=(FAILED_DATASET,)) == (
        "Runs have not committed orders since run 8,130 at 06:20 UTC."
    )
    line = said(failed_datasets=(FAILED_DATASET,)).datasets[1]
    assert (line.state, line.lag) == (
        DatasetState.FAILED,
        timedelta(hours=6, minutes=6),
    )


def test_a_failed_run_and_its_datasets_are_one_item():
    found = said(failed_run=FAILED_DATASET, failed_datasets=(FAILED_DATASET,))
    assert [one.kind for one in found.attention] == [AttentionKind.DATASET_FAILED]


def test_held_retirements_are_counted_and_so_are_objects_with_errors():
    assert sentence(holds=(HOLD,)) == "131,208 retirements of orders are held."
    assert sentence(holds=(HOLD,), faulty=(FAULTY,), faulty_count=3) == (
        "131,208 retirements of orders are held. 3 objects need attention."
    )
    assert sentence(holds=(replace(HOLD, rows=1), replace(HOLD, dataset="users", rows=12))) == (
        "1 retirement of orders and 12 of users are held."
    )
    assert details(holds=(HOLD,)).startswith(
        "users is in sync. orders has been out of sync since 09:40 UTC (2 h 46 min) and still"
        " serves all its rows."
    )


def test_one_object_needs_attention():
    assert sentence(faulty=(FAULTY,), faulty_count=1) == (
        "In sync since 12:04 UTC. 1 object needs attention."
    )


def test_an_object_with_errors_says_what_it_costs():
    item = said(faulty=(FAULTY,), faulty_count=1).attention[0]
    assert item.text == "crm/a.csv: 19 of 1,204 rows rejected: 17 not-a-date, 2 missing-cell"
    refused = replace(FAULTY, is_refused=True, codes=(("empty-file", 1),))
    assert said(faulty=(refused,), faulty_count=1).attention[0].text == (
        "crm/a.csv: refused: 1 empty-file"
    )


def test_the_active_run_is_said_by_step():
    assert sentence(running=RUNNING) == (
        "Full run in progress: reading 318 of 521 changed objects."
    )
    assert said(running=RUNNING).title == "Running: 61%"
    listing = replace(RUNNING, step=Step("list", 48_558))
    assert sentence(running=listing) == "Full run in progress: listing 48,558 objects."
    assert sentence(running=replace(RUNNING, step=None)) == "Full run in progress."
    assert sentence(running=replace(RUNNING, is_canceled=True)) == "Full run is being canceled."


def test_an_event_run_is_said_only_when_it_takes_long():
    event = replace(RUNNING, trigger=Trigger.EVENT)
    assert sentence(running=event).startswith("Event run in progress")
    assert sentence(running=replace(event, started_at=NOW)) == "All in sync since 12:04 UTC."


def test_the_first_start_and_an_empty_bucket_have_sentences():
    assert sentence(last_commit_at=None) == "No run has committed yet."
    assert sentence(datasets=(DatasetFacts("users"),)) == (
        "Everything is running. src-data is empty."
    )


def test_an_outage_makes_the_state_of_datasets_unknown():
    line = said(outage=STORE).datasets[0]
    assert (line.state, line.is_lag_minimum) == (DatasetState.UNKNOWN, True)
    assert line.lag == timedelta(minutes=18, seconds=18)
    assert said(outage=replace(STORE, since=None)).datasets[0].lag is None


def test_a_dataset_lags_since_its_oldest_unchecked_event():
    waiting = replace(HEALTHY.datasets[0], waiting_since=NOW - timedelta(seconds=7))
    assert said(datasets=(waiting,)).datasets[0].lag == timedelta(seconds=7)
    assert said().datasets[0].lag == timedelta()


def test_a_phrase_is_made_of_texts_and_times():
    found = phrase("since ", ShownTime(NOON), ".")
    assert list(found) == ["since ", ShownTime(NOON), "."]
    assert found.text(NOW) == "since 12:04 UTC."


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3_599, "59 min"),
        (3_600, "1 h"),
        (9_960, "2 h 46 min"),
        (86_400, "1 d"),
        (100_000, "1 d 3 h"),
    ],
)
def test_spans_have_at_most_two_units(seconds: float, shown: str):
    assert span(timedelta(seconds=seconds)) == shown


def test_names_are_listed():
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == [
        "a",
        "a and b",
        "a, b and c",
    ]
