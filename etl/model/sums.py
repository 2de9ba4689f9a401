"""The counts of a run as equations: rows read, rows of the tables, and objects listed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from etl.model.values import Counts, DatasetCounts, RunReport

ALL = "all"
_ALWAYS = 4  # terms that are shown even if they are 0


class SumRow(NamedTuple):
    """One equation: a total and its terms, whose signs are those of the table."""

    name: str
    total: int
    terms: tuple[int, ...]
    off_by: int


class SumTable(NamedTuple):
    """Equations of one form, by dataset and in all: `total = +term + term - term`.

    `terms` are signs and headings. If `is_total_last`, the total is written after
    them.
    """

    title: str
    total: str
    terms: tuple[tuple[str, str], ...]
    rows: tuple[SumRow, ...]
    is_total_last: bool = False

    @property
    def adds_up(self) -> bool:
        """Whether every equation holds."""
        return not any(row.off_by for row in self.rows)


def sums(run: RunReport, before: Mapping[str, int] | None) -> list[SumTable]:
    """The equations of a run that committed; none of another.

    `before` are the live rows by dataset after the run before; None if that is not known.
    """
    if not run.counts.objects_listed and not run.dataset_counts:
        return []
    return [_rows_read(run), _tables(run, before), _objects(run.counts)]


def _rows_read(run: RunReport) -> SumTable:
    names = ("loaded", "unchanged", "shadowed", "rejected", "held")

    def terms(counts: Counts | DatasetCounts) -> tuple[int, ...]:
        return tuple(getattr(counts, f"rows_{name}") for name in names)

    every = [(name, one.rows_read, terms(one)) for name, one in run.dataset_counts.items()]
    every.append((ALL, run.counts.rows_read, terms(run.counts)))
    return _table("rows read", "read", [("+", name) for name in names], every)


def _tables(run: RunReport, before: Mapping[str, int] | None) -> SumTable:
    every: list[tuple[str, int, tuple[int, ...]]] = []
    for name, one in run.dataset_counts.items():
        change = one.inserted + one.restored - one.retired
        first = one.live - change if before is None else before.get(name, 0)
        every.append((name, one.live, (first, one.inserted, one.restored, one.retired)))
    if len(every) > 1:
        totals = tuple(sum(row[2][place] for row in every) for place in range(4))
        every.append((ALL, sum(row[1] for row in every), totals))
    terms = [("", "before"), ("+", "inserted"), ("+", "restored"), ("-", "retired")]
    return _table("rows of the tables", "after", terms, every, is_total_last=True)


def _objects(counts: Counts) -> SumTable:
    """The objects of all buckets; those held are the ones that have no other outcome."""
    names = ("added", "modified", "unchanged", "ignored", "unreadable", "vanished")
    values = tuple(getattr(counts, f"objects_{name}") for name in names)
    rest = counts.objects_listed - sum(values)
    held = rest if 0 < rest <= counts.objects_held else 0
    terms = [("+", name) for name in (*names, "held")]
    return _table("objects", "listed", terms, [(ALL, counts.objects_listed, (*values, held))])


def _table(
    title: str,
    total: str,
    terms: Sequence[tuple[str, str]],
    rows: Sequence[tuple[str, int, tuple[int, ...]]],
    *,
    is_total_last: bool = False,
) -> SumTable:
    """The table, without the terms at its end that are 0 everywhere."""
    shown = len(terms)
    while shown > _ALWAYS and not any(row[2][shown - 1] for row in rows):
        shown -= 1
    signs = [-1 if sign == "-" else 1 for sign, _ in terms]
    equations = [
        SumRow(name, whole, parts[:shown], whole - _signed(signs, parts))
        for name, whole, parts in rows
    ]
    return SumTable(title, total, tuple(terms[:shown]), tuple(equations), is_total_last)


def _signed(signs: Sequence[int], parts: Sequence[int]) -> int:
    return sum(sign * part for sign, part in zip(signs, parts, strict=True))
