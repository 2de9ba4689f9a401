"""Shadowed rows: valid rows superseded by another row with the same key, and that row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, FromClause, Row, Select, and_, case, func, select, tuple_

from etl.db.dataset_names import PLACE, SHADOWED
from etl.db.identifiers import table_of
from etl.db.tables import source_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement, TableClause

    from etl.db.dataset_sql import DatasetSql
    from etl.model.dataset import Dataset

_ROWS_PER_FETCH = 5_000
_USER = ("first_name", "last_name", "birthts")


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


class Outcome(NamedTuple):
    """Where a shadowed row and the row that it lost to come from, and what decided."""

    key: str
    line: int
    etag: str
    last_modified: datetime
    run_id: int
    lost_by: str
    won_key: str
    won_line: int
    won_etag: str
    won_last_modified: datetime

    def as_dict(self) -> dict[str, Any]:
        """The members that describe it in JSON."""
        found = self._asdict()
        won = {name: found.pop(f"won_{name}") for name in ("key", "line", "etag", "last_modified")}
        return {**found, "lost_to": won}


def shadowed_rows(  # noqa: PLR0913 - each a filter
    connection: Connection,
    sql: DatasetSql,
    bucket: str,
    *,
    key: str | None = None,
    user_id: str | None = None,
    after: Place | None = None,
    limit: int | None = None,
) -> Iterator[dict[str, Any]]:
    """The shadowed rows of a dataset, streamed, ordered by object and line.

    Each has its cells, its place, the winning row and the reason: `prefer` (the winner's preferred
    value is greater), `last_modified` (its object is newer), `key` (equally new, but a smaller key)
    or `line` (a later line of the object). Without a primary key, no row is shadowed.
    """
    if not sql.dataset.primary_key:
        return iter(())
    lost, live = _table(sql, SHADOWED), _table(sql).alias("won")
    place = tuple_(*(lost.c[name] for name in PLACE))
    statement = with_winner(lost, live, sql.dataset, bucket, *(lost.c[one] for one in sql.cells))
    if key is not None:
        statement = statement.where(lost.c._source_key == key)
    if user_id is not None:
        statement = statement.where(lost.c.user_id == user_id)
    if after is not None:
        statement = statement.where(place > (after.key, after.line))
    streamed = statement.limit(limit).execution_options(yield_per=_ROWS_PER_FETCH)
    return (_nested(row, sql) for row in connection.execute(streamed))


def count_shadowed(connection: Connection, sql: DatasetSql) -> int:
    """The number of shadowed rows of a dataset."""
    if not sql.dataset.primary_key:
        return 0
    return connection.scalar(select(func.count()).select_from(_table(sql, SHADOWED))) or 0


def with_winner(
    lost: FromClause,
    live: FromClause,
    dataset: Dataset,
    bucket: str,
    *columns: ColumnElement[Any],
) -> Select[Any]:
    """Shadowed rows with the row that each lost to, ordered by object and line.

    `lost` and `live` are the shadowed and live rows of a dataset, in a bucket. The result has
    these columns, then those of Outcome.
    """
    own, won = source_object.alias("own"), source_object.alias("won_object")
    is_same = and_(*(live.c[name] == lost.c[name] for name in dataset.primary_key))
    return (
        select(
            *columns,
            *(lost.c._source_key, lost.c._source_line, own.c.etag, own.c.last_modified),
            *(lost.c._run_id, _decided_by(lost, live, own, won, dataset.prefer)),
            *(live.c._source_key, live.c._source_line, won.c.etag, won.c.last_modified),
        )
        .select_from(lost)
        .join(live, is_same)
        .join(own, and_(own.c.bucket == bucket, own.c.key == lost.c._source_key))
        .join(won, and_(won.c.bucket == bucket, won.c.key == live.c._source_key))
        .order_by(lost.c._source_key, lost.c._source_line)
    )


def as_user(found: Mapping[str, Any]) -> dict[str, Any]:
    """A shadowed row of `users` for the API and `--json`, in a form older than datasets."""
    row = found["row"]
    return {
        "user_id": row["user_id"],
        **{name: found[name] for name in ("key", "line", "etag", "last_modified")},
        **{name: row[name] for name in _USER},
        **{name: found[name] for name in ("extra", "run_id", "lost_by", "lost_to")},
    }


def _decided_by(
    lost: FromClause, live: FromClause, own: FromClause, won: FromClause, prefer: str | None
) -> ColumnElement[str]:
    decided: list[tuple[ColumnElement[bool], str]] = []
    if prefer is not None:
        decided.append((lost.c[prefer].is_distinct_from(live.c[prefer]), "prefer"))
    decided += [
        (lost.c._source_key == live.c._source_key, "line"),
        (own.c.last_modified == won.c.last_modified, "key"),
    ]
    return case(*decided, else_="last_modified")


def _table(sql: DatasetSql, suffix: str = "") -> TableClause:
    return table_of(sql.dataset.table + suffix, sql.schema, (*sql.row, "_run_id"))


def _nested(found: Row[Any], sql: DatasetSql) -> dict[str, Any]:
    *cells, extra = found[: len(sql.cells)]
    return {
        "row": dict(zip(sql.cells[:-1], cells, strict=True)),
        "extra": extra,
        **Outcome(*found[len(sql.cells) :]).as_dict(),
    }
