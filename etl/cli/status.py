"""Where things stand: users, objects, runs, publication, and the problems open now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Select, and_, select, text

from etl.db.engine import connect, translating
from etl.db.sql import statements
from etl.db.tables import problem, source_object
from etl.images.rows import count_waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.settings import Settings

_ROWS_AT_A_TIME = 5_000


def status(connection: Connection, settings: Settings) -> dict[str, Any]:
    """A value ready for JSON: users, objects, images, problems by code, last runs, output."""
    queries = statements("status")

    def rows(name: str) -> list[dict[str, Any]]:
        return [dict(row) for row in connection.execute(text(queries[name])).mappings()]

    return {
        "users": rows("users")[0],
        "objects": rows("objects")[0],
        "images": rows("images")[0] | {"waiting": count_waiting(connection, settings)},
        "problems": {row["code"]: row["count"] for row in rows("open_problems")},
        "runs": rows("last_runs"),
        "output": next(iter(rows("output")), None),
    }


def images_waiting(settings: Settings) -> int:
    """How many images are yet to be looked at.

    Raises:  DatabaseUnavailable.
    """
    engine = connect(settings)
    try:
        with translating(), engine.connect() as connection:
            return count_waiting(connection, settings)
    finally:
        engine.dispose()


def open_problems(
    connection: Connection,
    *,
    key: str | None = None,
    code: str | None = None,
    after: int | None = None,
    limit: int | None = None,
) -> Iterator[dict[str, Any]]:
    """The problems of the objects as they are now, oldest find first, as they are fetched.

    Those of one run are in the order of their keys and lines. `after` is a problem's id, for
    pages. As in `open_problems` of status.sql, a problem is open while the run that found it
    is the last that read its object; a mended or removed object has none.
    """
    asked = {problem.c.key: key, problem.c.code: code}
    statement = _open_problems(limit).where(
        *(column == value for column, value in asked.items() if value is not None)
    )
    if after is not None:
        statement = statement.where(problem.c.id > after)
    streamed = statement.execution_options(yield_per=_ROWS_AT_A_TIME)
    return (dict(row) for row in connection.execute(streamed).mappings())


def count_open_problems(connection: Connection) -> int:
    """How many problems are open, of all objects and codes."""
    found = connection.execute(text(statements("status")["open_problems"])).mappings()
    return sum(row["count"] for row in found)


def _open_problems(limit: int | None) -> Select[Any]:
    read_last = and_(
        source_object.c.key == problem.c.key, source_object.c.run_id == problem.c.run_id
    )
    return select(problem).join(source_object, read_last).order_by(problem.c.id).limit(limit)
