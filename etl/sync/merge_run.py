"""Merge all datasets of a run in one transaction, each under its own savepoint."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from etl.db.engine import is_outage
from etl.db.runs import Committed
from etl.db.sql import statements
from etl.model.errors import AccountingMismatch, DatabaseUnavailable, MassRetirement
from etl.model.values import Counts, DatasetCounts
from etl.sync import staging_tables
from etl.sync.merge import THRESHOLDS, Merge, Thresholds, execute_all, merge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from etl.db.dataset_sql import DatasetSql
    from etl.sync.run import CurrentRun

MASS_RETIREMENT_FLOOR = 100

log = structlog.get_logger("etl.merge")


@dataclass(frozen=True)
class Merged:
    """What a run commits, and the datasets that it could not merge: their errors by name."""

    committed: Committed
    failures: Mapping[str, DBAPIError] = field(default_factory=dict)


def merge_all(
    run: CurrentRun,
    datasets: Sequence[DatasetSql],
    *,
    source_bucket: str,
    before: Committed,
    thresholds: Thresholds = THRESHOLDS,
) -> Merged:
    """Make the tables match staging, and count the changes. The caller commits.

    `before` is what the last run committed.

    Raises:  DatabaseUnavailable when staging lost rows since it was written; MassRetirement;
             AccountingMismatch. Nothing is committed then.
    """
    connection = run.connection
    staged = _staged(connection, run.stats.staged)
    merged: dict[str, DatasetCounts] = {}
    failures: dict[str, DBAPIError] = {}
    for sql in datasets:
        name = sql.dataset.name
        if name not in staged:
            continue
        task = Merge(
            run_id=run.id,
            sql=sql,
            bucket=sql.dataset.bucket or source_bucket,
            reading_hash=None,
            staged=staged[name],
            before=_before(before, name),
            thresholds=thresholds,
        )
        try:
            with connection.begin_nested():
                merged[name] = merge(connection, task)
                _refuse_mass_retirement(run, task, merged[name])
        except DBAPIError as error:
            if is_outage(error.orig):
                raise
            failures[name] = error
    if None in staged:
        parameters = {"run_id": run.id, "dataset": None, "reading_hash": None}
        execute_all(connection, statements("manifest"), parameters, analyze_from=thresholds.many)
    committed = _committed(connection, run, datasets, merged, before)
    size = run.stats.staged + committed.counts.rows_read
    staging_tables.clear(connection, datasets, is_small=size <= thresholds.small)
    return Merged(committed, failures)


def _staged(connection: Connection, expected: int) -> dict[str | None, int]:
    """The number of objects in staging by dataset, also of those with nothing but problems.

    Raises:  DatabaseUnavailable after a crash of PostgreSQL, which empties unlogged tables.
    """
    rows = connection.execute(text(statements("figures")["staged"]))
    staged = {row.dataset: int(row.objects) for row in rows}
    found = sum(staged.values())
    if found != expected:
        raise DatabaseUnavailable(
            f"Staging holds {found} of the {expected} objects written: PostgreSQL was restarted."
        )
    return staged


def _refuse_mass_retirement(run: CurrentRun, task: Merge, counts: DatasetCounts) -> None:
    """Refuse to retire more than half of the rows.

    Retirements of earlier event runs count too, because emptying a bucket can produce many
    small event runs. A run that retires no row itself is never refused.
    """
    name = task.sql.dataset.name
    if not counts.retired or name in run.allowed_retirements:
        return
    earlier = run.stats.retired_before.get(name, 0)
    retired = counts.retired + earlier
    live_before = counts.live - counts.inserted - counts.restored + retired
    if retired > MASS_RETIREMENT_FLOOR and retired * 2 > live_before:
        before = f" ({earlier} of them retired by event runs)" if earlier else ""
        raise MassRetirement(
            f"The bucket no longer holds {retired} of {live_before} users{before};"
            " this run changed nothing.",
            retired=retired,
            live=live_before,
        )


def _before(before: Committed, name: str) -> DatasetCounts | None:
    """The counts of the dataset after the last run; None if it is new, but may have rows."""
    return before.datasets.get(name) if before.datasets else DatasetCounts()


# -- counting


def _committed(
    connection: Connection,
    run: CurrentRun,
    datasets: Sequence[DatasetSql],
    merged: Mapping[str, DatasetCounts],
    before: Committed,
) -> Committed:
    """The counts of the run: those of the datasets merged, and the totals of all others."""
    figures = statements("figures")
    found = connection.execute(text(figures["objects"])).mappings().all()
    objects = {row["dataset"]: {k: v for k, v in row.items() if k != "dataset"} for row in found}
    by_dataset: dict[str, DatasetCounts] = {}
    for sql in datasets:
        name = sql.dataset.name
        if name in merged:
            by_dataset[name] = replace(merged[name], **objects.get(name, {}))
            _check_rows(name, by_dataset[name])
        else:
            by_dataset[name] = totals(before.datasets.get(name))
    others = DatasetCounts(**objects.get(None, {}))
    problems = connection.scalar(text(figures["problems"]), {"run_id": run.id})
    return Committed(summed(by_dataset, others, int(problems or 0)), by_dataset)


def totals(before: DatasetCounts | None) -> DatasetCounts:
    """The counts of a dataset that a run leaves as it is."""
    before = before or DatasetCounts()
    return DatasetCounts(live=before.live, attached=before.attached)


def summed(
    by_dataset: Mapping[str, DatasetCounts],
    others: DatasetCounts | None = None,
    problems: int = 0,
) -> Counts:
    """The counts over all datasets; `others` are those of the objects of none."""
    parts = [one.as_dict() for one in (*by_dataset.values(), others or DatasetCounts())]
    sums = {
        name: sum(part[name] for part in parts)
        for name in parts[0]
        if name.startswith(("objects_", "rows_"))
    }
    users = by_dataset.get("users", DatasetCounts())
    return Counts(
        **sums,
        users_inserted=users.inserted,
        users_updated=users.updated,
        users_restored=users.restored,
        users_retired=users.retired,
        users_live=users.live,
        users_with_image=users.attached,
        problems=problems,
    )


def _check_rows(name: str, counts: DatasetCounts) -> None:
    """Check that every row read has exactly one outcome."""
    merged = counts.rows_loaded + counts.rows_unchanged + counts.rows_shadowed
    if counts.rows_read != merged + counts.rows_rejected + counts.rows_held:
        raise AccountingMismatch(f"The rows of dataset {name!r} do not add up: {counts}.")


def check_objects(counts: Counts) -> None:
    """Check that every listed object has exactly one outcome.

    Raises:  AccountingMismatch when an object has none, or two.
    """
    merged = counts.objects_added + counts.objects_modified + counts.objects_unchanged
    skipped = counts.objects_ignored + counts.objects_unreadable + counts.objects_vanished
    if counts.objects_listed != merged + skipped:
        raise AccountingMismatch(f"The run's objects do not add up: {counts}.")
