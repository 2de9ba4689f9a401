"""Shadowed rows: valid rows superseded by another row of the same user, and that row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, Select, and_, case, func, select, tuple_

from etl.db.tables import source_object, users, users_shadowed

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROWS_PER_FETCH = 5_000


@dataclass(frozen=True, slots=True)
class Place:
    """A line of an object; shadowed rows are ordered by it."""

    key: str
    line: int

    @classmethod
    def parse(cls, text: str) -> Place:
        """Parse the output of `str`."""
        line, _, key = text.partition(":")
        return cls(key, int(line))

    def __str__(self) -> str:
        """The line and the key; the line is first because a key may contain any character."""
        return f"{self.line}:{self.key}"


def shadowed_rows(  # noqa: PLR0913 - each a filter
    connection: Connection,
    bucket: str,
    *,
    key: str | None = None,
    user_id: str | None = None,
    after: Place | None = None,
    limit: int | None = None,
) -> Iterator[dict[str, Any]]:
    """The shadowed rows, streamed, ordered by object and line.

    Each has its cells, its place, the winning row and the reason: `last_modified` (the winner's
    object is newer), `key` (equally new, but a smaller key) or `line` (a later line of the object).
    """
    filters = {users_shadowed.c._source_key: key, users_shadowed.c.user_id: user_id}
    statement = _statement(bucket, limit).where(
        *(column == value for column, value in filters.items() if value is not None)
    )
    if after is not None:
        place = tuple_(users_shadowed.c._source_key, users_shadowed.c._source_line)
        statement = statement.where(place > (after.key, after.line))
    streamed = statement.execution_options(yield_per=_ROWS_PER_FETCH)
    return (_nested(row) for row in connection.execute(streamed))


def count_shadowed(connection: Connection) -> int:
    """The number of shadowed rows, over all users and objects."""
    return connection.scalar(select(func.count()).select_from(users_shadowed)) or 0


def _statement(bucket: str, limit: int | None) -> Select[Any]:
    lost, own, won = users_shadowed.c, source_object.alias("own"), source_object.alias("won")
    decided_by = case(
        (lost._source_key == users.c._source_key, "line"),
        (own.c.last_modified == won.c.last_modified, "key"),
        else_="last_modified",
    )
    return (
        select(
            *(lost.user_id, lost._source_key, lost._source_line, own.c.etag, own.c.last_modified),
            *(lost.first_name, lost.last_name, lost.birthts, lost._extra, lost._run_id),
            decided_by.label("lost_by"),
            users.c._source_key.label("won_key"),
            users.c._source_line.label("won_line"),
            won.c.etag.label("won_etag"),
            won.c.last_modified.label("won_last_modified"),
        )
        .join(users, users.c.user_id == lost.user_id)
        .join(own, and_(own.c.bucket == bucket, own.c.key == lost._source_key))
        .join(won, and_(won.c.bucket == bucket, won.c.key == users.c._source_key))
        .order_by(lost._source_key, lost._source_line)
        .limit(limit)
    )


def _nested(row: Row[Any]) -> dict[str, Any]:
    return {
        "user_id": row.user_id,
        "key": row._source_key,
        "line": row._source_line,
        "etag": row.etag,
        "last_modified": row.last_modified,
        "first_name": row.first_name,
        "last_name": row.last_name,
        "birthts": row.birthts,
        "extra": row._extra,
        "run_id": row._run_id,
        "lost_by": row.lost_by,
        "lost_to": {
            "key": row.won_key,
            "line": row.won_line,
            "etag": row.won_etag,
            "last_modified": row.won_last_modified,
        },
    }
