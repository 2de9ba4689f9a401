"""One row of a dataset, found by its key or, without a primary key, by its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from flask import request
from sqlalchemy import Connection, Select, select

from api.http import addresses
from api.http.errors import NotFound, WrongParameters
from api.rows import cursors, streaming
from api.rows.columns import concatenated, json_object
from api.rows.query import RowQuery, select_rows
from api.rows.shapes import live_rows, retired_rows
from api.rows.values import WrongValue
from api.state.services import services
from etl.db.engine import schemas_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from sqlalchemy import ColumnElement

    from api.rows.shapes import RowShape
    from api.state.catalog import Installed

_LINEAGE = ("_source_key", "_source_line", "_run_id", "_updated_at", "_extra")


class SingleRow(NamedTuple):
    """The JSON of a row and of its extra columns, and where it comes from."""

    row: str
    extra: str
    source_key: str
    source_line: int
    run_id: int
    updated_at: datetime


class ByKey:
    """Selects the row that these values identify."""

    cache_key = None

    def __init__(self, values: Sequence[object]) -> None:
        self._values = values

    @property
    def template(self) -> ByKey:
        """The same filter: its statement is not cached."""
        return self

    def depends_on_age(self, _shape: RowShape) -> bool:
        """Keys are stored."""
        return False

    def where(self, shape: RowShape, _today: date) -> list[ColumnElement[bool]]:
        """That the columns of the key have these values."""
        columns = (shape.columns[name].source for name in shape.identity)
        return [column == one for column, one in zip(columns, self._values, strict=True)]

    def values(self, _today: date) -> dict[str, object]:
        """The values are in the statement."""
        return {}


def key_of_path(shape: RowShape, row_key: str) -> tuple[object, ...]:
    """The values of the key in the path of this request.

    Raises:  NotFound when the dataset has no key; WrongParameters.
    """
    if not shape.is_keyed:
        raise NotFound(
            "no-primary-key",
            f"The rows of {shape.name!r} have no primary key.",
            f"Use GET /datasets/{shape.name}/rows?_source_key=eq.KEY&_source_line=eq.LINE.",
        )
    raw = addresses.raw_tail(request.environ, f"/{shape.name}/rows/")  # "rows" may be its name
    raw = raw or addresses.raw_tail(request.environ, "/rows/") or row_key
    try:
        return cursors.of_path(shape, raw)
    except WrongValue as error:
        raise WrongParameters([("row_key", str(error))]) from error


def find(
    connection: Connection, installed: Installed, key: tuple[object, ...], row_key: str
) -> SingleRow:
    """The row; `row_key` is its key as the client has written it.

    Raises:  NotFound for a row that was retired, or never existed.
    """
    shared = services()
    shape = live_rows(installed, schemas_of(shared.engine).data)
    has_json_scalar = streaming.has_json_scalar(connection, shared)
    cells = connection.execute(_one_row(shape, key, has_json_scalar=has_json_scalar)).one_or_none()
    if cells is None:
        raise _unknown_row(connection, installed, key, row_key)
    return SingleRow(*cells)


def _one_row(shape: RowShape, key: tuple[object, ...], *, has_json_scalar: bool) -> Select[Any]:
    query = RowQuery(shape, ByKey(key), services().today(), (*shape.default_fields, *_LINEAGE))
    columns = tuple(shape.columns[name] for name in shape.default_fields)
    text = concatenated(json_object(columns, has_json_scalar=has_json_scalar))
    extra = shape.columns["_extra"].json(has_json_scalar=has_json_scalar)
    lineage = [f'chosen."_{name}"' for name in SingleRow._fields[2:]]
    return select_rows(query, [text, extra, *lineage])


def _unknown_row(
    connection: Connection, installed: Installed, key: tuple[object, ...], row_key: str
) -> NotFound:
    name = installed.dataset.name
    shape = retired_rows(installed, schemas_of(services().engine).data)
    where = ByKey(key).where(shape, services().today())
    columns = [shape.columns[one].source for one in ("_retired_at", "_source_key")]
    row = connection.execute(select(*columns).where(*where)).first()
    if row is None:
        return NotFound(
            "unknown-row",
            f"There is no row {row_key!r} in the dataset {name!r}.",
            f"GET /datasets/{name}/rows lists the rows.",
        )
    return NotFound(
        "retired-row",
        f"Row {row_key!r} of the dataset {name!r} was retired at {row[0]:%Y-%m-%dT%H:%M:%SZ}"
        f" because {row[1]!r} no longer contains it.",
        "Upload the object with this row again to restore it.",
    )
