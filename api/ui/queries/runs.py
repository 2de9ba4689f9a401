"""The runs, one run, and held retirements, as pages show them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from etl.db.run_list import FoldedRuns, RunFilter, folded, listed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import Connection

HELD_KEYS = 1_000  # per page of keys

_NEIGHBORS = """
SELECT (SELECT max(id) FROM run WHERE id < :id) AS earlier,
       (SELECT min(id) FROM run WHERE id > :id) AS later
"""

_HOLD = """
SELECT hold.dataset, hold.run_id, hold.opened_at, hold.rows, hold.live, hold.summary,
       (SELECT count(*) FROM run
        WHERE id > hold.run_id AND trigger <> 'event' AND state = 'succeeded') AS later_runs
FROM hold WHERE dataset = :dataset
"""

_HELD_KEYS = """
SELECT bucket, key, rows FROM held_object
WHERE dataset = :dataset AND (bucket, key) > (:bucket, :key)
ORDER BY bucket, key LIMIT :limit
"""


@dataclass(frozen=True, slots=True)
class RunsPage:
    """A page of runs. `lines` are runs and, between them, the runs that are folded."""

    lines: tuple[dict[str, Any] | FoldedRuns, ...]
    next_before: int | None


@dataclass(frozen=True, slots=True)
class HeldRetirements:
    """Held retirements of a dataset. `summary` is what etl.sync.hold_summary stored, or empty."""

    dataset: str
    run_id: int
    opened_at: datetime
    rows: int
    live: int
    summary: dict[str, Any]
    later_runs: int

    @property
    def remaining(self) -> int:
        """The rows of the table if these were retired."""
        return self.live - self.rows


def page_of_runs(connection: Connection, asked: RunFilter, *, folds: bool) -> RunsPage:
    """The runs, newest first, and what a list that folds leaves out between them."""
    runs = listed(connection, asked, folds=folds)
    ids = [one["id"] for one in runs]
    gaps = folded(connection, asked, ids) if folds else []
    is_complete = len(runs) < asked.limit
    return RunsPage(tuple(_interleaved(gaps, runs)), None if is_complete else ids[-1])


def _interleaved(
    gaps: list[FoldedRuns], runs: list[dict[str, Any]]
) -> Iterator[dict[str, Any] | FoldedRuns]:
    for gap, run in zip_longest(gaps, runs):
        if gap is not None and gap.runs:
            yield gap
        if run is not None:
            yield run


def neighbors(connection: Connection, run_id: int) -> tuple[int | None, int | None]:
    """The runs before and after this one."""
    row = connection.execute(text(_NEIGHBORS), {"id": run_id}).one()
    return row.earlier, row.later


def hold(connection: Connection, dataset: str) -> HeldRetirements | None:
    """The held retirements of the dataset; None if there are none."""
    row = connection.execute(text(_HOLD), {"dataset": dataset}).one_or_none()
    if row is None:
        return None
    return HeldRetirements(**{**row._mapping, "summary": row.summary or {}})  # noqa: SLF001 - its public name


def held_keys(connection: Connection, dataset: str) -> Iterator[tuple[str, str, int]]:
    """Every object whose rows are held: bucket, key and rows, in order."""
    after = ("", "")
    while True:
        rows = connection.execute(
            text(_HELD_KEYS),
            {"dataset": dataset, "bucket": after[0], "key": after[1], "limit": HELD_KEYS},
        ).all()
        for row in rows:
            yield row.bucket, row.key, row.rows
        if len(rows) < HELD_KEYS:
            return
        after = (rows[-1].bucket, rows[-1].key)
