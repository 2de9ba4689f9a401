"""Shadowed rows of any dataset, each with the row that it lost to."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, and_, case, literal_column, select, tuple_
from sqlalchemy.sql.elements import quoted_name

from api.rows.columns import concatenated, json_object
from api.rows.shapes import PLACE, live_rows, shadowed_rows
from etl.db.tables import source_object

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from api.rows.query import RowFilters
    from api.state.catalog import Installed

_KEY, _LINE = PLACE
_NO_DATE = date.min  # shadowed rows have no ages


class ShadowedRows:
    """The shadowed rows of one dataset, in a bucket, on a server with json_scalar() or not."""

    def __init__(
        self, installed: Installed, schema: str, bucket: str, *, has_json_scalar: bool
    ) -> None:
        self.shape = shadowed_rows(installed, schema)
        self._live = live_rows(installed, schema).table.alias("won")
        self._dataset = installed.dataset
        self._bucket = bucket
        self._has_json_scalar = has_json_scalar

    def read(
        self,
        connection: Connection,
        filters: RowFilters | None,
        *,
        key: Sequence[object] | None = None,
        after: tuple[object, ...] | None = None,
        limit: int,
    ) -> list[tuple[tuple[str, int], str]]:
        """The place and the JSON of each row, ordered by object and line."""
        rows = connection.execute(
            self._statement(filters, key, after, limit), self._values(filters)
        )
        return [((row.key, row.line), _as_json(row)) for row in rows]

    @staticmethod
    def _values(filters: RowFilters | None) -> dict[str, object]:
        return {} if filters is None else dict(filters.values(_NO_DATE))

    def _statement(
        self,
        filters: RowFilters | None,
        key: Sequence[object] | None,
        after: tuple[object, ...] | None,
        limit: int,
    ) -> Select[Any]:
        chosen = self._chosen(filters, key, after, limit).subquery("chosen")
        own, won = source_object.alias("own"), source_object.alias("won_object")
        columns = tuple(self.shape.columns[name] for name in self.shape.default_fields)
        text = concatenated(json_object(columns, has_json_scalar=self._has_json_scalar))
        extra = self.shape.columns["_extra"].json(has_json_scalar=self._has_json_scalar)
        live = self._live.c
        is_same = and_(*(live[name] == chosen.c[name] for name in self._dataset.primary_key))
        return (
            select(
                literal_column(text).label("row"),
                literal_column(extra).label("extra"),
                chosen.c[_KEY].label("key"),
                chosen.c[_LINE].label("line"),
                chosen.c["_run_id"].label("run_id"),
                own.c.etag,
                own.c.last_modified,
                self._decided_by(chosen, own, won).label("lost_by"),
                live[_KEY].label("won_key"),
                live[_LINE].label("won_line"),
                won.c.etag.label("won_etag"),
                won.c.last_modified.label("won_last_modified"),
            )
            .select_from(chosen)
            .join(self._live, is_same)
            .join(own, and_(own.c.bucket == self._bucket, own.c.key == chosen.c[_KEY]))
            .join(won, and_(won.c.bucket == self._bucket, won.c.key == live[_KEY]))
            .order_by(chosen.c[_KEY], chosen.c[_LINE])
        )

    def _chosen(
        self,
        filters: RowFilters | None,
        key: Sequence[object] | None,
        after: tuple[object, ...] | None,
        limit: int,
    ) -> Select[Any]:
        table, columns = self.shape.table, self.shape.columns
        place = tuple_(*(table.c[name] for name in PLACE))
        where: list[ColumnElement[bool]] = []
        if filters is not None:
            where += filters.where(self.shape, _NO_DATE)
        if key is not None:
            where += [
                table.c[name] == one
                for name, one in zip(self._dataset.primary_key, key, strict=True)
            ]
        if after is not None:
            where.append(place > after)
        names = [one.source.label(quoted_name(name, quote=True)) for name, one in columns.items()]
        return (
            select(*names)
            .select_from(table)
            .where(*where)
            .order_by(*(table.c[name] for name in PLACE))
            .limit(limit)
        )

    def _decided_by(self, chosen: Any, own: Any, won: Any) -> ColumnElement[str]:  # noqa: ANN401
        decided: list[tuple[Any, str]] = []
        if self._dataset.prefer is not None:
            lost, kept = chosen.c[self._dataset.prefer], self._live.c[self._dataset.prefer]
            decided.append((lost.is_distinct_from(kept), "prefer"))
        decided += [
            (chosen.c[_KEY] == self._live.c[_KEY], "line"),
            (own.c.last_modified == won.c.last_modified, "key"),
        ]
        return case(*decided, else_="last_modified")


def _as_json(row: Row[Any]) -> str:
    place = _place(row.key, row.line, row.etag, row.last_modified)
    lost = {
        "run_id": row.run_id,
        "lost_by": row.lost_by,
        "lost_to": _place(row.won_key, row.won_line, row.won_etag, row.won_last_modified),
    }
    members = json.dumps(place | lost, ensure_ascii=False)
    return f'{{"row": {row.row}, "extra": {row.extra}, {members[1:]}'


def _place(key: str, line: int, etag: str, last_modified: datetime) -> dict[str, Any]:
    return {
        "key": key,
        "line": line,
        "etag": etag,
        "last_modified": last_modified.isoformat().replace("+00:00", "Z"),
    }
