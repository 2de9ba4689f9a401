"""/datasets/<dataset>/rows and what belongs to it: one row, and the retired rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from apiflask import APIBlueprint
from flask import Response, request
from sqlalchemy import select

from api.http import accept, encodings
from api.http.errors import repeatable
from api.routes.catalog import find
from api.rows import etags, formats, single, streaming
from api.rows.requests import is_filter, row_query
from api.rows.shadowed import ShadowedReader
from api.rows.shapes import live_rows, retired_rows
from api.schemas.query import NoQuery
from api.schemas.rows import DatasetRow, RetiredRowArray, RowArray, RowsQuery
from api.security.auth import OF_PATH, needs
from api.spec import openapi
from api.state.services import services
from etl.db.engine import schemas_of
from etl.db.tables import source_object
from etl.model.roles import Role

if TYPE_CHECKING:
    from api.rows.formats import Format
    from api.rows.query import RowQuery
    from api.rows.shapes import RowShape
    from api.rows.single import SingleRow
    from api.state.catalog import CatalogState, Installed
    from api.state.services import Services

MAX_SHADOWED = 100

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
        key = single.key_of_path(shape, row_key)
        has_json_scalar = streaming.has_json_scalar(connection, shared)
        found = single.find(connection, installed, key, row_key)
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


def _lineage(row: SingleRow, bucket: str, etag: str | None) -> dict[str, Any]:
    return {
        "bucket": bucket,
        "key": row.source_key,
        "etag": etag,
        "line": row.source_line,
        "run_id": row.run_id,
        "updated_at": row.updated_at.isoformat().replace("+00:00", "Z"),
    }
