"""Shadowed rows of any dataset, each with the row that it lost to."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, literal_column, select, tuple_
from sqlalchemy.sql.elements import quoted_name

from api.rows.columns import concatenated, json_object
from api.rows.shapes import live_rows, shadowed_rows
from etl.db.dataset_names import PLACE
from etl.db.shadowed import Outcome, with_winner

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from api.rows.query import RowFilters
    from api.state.catalog import Installed

_NO_DATE = date.min  # shadowed rows have no ages


class ShadowedReader:
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
        found = [(row, extra, Outcome(*others)) for row, extra, *others in rows]
        return [((one.key, one.line), _as_json(row, extra, one)) for row, extra, one in found]

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
        columns = tuple(self.shape.columns[name] for name in self.shape.default_fields)
        text = concatenated(json_object(columns, has_json_scalar=self._has_json_scalar))
        extra = self.shape.columns["_extra"].json(has_json_scalar=self._has_json_scalar)
        shown: list[ColumnElement[Any]] = [literal_column(one) for one in (text, extra)]
        return with_winner(chosen, self._live, self._dataset, self._bucket, *shown)

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


def _as_json(row: str, extra: str, outcome: Outcome) -> str:
    members = json.dumps(outcome.as_dict(), ensure_ascii=False, default=_iso)
    return f'{{"row": {row}, "extra": {extra}, {members[1:]}'


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
