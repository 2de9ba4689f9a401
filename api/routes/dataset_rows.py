"""/datasets/<dataset>/rows and what belongs to it: one row, and the retired rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from apiflask import APIBlueprint
from flask import Response, request
from sqlalchemy import Connection, Select, select

from api.http import accept, addresses, encodings
from api.http.errors import NotFound, WrongParameters, repeatable
from api.routes.catalog import find
from api.rows import cursors, etags, formats, streaming
from api.rows.columns import concatenated, json_object
from api.rows.query import RowQuery, select_rows
from api.rows.requests import is_filter, row_query
from api.rows.shadowed import ShadowedReader
from api.rows.shapes import live_rows, retired_rows
from api.rows.values import WrongValue
from api.schemas.query import NoQuery
from api.schemas.rows import DatasetRow, RetiredRowArray, RowArray, RowsQuery
from api.security.auth import OF_PATH, needs
from api.spec import openapi
from api.state.services import services
from etl.db.engine import schemas_of
from etl.db.tables import source_object
from etl.model.roles import Role

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from sqlalchemy import ColumnElement

    from api.rows.formats import Format
    from api.rows.shapes import RowShape
    from api.state.catalog import CatalogState, Installed
    from api.state.services import Services

MAX_SHADOWED = 100
_LINEAGE = ("_source_key", "_source_line", "_run_id", "_updated_at", "_extra")

bp = APIBlueprint("rows", __name__, tag="Datasets")

_PAGE = openapi.LINK_HEADER | openapi.ETAG_HEADER


# -- GET /datasets/<dataset>/rows


@bp.get("/datasets/<dataset>/rows")
@needs(Role.READER, dataset=OF_PATH)
@repeatable(is_filter)
@bp.input(RowsQuery, location="query")
@bp.output(RowArray, description="The matching rows, ordered by key.")
@bp.doc(
    responses={
        200: {"headers": _PAGE, "content": openapi.OTHER_ROW_FORMATS},
        304: openapi.NOT_MODIFIED,
        **openapi.problems(404, 406, 422, 503),
    }
)
def list_rows(dataset: str, query_data: RowsQuery) -> Response:
    """List the rows of a dataset.

    Returns an array of objects, ordered by primary key or, without one, by object and line. Each
    other parameter is a filter, `column=operator.value`. Formats, compression, pages and
    conditional requests work as in GET /data.
    """
    shared = services()
    with shared.database(shared.autocommit) as connection:
        state = shared.catalog.read(connection)
        installed = find(state, dataset)
        query = _row_query(live_rows(installed, _schema(shared)), query_data)
        kind, coding = _negotiated(query_data.format)
        tag = _etag(state, installed, query, kind)
        if etags.is_known(tag):
            return _varying(etags.not_modified(tag))
        page = None if query.limit is None else streaming.page(connection, query, kind, coding)
    response = page or streaming.all_rows(query, kind, coding)
    response.headers.update(etags.headers(tag))
    return _varying(response)


@bp.get("/datasets/<dataset>/retired")
@needs(Role.READER, dataset=OF_PATH)
@repeatable(is_filter)
@bp.input(RowsQuery, location="query")
@bp.output(RetiredRowArray, description="The matching retired rows, ordered by key.")
@bp.doc(
    responses={
        200: {"headers": openapi.LINK_HEADER, "content": openapi.OTHER_ROW_FORMATS},
        **openapi.problems(404, 406, 422, 503),
    }
)
def list_retired_rows(dataset: str, query_data: RowsQuery) -> Response:
    """List the rows that left the bucket, with the time as `_retired_at`.

    Parameters and formats are those of the rows of the dataset.
    """
    shared = services()
    with shared.database(shared.autocommit) as connection:
        installed = find(shared.catalog.read(connection), dataset)
        query = _row_query(retired_rows(installed, _schema(shared)), query_data)
        kind, coding = _negotiated(query_data.format)
        page = None if query.limit is None else streaming.page(connection, query, kind, coding)
    return _varying(page or streaming.all_rows(query, kind, coding))


def _row_query(shape: RowShape, query: RowsQuery) -> RowQuery:
    return row_query(
        shape,
        request.args.items(multi=True),
        services().today(),
        fields=query.fields,
        limit=query.limit,
        after=query.after,
    )


def _negotiated(name: str | None) -> tuple[Format, str | None]:
    """The format and the content coding of the response."""
    ranges = accept.media_ranges(request.headers.get("Accept"))
    kind = formats.choose(name, ranges, formats.ROW_FORMATS)
    accepted = accept.codings(request.headers.get("Accept-Encoding"))
    return kind, None if kind.is_compressed else encodings.choose(accepted)


def _etag(state: CatalogState, installed: Installed, query: RowQuery, kind: Format) -> str:
    names = (installed.dataset.name, installed.installed_at.isoformat(), installed.added)
    return etags.of(state.revision(installed), *names, kind.name, *query.cache_key)


def _varying(response: Response) -> Response:
    response.vary.update(("Accept", "Accept-Encoding"))
    return response


def _schema(shared: Services) -> str:
    """The schema of the data tables."""
    return schemas_of(shared.engine).data


# -- GET /datasets/<dataset>/rows/<key>


class _ByKey:
    """Selects the row with this key."""

    cache_key = None

    def __init__(self, values: Sequence[object]) -> None:
        self._values = values

    @property
    def template(self) -> _ByKey:
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


@bp.get("/datasets/<dataset>/rows/<object_key:row_key>")
@needs(Role.READER, dataset=OF_PATH)
@bp.input(NoQuery, location="query")
@bp.output(DatasetRow, description="The row.")
@bp.doc(responses=openapi.problems(404, 422, 503))
def show_row(dataset: str, row_key: str, query_data: NoQuery) -> Response:  # noqa: ARG001
    """Show one row with its source, and the rows that it shadows.

    The parts of a composite key are joined by commas, each percent-encoded.
    """
    shared = services()
    with shared.database() as connection:
        installed = find(shared.catalog.read(connection), dataset)
        shape = live_rows(installed, _schema(shared))
        key = _key(shape, row_key)
        has_json_scalar = streaming.has_json_scalar(connection, shared)
        cells = connection.execute(_one_row(shape, key, has_json_scalar)).one_or_none()
        if cells is None:
            raise _unknown_row(connection, installed, key, row_key)
        found = _Found(*cells)
        bucket = shared.bucket_of(installed.dataset)
        etag = connection.scalar(
            select(source_object.c.etag).where(
                source_object.c.bucket == bucket, source_object.c.key == found.source_key
            )
        )
        shadowed = ShadowedReader(
            installed, _schema(shared), bucket, has_json_scalar=has_json_scalar
        ).read(connection, None, key=key, limit=MAX_SHADOWED)
    lineage = json.dumps(_lineage(found, bucket, etag), ensure_ascii=False)
    others = ", ".join(text for _, text in shadowed)
    return Response(
        f'{{"row": {found.row}, "extra": {found.extra}, "lineage": {lineage},'
        f' "shadowed": [{others}]}}\n',
        mimetype="application/json",
    )


class _Found(NamedTuple):
    """The JSON of a row and of its extra columns, and where it comes from."""

    row: str
    extra: str
    source_key: str
    source_line: int
    run_id: int
    updated_at: datetime


def _key(shape: RowShape, row_key: str) -> tuple[object, ...]:
    """The values of the key in the path.

    Raises:  NotFound when the dataset has no key, or it cannot have such a value.
    """
    if not shape.is_keyed:
        raise NotFound(
            "no-primary-key",
            f"The rows of {shape.name!r} have no primary key.",
            f"Use GET /datasets/{shape.name}/rows?_source_key=eq.KEY&_source_line=eq.LINE.",
        )
    try:
        return cursors.of_path(shape, addresses.raw_tail(request.environ, "/rows/") or row_key)
    except WrongValue as error:
        raise WrongParameters([("row_key", str(error))]) from error


def _one_row(shape: RowShape, key: tuple[object, ...], has_json_scalar: bool) -> Select[Any]:  # noqa: FBT001
    query = RowQuery(shape, _ByKey(key), services().today(), (*shape.default_fields, *_LINEAGE))
    columns = tuple(shape.columns[name] for name in shape.default_fields)
    text = concatenated(json_object(columns, has_json_scalar=has_json_scalar))
    extra = shape.columns["_extra"].json(has_json_scalar=has_json_scalar)
    lineage = [f'chosen."_{name}"' for name in _Found._fields[2:]]
    return select_rows(query, [text, extra, *lineage])


def _lineage(row: _Found, bucket: str, etag: str | None) -> dict[str, Any]:
    return {
        "bucket": bucket,
        "key": row.source_key,
        "etag": etag,
        "line": row.source_line,
        "run_id": row.run_id,
        "updated_at": row.updated_at.isoformat().replace("+00:00", "Z"),
    }


def _unknown_row(
    connection: Connection, installed: Installed, key: tuple[object, ...], row_key: str
) -> NotFound:
    """The 404 for a row that was retired, or never existed."""
    name = installed.dataset.name
    shape = retired_rows(installed, _schema(services()))
    where = _ByKey(key).where(shape, services().today())
    columns = [shape.columns[one].source for one in ("_retired_at", "_source_key")]
    row = connection.execute(select(*columns).where(*where)).one_or_none()
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
