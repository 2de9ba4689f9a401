"""The counts of a run: what is staged, the totals of datasets, and whether they add up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from etl.db.sql import statements
from etl.model.errors import AccountingMismatch, DatabaseUnavailable
from etl.model.values import Counts, DatasetCounts
from etl.sync.merge import figures

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from etl.db.dataset_sql import DatasetSql
    from etl.db.runs import Committed


def staged_objects(
    connection: Connection, expected: int
) -> tuple[dict[str | None, int], frozenset[str]]:
    """The number of objects in staging by dataset, also of those with nothing but problems.

    Also returns the datasets with an open hold.

    Raises:  DatabaseUnavailable after a crash of PostgreSQL, which empties unlogged tables.
    """
    rows = connection.execute(text(statements("figures")["staged"])).all()
    found = sum(int(row.objects) for row in rows)
    if found != expected:
        raise DatabaseUnavailable(
            f"Staging holds {found} of the {expected} objects written: PostgreSQL was restarted."
        )
    staged = {row.dataset: int(row.objects + row.gone) for row in rows if row.in_staging}
    return staged, frozenset(row.dataset for row in rows if row.is_held)


def totals(connection: Connection, sql: DatasetSql, before: Committed) -> DatasetCounts:
    """The counts of a dataset that a run leaves as it is."""
    found = before.datasets.get(sql.dataset.name)
    if found is None:  # its table may have rows of an earlier declaration
        return DatasetCounts(**figures(connection, sql, "live", {}))
    return DatasetCounts(live=found.live, attached=found.attached)


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
        if name.startswith(("objects_", "rows_", "retirements_"))
    }
    changes = {
        f"rows_{name}": sum(part[name] for part in parts)
        for name in ("inserted", "updated", "restored", "retired")
    }
    users = by_dataset.get("users", DatasetCounts())
    return Counts(
        **sums,
        **changes,
        users_inserted=users.inserted,
        users_updated=users.updated,
        users_restored=users.restored,
        users_retired=users.retired,
        users_live=users.live,
        users_with_image=users.attached,
        problems=problems,
    )


def check_rows(name: str, counts: DatasetCounts) -> None:
    """Check that every row read has exactly one outcome."""
    merged = counts.rows_loaded + counts.rows_unchanged + counts.rows_shadowed
    if counts.rows_read != merged + counts.rows_rejected + counts.rows_held:
        raise AccountingMismatch(f"The rows of dataset {name!r} do not add up: {counts}.")


def check_objects(counts: Counts, failures: Collection[str], held_listed: int) -> None:
    """Check that every listed object has exactly one outcome; `held_listed` of them are held.

    The objects of `failures` have none.

    Raises:  AccountingMismatch when an object has none, or two.
    """
    if failures:
        return
    known = counts.objects_added + counts.objects_modified + counts.objects_unchanged
    skipped = counts.objects_ignored + counts.objects_unreadable + counts.objects_vanished
    if counts.objects_listed != known + skipped + held_listed:
        raise AccountingMismatch(f"The run's objects do not add up: {counts}.")
