"""Held retirements: what is stored of them, their objects and their rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select, text

from etl.db.tables import held_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date, datetime

    from sqlalchemy import ColumnElement, Connection

    from api.rows.shapes import RowShape

HELD_KEYS = 1_000  # per page of keys

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

_OUTPUTS = "SELECT name FROM publication WHERE dataset = :dataset ORDER BY name LIMIT 5"


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


@dataclass(frozen=True, slots=True)
class RowsOfHold:
    """The filter of the rows of held objects that would lose all of theirs."""

    dataset: str

    @property
    def template(self) -> RowsOfHold:
        """The filter with a placeholder."""
        return replace(self, dataset="")

    @property
    def cache_key(self) -> RowsOfHold:
        """What the filter is."""
        return self

    def depends_on_age(self, _shape: RowShape) -> bool:
        """Whether the result depends on the date."""
        return False

    def where(self, shape: RowShape, _today: date) -> list[ColumnElement[bool]]:
        """The conditions in SQL."""
        own = shape.table.alias("own")
        all_rows = (
            select(func.count())
            .select_from(own)
            .where(own.c["_source_key"] == held_object.c.key)
            .scalar_subquery()
        )
        keys = select(held_object.c.key).where(
            held_object.c.dataset == bindparam("held_dataset", self.dataset),
            held_object.c.rows == all_rows,
        )
        return [shape.table.c["_source_key"].in_(keys)]

    def values(self, _today: date) -> Mapping[str, object]:
        """The parameters."""
        return {"held_dataset": self.dataset}


def hold(connection: Connection, dataset: str) -> HeldRetirements | None:
    """The held retirements of the dataset; None if there are none."""
    row = connection.execute(text(_HOLD), {"dataset": dataset}).one_or_none()
    if row is None:
        return None
    return HeldRetirements(**{**row._mapping, "summary": row.summary or {}})  # noqa: SLF001 - its public name


def outputs(connection: Connection, dataset: str) -> list[str]:
    """The names of the outputs of the dataset."""
    return list(connection.scalars(text(_OUTPUTS), {"dataset": dataset}))


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
