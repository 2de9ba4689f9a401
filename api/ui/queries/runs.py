"""The runs and one run, as pages show them."""

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

MOST_PROBLEMS = 10_000  # of a run, that are counted by object
FAULTY_OBJECTS = 20

_NEIGHBORS = """
SELECT (SELECT max(id) FROM run WHERE id < :id) AS earlier,
       (SELECT min(id) FROM run WHERE id > :id) AS later
"""

_OPEN_HOLDS = "SELECT dataset FROM hold ORDER BY dataset"

_FAULTY = """
SELECT bucket, key, dataset, count(*) AS problems, array_agg(DISTINCT code ORDER BY code) AS codes
FROM (SELECT bucket, key, dataset, code FROM problem WHERE run_id = :run_id LIMIT :most) AS found
GROUP BY bucket, key, dataset
ORDER BY problems DESC, bucket, key LIMIT :objects
"""


@dataclass(frozen=True, slots=True)
class RunsPage:
    """A page of runs. `lines` are runs and, between them, the runs that are folded."""

    lines: tuple[dict[str, Any] | FoldedRuns, ...]
    next_before: int | None


@dataclass(frozen=True, slots=True)
class FaultyOfRun:
    """An object in which a run found problems: how many, and their codes."""

    bucket: str
    key: str
    dataset: str | None
    problems: int
    codes: tuple[str, ...]


def page_of_runs(connection: Connection, asked: RunFilter, *, folds: bool) -> RunsPage:
    """The runs, newest first, and what a list that folds leaves out between them."""
    runs = listed(connection, asked, folds=folds)
    ids = [one["id"] for one in runs]
    gaps = folded(connection, asked, ids) if folds else []
    is_complete = len(runs) < asked.limit
    return RunsPage(tuple(_interleaved(gaps, runs)), None if is_complete else ids[-1])


def oldest_at(shown: RunsPage) -> datetime | None:
    """When the last run of the page began; None if it is empty."""
    if not shown.lines:
        return None
    last = shown.lines[-1]
    if isinstance(last, FoldedRuns):
        return last.first_at
    found: datetime = last["started_at"] or last["requested_at"]
    return found


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


def faulty_objects(connection: Connection, run_id: int) -> list[FaultyOfRun]:
    """The objects with the most problems among the first that the run found."""
    limits = {"most": MOST_PROBLEMS, "objects": FAULTY_OBJECTS}
    rows = connection.execute(text(_FAULTY), {"run_id": run_id, **limits})
    return [
        FaultyOfRun(row.bucket, row.key, row.dataset, row.problems, tuple(row.codes))
        for row in rows
    ]


def open_holds(connection: Connection) -> list[str]:
    """The datasets with held retirements."""
    return list(connection.scalars(text(_OPEN_HOLDS)))
