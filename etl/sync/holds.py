"""Holds: retirements of many rows at once, which wait for permission.

A run that would retire more than half of a dataset's rows, and more than 100, opens a hold. The
objects that would lose rows are taken out of staging and keep their manifest entries, so that
later runs find them again. While the hold is open, every retirement of the dataset joins it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from etl.db.sql import statements
from etl.sync.hold_summary import summarize

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from etl.db.dataset_sql import DatasetSql
    from etl.db.runs import Allowed

FLOOR = 100


@dataclass(frozen=True)
class Held:
    """The objects of a dataset that a run holds: rows lost by key, and what was read of them.

    `listed` are those that the listing has, because they are modified, not removed.
    """

    lost: dict[str, int] = field(default_factory=dict)
    objects: int = 0
    listed: int = 0
    rows: int = 0

    def with_more(self, other: Held) -> Held:
        """Both together; an object is in one of them only."""
        return Held(
            self.lost | other.lost,
            self.objects + other.objects,
            self.listed + other.listed,
            self.rows + other.rows,
        )


def open_holds(connection: Connection) -> frozenset[str]:
    """The datasets with an open hold."""
    return frozenset(connection.scalars(text(statements("holds")["open"])))


@dataclass(frozen=True)
class Rule:
    """Whether a run may retire rows of a dataset.

    `count_earlier` counts the rows that event runs retired since its last full run without a hold.
    """

    name: str
    is_open: bool
    count_earlier: Callable[[], int]
    allowed: Allowed

    def holds(self, retired: int, live: int) -> bool:
        """Whether retiring `retired` of the `live` rows has to wait."""
        if not retired:
            return False
        if self.name in self.allowed:
            at_most = self.allowed[self.name]
            return at_most is not None and retired > at_most
        if self.is_open:
            return True
        earlier = self.count_earlier()
        together = retired + earlier
        return together > FLOOR and together * 2 > live + earlier


def take_out(connection: Connection, sql: DatasetSql, losing: Mapping[str, int]) -> Held:
    """Remove the objects, their rows and their problems from staging."""
    named = sql.statements("holds")
    parameters = {"dataset": sql.dataset.name, "keys": list(losing)}
    row = connection.execute(text(named["staged"]), parameters).one()
    for name in ("drop_rows", "drop_compared", "drop_problems", "drop_objects"):
        if name in named:
            connection.execute(text(named[name]), parameters)
    return Held(dict(losing), int(row.objects), int(row.listed), int(row.rows))


def record(  # noqa: PLR0913 - each a column
    connection: Connection,
    *,
    run_id: int,
    sql: DatasetSql,
    bucket: str,
    live: int,
    held: Held,
    is_full: bool,
) -> None:
    """Store what the dataset now holds, and a summary; without anything left, its hold ends.

    A full run finds all objects to hold; other runs only some.
    """
    parameters = {
        "run_id": run_id,
        "dataset": sql.dataset.name,
        "bucket": bucket,
        "keys": list(held.lost),
        "rows": list(held.lost.values()),
        "live": live,
        "is_full": is_full,
    }
    for name in ("release", "hold", "write", "end"):
        connection.execute(text(statements("holds")[name]), parameters)
    summarize(connection, sql)
