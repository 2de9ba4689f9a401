"""Lists of runs, in which event runs of which nothing has to be seen are folded."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, text

from etl.db.runs import report
from etl.db.sql import statements
from etl.model.values import RunOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from etl.model.values import RunReport


class RunFilter(NamedTuple):
    """Which runs to list. `dataset`: those that read or changed something of it.

    `outcome` is a RunOutcome, or the state of a run that has not ended.
    """

    outcome: str | None = None
    trigger: str | None = None
    dataset: str | None = None
    before: int | None = None
    limit: int = 50


class FoldedRuns(NamedTuple):
    """Event runs that all succeeded without a problem, in all and on average."""

    runs: int
    first_id: int
    last_id: int
    first_at: datetime
    last_at: datetime
    took: timedelta
    objects: int
    rows_read: int
    rows_changed: int


class RunDetails(NamedTuple):
    """A run, the live rows by dataset before it, and for a failed one the run that recovered."""

    report: RunReport
    outcome: str
    before: dict[str, int] | None
    recovered_by: int | None
    recovered_at: datetime | None


def listed(
    connection: Connection, asked: RunFilter, *, folds: bool = False
) -> list[dict[str, Any]]:
    """The runs, newest first: the columns of `run`, and `outcome`."""
    rows = _execute(connection, "eventful", **asked._asdict(), folds=folds)
    return [dict(row) for row in rows.mappings()]


def folded(connection: Connection, asked: RunFilter, shown: Sequence[int]) -> list[FoldedRuns]:
    """What a list that folds leaves out: above its first run, between two, and below the last.

    `shown` are the ids listed; there is an item for each gap, with 0 runs if nothing is in it.
    """
    is_last_page = len(shown) < asked.limit
    edges = [asked.before, *shown, *([0] if is_last_page else [])]
    gaps = list(pairwise(edges))
    if not gaps:
        return []
    above, below = (list(ends) for ends in zip(*gaps, strict=True))
    return [FoldedRuns(*row) for row in _execute(connection, "folded", before=above, after=below)]


def details(connection: Connection, run_id: int) -> RunDetails | None:
    """A run, and what is known of the runs around it; None if there is none."""
    found = _execute(
        connection,
        "eventful",
        **RunFilter(before=run_id + 1, limit=1)._asdict(),
        folds=False,
    ).one_or_none()
    if found is None or found.id != run_id:
        return None
    run = report(connection, run_id)
    before = recovered = None
    if run.finished_at is not None:
        at = {"finished_at": run.finished_at}
        before = _execute(connection, "before", **at).one_or_none()
        if found.outcome in {RunOutcome.FAILED, RunOutcome.INTERRUPTED}:
            recovered = _execute(connection, "recovered", **at).one_or_none()
    live = None
    if before is not None:
        live = {name: one["live"] for name, one in before.dataset_counts.items()}
    return RunDetails(
        run,
        found.outcome,
        live,
        None if recovered is None else recovered.id,
        None if recovered is None else recovered.finished_at,
    )


def _execute(connection: Connection, name: str, **values: object) -> Any:  # noqa: ANN401 - rows
    return connection.execute(text(statements("run_list")[name]), values)
