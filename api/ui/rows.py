"""The rows of a dataset: pages of them, one row, its gallery and its exports."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote

from apiflask import APIBlueprint
from flask import Response, request, url_for

from api.http import accept, downloads, encodings
from api.http.errors import NotFound, WrongParameters, repeatable
from api.routes.dataset_rows import MAX_SHADOWED
from api.rows import cursors, images, single, streaming
from api.rows.formats import ROW_FORMATS
from api.rows.query import RowQuery
from api.rows.shadowed import ShadowedReader
from api.rows.shapes import live_rows
from api.rows.values import WrongValue
from api.security.auth import OF_PATH, needs
from api.state.services import services
from api.ui import forms, row_view
from api.ui.dataset_frame import frame, head
from api.ui.parameters import address, given, number
from api.ui.queries import rows as queries
from api.ui.render import page
from api.ui.row_tables import EXPORTS, TABLES, key_text, picture_url, row_url, table
from api.ui.source_cells import cells
from api.ui.source_lines import source_lines
from etl.db.engine import schemas_of
from etl.db.shadowed import Place
from etl.model.roles import Role
from etl.model.safe_text import printable
from etl.model.types import SqlType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from api.rows.shapes import RowShape
    from api.rows.single import SingleRow
    from api.state.catalog import Installed
    from api.ui.dataset_frame import DatasetFrame
    from api.ui.queries.rows import RowOrigin
    from api.ui.source_lines import SourceLines
    from etl.storage.objects import ObjectInfo

SHADOWED_ROWS = 50
_UNTYPED = SqlType("text")
_CACHE = {"Cache-Control": "private, no-cache"}
_REASONS = {
    "prefer": "its {prefer} is not the greatest",
    "last_modified": "older object",
    "key": "greater key",
    "line": "earlier line",
}

bp = APIBlueprint("rows", __name__, enable_openapi=False)


def _is_filter(name: str) -> bool:
    return name not in row_view.PARAMETERS


# -- pages of rows


@bp.get("/datasets/<dataset>/rows")
@needs(Role.READER, dataset=OF_PATH)
@repeatable(_is_filter)
def list_rows(dataset: str) -> Response:
    """List rows with the filters of the API, in the order of an index."""
    return table(dataset, "rows")


@bp.get("/datasets/<dataset>/retired")
@needs(Role.READER, dataset=OF_PATH)
@repeatable(_is_filter)
def list_retired(dataset: str) -> Response:
    """List the rows that left the bucket."""
    return table(dataset, "retired")


@bp.get("/datasets/<dataset>/gallery")
@needs(Role.READER, dataset=OF_PATH)
@repeatable(_is_filter)
def show_gallery(dataset: str) -> Response:
    """Show the pictures of rows with the filters of the API."""
    return table(dataset, "gallery")


@bp.get("/datasets/<dataset>/filter")
@needs(Role.READER, dataset=OF_PATH)
def add_filter(dataset: str) -> Response:
    """Go to the page of rows with one more filter: that of the form."""
    table, column, operator = given("of") or "", given("column"), given("is") or ""
    if table not in TABLES or column is None or operator not in row_view.CONDITIONS:
        raise WrongParameters([("column", "and a condition must be given")])
    added = row_view.filter_text(operator, request.args.get("value", ""))
    pairs = parse_qsl(given("with") or "")
    path = url_for(f"ui.rows.{TABLES[table]}", dataset=dataset)
    return forms.see(address(path, [*pairs, (row_view.filter_named(column), added)]))


@bp.get("/datasets/<dataset>/export/<kind>")
@needs(Role.READER, dataset=OF_PATH)
@repeatable(_is_filter)
def export_rows(dataset: str, kind: str) -> Response:
    """All rows that match the filters, as a file to save."""
    if kind not in EXPORTS:
        raise NotFound("unknown-format", f"There is no export {kind!r}.", "Use csv or parquet.")
    shared = services()
    with shared.database() as connection:
        found = frame(connection, dataset)
    asked = row_view.asked_rows(found.shape, found.installed.dataset)
    fields = asked.fields if given("fields") else found.shape.default_fields
    filters = asked.query.filters
    query = RowQuery(found.shape, filters, shared.today(), fields)
    format_ = ROW_FORMATS[kind]
    accepted = accept.codings(request.headers.get("Accept-Encoding"))
    coding = None if format_.is_compressed else encodings.choose(accepted)
    response = streaming.all_rows(query, format_, coding)
    response.headers["Content-Disposition"] = f'attachment; filename="{dataset}.{kind}"'
    return response


# -- shadowed rows


@bp.get("/datasets/<dataset>/shadowed")
@needs(Role.READER, dataset=OF_PATH)
def list_shadowed(dataset: str) -> Response:
    """List the rows that another row with the same key supersedes."""
    after = given("after")
    with services().database() as connection:
        found = frame(connection, dataset)
        top = head(connection, found)
        if not found.installed.dataset.primary_key:
            raise NotFound(
                "no-primary-key",
                f"The rows of {dataset!r} have no primary key, so none is shadowed.",
                "The page Rows lists them.",
            )
        reader = _shadowed_reader(connection, found.installed)
        try:
            place = None if after is None else Place.parse(after)
        except ValueError as error:
            raise WrongParameters([("after", "must be LINE:KEY")]) from error
        lines = reader.read(
            connection,
            None,
            after=None if place is None else (place.key, place.line),
            limit=SHADOWED_ROWS + 1,
        )
    shown = lines[:SHADOWED_ROWS]
    path = url_for("ui.rows.list_shadowed", dataset=dataset)
    more = len(lines) > SHADOWED_ROWS
    return page(
        "rows/shadowed.html",
        title=f"{dataset}: shadowed",
        json_url=f"/datasets/{dataset}/shadowed",
        frame=found,
        head=top,
        tabs=top.tabs("ui.rows.list_shadowed"),
        rows=[_shadowed(found.installed, text) for _, text in shown],
        next_url=address(path, [("after", str(Place(*shown[-1][0])))]) if more else None,
        first_url=path if after else None,
    )


def _shadowed_reader(connection: Connection, installed: Installed) -> ShadowedReader:
    shared = services()
    return ShadowedReader(
        installed,
        schemas_of(shared.engine).data,
        shared.bucket_of(installed.dataset),
        has_json_scalar=streaming.has_json_scalar(connection, shared),
    )


def _shadowed(
    installed: Installed, text: str, live: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A shadowed row, and in which values it differs from the live one."""
    found: dict[str, Any] = json.loads(text, parse_float=str)
    dataset, row = installed.dataset, found["row"]
    columns = live_rows(installed, schemas_of(services().engine).data).columns
    key = [key_text(row[name]) for name in dataset.primary_key]
    name = key[0] if len(key) == 1 else ",".join(quote(one, safe="") for one in key)
    rest = [one for one in row if one not in dataset.primary_key]
    differs = rest if live is None else [one for one in rest if row[one] != live.get(one)]
    return {
        **found,
        "name": printable(name),
        "url": row_url(dataset.name, name),
        "values": [(one, row_view.cell(row[one], columns[one].type)) for one in differs],
        "modified_at": datetime.fromisoformat(found["last_modified"]),
        "why": _REASONS[found["lost_by"]].format(prefer=dataset.prefer),
    }


# -- one row


@bp.get("/datasets/<dataset>/rows/<object_key:row_key>")
@needs(Role.READER, dataset=OF_PATH)
def show_row(dataset: str, row_key: str) -> Response:
    """Show a row: its values, where it comes from, its pictures, and the rows that it shadows.

    With `raw`, the page includes the line of the object and its cells; a script loads them
    otherwise.
    """
    with services().database() as connection:
        found = frame(connection, dataset)
        key = _key(found.shape, row_key)
        row = single.find(connection, found.installed, key, row_key)
        values: dict[str, Any] = json.loads(row.row, parse_float=str)
        lineage = queries.lineage(connection, dataset, found.bucket, row.source_key, row.run_id)
        pictures = queries.pictures(connection, [values.get(one) for one in found.attached])
        sizes = {
            path: list(images.thumbnail_keys(connection, one.sha256))
            for path, one in pictures.items()
        }
        shadowed = []
        if found.shape.is_keyed:
            reader = _shadowed_reader(connection, found.installed)
            shadowed = reader.read(connection, None, key=key, limit=MAX_SHADOWED)
    lines = _line_with_header(found, row, lineage) if given("raw") else None
    name = row_key if found.shape.is_keyed else f"line {row.source_line} of {row.source_key}"
    return page(
        "rows/show.html",
        title=f"{dataset} {printable(name)}",
        json_url=f"/datasets/{dataset}/rows/{quote(row_key, safe='')}"
        if found.shape.is_keyed
        else None,
        frame=found,
        name=printable(name),
        row=row,
        values=_values(found, values, json.loads(row.extra), _cells(found, row, lines)),
        lineage=lineage,
        pictures=[
            (one, sizes[path], picture_url(dataset, one.bucket, one.key))
            for path, one in pictures.items()
        ],
        shadowed=[_shadowed(found.installed, text, values) for _, text in shadowed],
        lines=lines,
        raw_url=f"{row_url(dataset, row_key)}?raw=1",
    )


def _key(shape: RowShape, row_key: str) -> tuple[object, ...]:
    """The values that identify the row; rows without a key are named by their place."""
    if shape.is_keyed:
        return single.key_of_path(shape, row_key)
    try:
        return cursors.parsed(shape, row_key)
    except WrongValue as error:
        raise WrongParameters([("row_key", str(error))]) from error


def _values(
    found: DatasetFrame,
    values: Mapping[str, Any],
    extra: Mapping[str, Any] | None,
    cells: Mapping[str, str],
) -> list[dict[str, str | None]]:
    """The columns, their values, and their cells as far as known, or where they come from."""
    dataset = found.installed.dataset
    notes = {one.name: f"from {one.source}" for one in dataset.derived}
    notes |= dict.fromkeys(found.attached, "joined by name")
    columns = found.shape.columns
    rows = [(name, columns[name].type, one, notes.get(name, "")) for name, one in values.items()]
    rows += [(name, _UNTYPED, one, "not declared") for name, one in (extra or {}).items()]
    return [
        {
            "column": printable(name),
            "value": row_view.cell(value, type_, sys.maxsize),
            "cell": _cell(cells.get(name)),
            "note": note,
        }
        for name, type_, value, note in rows
    ]


def _cell(text: str | None) -> str | None:
    """A cell, in quotes if space around it would not be seen."""
    if text is None:
        return None
    return printable(text if text == text.strip() else json.dumps(text, ensure_ascii=False))


def _line_with_header(found: DatasetFrame, row: SingleRow, lineage: RowOrigin) -> SourceLines:
    dataset = found.installed.dataset
    etag = None if lineage.source is None else lineage.source.etag
    numbers = {dataset.dialect.header_row, row.source_line}
    return source_lines(dataset, found.bucket, row.source_key, etag, numbers)


def _cells(found: DatasetFrame, row: SingleRow, lines: SourceLines | None) -> dict[str, str]:
    """The cells of the line of a row, by column."""
    if lines is None or row.source_line not in lines.lines:
        return {}
    dataset = found.installed.dataset
    header = lines.lines.get(dataset.dialect.header_row)
    return cells(dataset, row.source_key, header, lines.lines[row.source_line])


@bp.get("/datasets/<dataset>/pictures/<bucket>/<object_key:key>")
@needs(Role.READER, dataset=OF_PATH)
def show_picture(dataset: str, bucket: str, key: str) -> Response:
    """Send a thumbnail of an image of the dataset: the smallest of at least `size` pixels.

    With `original`, the image as uploaded.
    """
    with services().database() as connection:
        image = images.of_objects(connection, [(bucket, key)]).get((bucket, key))
        if image is None or image.dataset != dataset:
            raise NotFound("no-image", "There is no such image.", "The page Gallery lists them.")
        thumbnails = images.thumbnail_keys(connection, image.sha256)

    def headers_of(info: ObjectInfo) -> dict[str, str]:
        kind = image.format if info.etag == image.etag else None
        return _CACHE | images.content_headers(kind)

    if request.args.get("original"):
        response = downloads.send(bucket, key, headers_of)
    else:
        asked = number("size") or 0
        sizes = sorted(thumbnails)
        size = next((one for one in sizes if one >= asked), sizes[-1] if sizes else None)
        if size is None:
            raise NotFound("no-thumbnail", "This image has no thumbnail.", image.note or "")
        headers = _CACHE | {"Content-Type": images.THUMBNAIL_TYPE}
        response = downloads.send(
            services().settings.thumbnail_bucket, thumbnails[size], lambda _info: headers
        )
    if response is None:
        raise NotFound("no-image", "The image is no longer in its bucket.", "A run updates it.")
    return response
