"""The statistics of datasets that are computed already, and the locks of those that are not."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert

from etl.db.engine import schemas_of
from etl.db.names import statistics_key
from etl.db.tables import statistics
from etl.db.tally_tables import dataset_tally

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime


class Statistics(NamedTuple):
    """The number of rows, and what is known of columns by name.

    `run_id` is the last run that had changed the rows, None if none had. `version` is that of the
    rows, and `computed_at` the time; of statistics that are not saved yet, they are not known.
    """

    rows: int
    columns: dict[str, Any]
    run_id: int | None = None
    version: str = ""
    computed_at: datetime | None = None


_COLUMNS = ("count", "columns", "run_id", "version", "computed_at")
_SAVED = select(*(statistics.c[name] for name in _COLUMNS))


def load(connection: Connection, dataset: str, version: str) -> Statistics | None:
    """What was saved of this version of the rows."""
    row = connection.execute(
        _SAVED.where(statistics.c.dataset == dataset, statistics.c.version == version)
    ).one_or_none()
    return None if row is None else Statistics(*row)


def latest(connection: Connection, dataset: str) -> Statistics | None:
    """What was saved last, which may be of an earlier version, and lack columns."""
    row = connection.execute(_SAVED.where(statistics.c.dataset == dataset)).one_or_none()
    return None if row is None else Statistics(*row)


def last_change(connection: Connection, dataset: str) -> int | None:
    """The last run that changed the rows of the dataset."""
    return connection.scalar(
        select(dataset_tally.c.run_id).where(dataset_tally.c.dataset == dataset)
    )


def save(connection: Connection, dataset: str, version: str, found: Statistics) -> None:
    """Replace what was saved of the dataset."""
    values = {
        "version": version,
        "count": found.rows,
        "columns": found.columns,
        "run_id": found.run_id,
    }
    statement = insert(statistics).values(dataset=dataset, **values)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["dataset"], set_={**values, "computed_at": func.now()}
        )
    )


@contextmanager
def computing(connection: Connection, dataset: str, *, when: bool) -> Iterator[bool]:
    """Whether this session computes the statistics in the block; false if another one does.

    It does so only `when` it may. The connection must be in autocommit: the lock is the session's,
    and the block may be long.
    """
    key = {"key": statistics_key(dataset, schemas_of(connection.engine).state)}
    is_ours = when and bool(connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), key))
    try:
        yield is_ours
    except BaseException:
        connection.invalidate()  # a statement may be running; closing it releases the lock
        raise
    if is_ours:
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)
