"""The sums of a run with many datasets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from api.ui.runs import MOST_DATASETS, touched
from etl.model.sums import ALL, SumRow, SumTable

TERMS = [("+", "loaded"), ("+", "unchanged"), ("+", "shadowed"), ("+", "rejected")]


def table(counts: list[int]) -> SumTable:
    """A table of datasets that loaded so many rows."""
    rows = [SumRow(f"d{at}", count, (count, 0, 0, 0), 0) for at, count in enumerate(counts)]
    total = sum(counts)
    rows.append(SumRow(ALL, total, (total, 0, 0, 0), 0))
    return SumTable("rows read", "read", tuple(TERMS), tuple(rows))


def test_few_datasets_are_all_shown():
    every = table([0] * MOST_DATASETS)
    assert touched(every) == list(every.rows)


def test_of_many_datasets_those_that_a_run_left_as_they_were_are_one_row():
    shown = touched(table([0, 5, *[0] * 38]))
    assert [row.name for row in shown] == ["d1", "39 others", ALL]


def test_rows_that_were_there_before_count_as_untouched():
    terms = (("", "before"), ("+", "inserted"), ("+", "restored"), ("-", "retired"))
    rows = [SumRow(f"d{at}", 7, (7, 0, 0, 0), 0) for at in range(9)]
    rows.append(SumRow(ALL, 63, (63, 0, 0, 0), 0))
    shown = touched(SumTable("rows", "after", terms, tuple(rows), is_total_last=True))
    assert [(row.name, row.total, row.terms[0]) for row in shown] == [
        ("9 others", 63, 63),
        (ALL, 63, 63),
    ]


@given(st.lists(st.integers(0, 3), max_size=20))
def test_the_rows_shown_add_up_to_the_last(counts: list[int]):
    *rows, every = touched(table(counts))
    assert sum(row.total for row in rows) == every.total


def test_a_row_that_is_off_is_always_shown():
    every = table([0] * 10)
    wrong = SumRow("wrong", 3, (0, 0, 0, 0), 3)
    shown = touched(every._replace(rows=(wrong, *every.rows)))
    assert shown[0] == wrong
