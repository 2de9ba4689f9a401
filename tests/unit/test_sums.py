"""The counts of a run as equations."""

from __future__ import annotations

from dataclasses import replace

from etl.model.sums import ALL, SumTable, sums
from etl.model.values import Counts, DatasetCounts, RunReport, RunState, Trigger
from tests.user_rows import NOW

USERS = DatasetCounts(
    rows_read=2_431,
    rows_loaded=118,
    rows_unchanged=2_280,
    rows_shadowed=14,
    rows_rejected=19,
    inserted=26,
    restored=1,
    retired=3,
    updated=92,
    live=48_214,
)
ORDERS = DatasetCounts(rows_read=10, rows_loaded=10, inserted=10, live=10)
COUNTS = Counts(
    rows_read=2_441,
    rows_loaded=128,
    rows_unchanged=2_280,
    rows_shadowed=14,
    rows_rejected=19,
    objects_listed=100,
    objects_added=1,
    objects_modified=2,
    objects_unchanged=90,
    objects_ignored=7,
    objects_removed=5,
)
RUN = RunReport(
    id=8_131,
    trigger=Trigger.INTERVAL,
    state=RunState.SUCCEEDED,
    counts=COUNTS,
    requested_at=NOW,
    started_at=NOW,
    finished_at=NOW,
    dataset_counts={"users": USERS, "orders": ORDERS},
)
BEFORE = {"users": 48_190, "orders": 0}


def tables(run: RunReport = RUN, before: dict[str, int] | None = BEFORE) -> dict[str, SumTable]:
    return {one.title: one for one in sums(run, before)}


def test_rows_read_add_up_by_dataset_and_in_all():
    read = tables()["rows read"]
    assert read.adds_up
    assert [row.name for row in read.rows] == ["users", "orders", ALL]
    assert read.rows[0].total == 2_431
    assert read.rows[0].terms == (118, 2_280, 14, 19)
    assert [heading for _, heading in read.terms] == [
        "loaded",
        "unchanged",
        "shadowed",
        "rejected",
    ]  # nothing is held


def test_held_rows_are_a_term_where_there_are_some():
    held = replace(USERS, rows_held=5, rows_loaded=113)
    run = replace(
        RUN,
        dataset_counts={"users": held, "orders": ORDERS},
        counts=replace(COUNTS, rows_held=5, rows_loaded=123),
    )
    read = tables(run)["rows read"]
    assert read.adds_up
    assert read.terms[-1] == ("+", "held")
    assert read.rows[0].terms[-1] == 5


def test_tables_add_up_from_the_rows_before():
    changed = tables()["rows of the tables"]
    assert changed.adds_up
    assert changed.rows[0].terms == (48_190, 26, 1, 3)
    assert changed.rows[-1].total == 48_224
    assert changed.is_total_last


def test_without_the_run_before_its_rows_follow_from_the_others():
    changed = tables(before=None)["rows of the tables"]
    assert changed.rows[0].terms[0] == 48_190


def test_an_equation_that_does_not_hold_says_by_how_much():
    changed = tables(before={"users": 48_187, "orders": 0})["rows of the tables"]
    assert not changed.adds_up
    assert [row.off_by for row in changed.rows] == [3, 0, 3]


def test_objects_add_up_with_those_held():
    assert tables()["objects"].adds_up
    run = replace(RUN, counts=replace(COUNTS, objects_unchanged=88, objects_held=6))
    objects = tables(run)["objects"]
    assert objects.adds_up  # four of the held ones are no longer listed
    assert objects.rows[0].terms[-1] == 2
    lost = replace(RUN, counts=replace(COUNTS, objects_unchanged=88))
    assert tables(lost)["objects"].rows[0].off_by == 2


def test_a_run_that_committed_nothing_has_no_equations():
    assert sums(replace(RUN, counts=Counts(), dataset_counts={}), BEFORE) == []
