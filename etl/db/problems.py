"""Open problems: those found when each object was last read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Select, and_, select, text

from etl.db.sql import statements
from etl.db.tables import problem, source_object

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_ROWS_PER_FETCH = 5_000


def open_problems(  # noqa: PLR0913 - each a filter
    connection: Connection,
    *,
    bucket: str | None = None,
    key: str | None = None,
    code: str | None = None,
    datasets: Collection[str] = (),
    after: int | None = None,
    limit: int | None = None,
) -> Iterator[dict[str, Any]]:
    """The problems of the current objects, streamed, oldest first.

    The problems of one run are ordered by key and line. Without `datasets`, they are those of all.
    `after` is a problem's id, for paging. As in `open_problems` of status.sql, a problem is open
    while its run is the last that read the object. A corrected or removed object has no open
    problem.
    """
    filters = {
        problem.c.bucket: bucket,
        problem.c.key: key,
        problem.c.code: code,
    }
    statement = _open_problems(limit).where(
        *(column == value for column, value in filters.items() if value is not None)
    )
    if datasets:
        statement = statement.where(problem.c.dataset.in_(datasets))
    if after is not None:
        statement = statement.where(problem.c.id > after)
    streamed = statement.execution_options(yield_per=_ROWS_PER_FETCH)
    return (dict(row) for row in connection.execute(streamed).mappings())


def count_open_problems(connection: Connection) -> int:
    """The number of open problems, over all objects and codes."""
    found = connection.execute(text(statements("status")["open_problems"])).mappings()
    return sum(row["count"] for row in found)


def _open_problems(limit: int | None) -> Select[Any]:
    read_last = and_(
        source_object.c.bucket == problem.c.bucket,
        source_object.c.key == problem.c.key,
        source_object.c.run_id == problem.c.run_id,
    )
    return select(problem).join(source_object, read_last).order_by(problem.c.id).limit(limit)
