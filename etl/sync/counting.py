"""The counts of a run: what is staged, the totals of datasets, and whether they add up."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from etl.db.committed import LAST_COMMITTED, committed_in
from etl.db.round_trips import Question, ask, later
from etl.db.sql import statements
from etl.model.errors import AccountingMismatch, DatabaseUnavailable
from etl.model.values import Counts, DatasetCounts
from etl.sync.merge import figures, merge_questions
from etl.sync.planner import POINT_PLANNER, configure

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection

    from etl.db.committed import Committed
    from etl.db.dataset_sql import DatasetSql
    from etl.sync.merge import Answers


class Staged(NamedTuple):
    """What is staged, and what the last run committed.

    Shapes:  objects: their number by dataset, also of those with nothing but problems. open_holds:
             the datasets with one. has_left: objects leave their dataset. has_moved: objects had
             another dataset, or none. looked_up: by dataset, the answers to its `merge_questions`.
    """

    before: Committed
    objects: Mapping[str | None, int]
    open_holds: frozenset[str]
    has_images: bool
    has_left: bool
    has_moved: bool
    looked_up: Mapping[str, Answers]


def staged(
    connection: Connection, expected: int, small: int, datasets: Sequence[DatasetSql] = ()
) -> Staged:
    """Stage the objects that leave their dataset, and look at all `expected` ones.

    Up to `small` of them are looked up by index. Of the `datasets` it also asks the questions of a
    merge with at most `small` rows.

    Raises:  DatabaseUnavailable after a crash of PostgreSQL, which empties unlogged tables.
    """
    left = statements("left")
    if expected <= small:
        configure(connection, POINT_PLANNER)
    later(connection, left["stage"])
    questions = {
        "objects": Question(statements("figures")["staged"], {}),
        "left": Question(left["found"], {}),
        "committed": LAST_COMMITTED,
    }
    for number, sql in enumerate(datasets):
        further = merge_questions(sql, small)
        questions |= {f"{name}_{number}": one for name, one in further.items()}
    answers = ask(connection, questions)
    rows = answers["objects"]
    found = sum(row["objects"] for row in rows)
    if found != expected:
        raise DatabaseUnavailable(
            f"Staging holds {found} of the {expected} objects written: PostgreSQL was restarted."
        )
    return Staged(
        before=committed_in(answers["committed"]),
        objects={row["dataset"]: row["objects"] + row["gone"] for row in rows if row["in_staging"]},
        open_holds=frozenset(row["dataset"] for row in rows if row["is_held"]),
        has_images=any(row["images"] for row in rows),
        **answers["left"][0],
        looked_up={
            sql.dataset.name: {name: answers[f"{name}_{number}"] for name in ("obstacles", "keys")}
            for number, sql in enumerate(datasets)
        },
    )


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
