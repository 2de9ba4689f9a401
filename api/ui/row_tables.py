"""Pages of rows, as a table or as a gallery."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask import Response, url_for

from api.http.errors import NotFound
from api.rows import cursors, images
from api.rows.shapes import retired_rows
from api.state.services import services
from api.ui import row_view, words
from api.ui.copied_lines import copied_lines
from api.ui.dataset_frame import frame, head
from api.ui.parameters import address, given
from api.ui.queries import rows as queries
from api.ui.render import page
from etl.db.engine import schemas_of
from etl.model.safe_text import printable
from etl.model.values import ImageState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from api.rows.shapes import RowShape
    from api.ui.dataset_frame import DatasetFrame
    from api.ui.row_view import AskedRows

EXPORTS = ("csv", "parquet", "json")
GALLERY_ROWS = 48
TABLES = {"rows": "list_rows", "retired": "list_retired", "gallery": "show_gallery"}


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A row of a page: its cells as text, its URL, where it comes from and its picture."""

    name: str
    url: str | None
    cells: dict[str, str | None]
    source_key: str
    source_line: int
    run_id: int
    changed_at: datetime
    picture: str | None
    picture_state: str


def table(dataset: str, kind: str) -> Response:
    """A page of rows as a table or as a gallery."""
    shared = services()
    with shared.database() as connection:
        found = frame(connection, dataset)
        if kind == "gallery" and not found.attached:
            raise NotFound(
                "no-attachments",
                f"The dataset {dataset!r} has no attachments.",
                "Its datasets file declares them under `attachments`.",
            )
        top = head(connection, found)
        is_live = kind != "retired"
        schema = schemas_of(shared.engine).data
        shape = found.shape if is_live else retired_rows(found.installed, schema)
        asked = row_view.asked_rows(shape, found.installed.dataset, is_live=is_live)
        if kind == "gallery" and not given("limit"):
            asked = replace(asked, query=replace(asked.query, limit=GALLERY_ROWS))
        rows, following = queries.rows(connection, asked.query)
        shown = _shown(connection, found, shape, rows, is_live=is_live)
        is_whole = following is None and not given("after")
        about = None
        if asked.is_filtered and not is_whole:
            about = queries.rounded(queries.estimate(connection, asked.query))
    path = url_for(f"ui.rows.{TABLES[kind]}", dataset=dataset)
    return page(
        "rows/gallery.html" if kind == "gallery" else "rows/list.html",
        title=f"{dataset}: {kind}",
        json_url=_api_url(dataset, asked, is_retired=not is_live, limit=asked.query.limit),
        frame=found,
        head=top,
        tabs=top.tabs(f"ui.rows.{TABLES[kind]}"),
        kind=kind,
        asked=asked,
        rows=shown,
        heads=[_head(asked, path, name) for name in asked.fields],
        matching=_matching(about, len(rows) if is_whole else top.totals.rows),
        applied=row_view.applied(asked, path),
        clear_url=path,
        first_url=address(path, row_view.changed(asked.pairs)) if given("after") else None,
        next_url=None
        if following is None
        else address(path, [*row_view.changed(asked.pairs), ("after", following)]),
        limits=[
            (one, address(path, row_view.changed(asked.pairs, limit=one)))
            for one in row_view.LIMITS
        ],
        every_url=address(path, row_view.changed(asked.pairs, fields="*")),
        conditions=list(row_view.CONDITIONS.items()),
        choices=_choices(asked),
        rest=address("", row_view.changed(asked.pairs)).removeprefix("?"),
        picks=_picks(found, asked, path),
        exports=[
            (
                name,
                address(
                    url_for("ui.rows.export_rows", dataset=dataset, kind=name), exported(asked)
                ),
            )
            for name in EXPORTS
        ]
        if is_live
        else [],
        lines=copied_lines(
            _api_url(dataset, asked, is_retired=False), found.installed.dataset.table
        )
        if is_live
        else [],
        captions=[_caption(asked, row) for row in shown],
    )


def _picks(found: DatasetFrame, asked: AskedRows, path: str) -> list[tuple[str, str]]:
    """Links that add a filter: rows with and without an image."""
    pairs = row_view.changed(asked.pairs)
    picks = []
    for column in found.attached:
        name = "picture" if len(found.attached) == 1 else printable(column)
        for label, value in ((f"With {name}", "is.not_null"), (f"Without {name}", "is.null")):
            added = (row_view.filter_named(column), value)
            picks.append(
                (label, address(path, [*(one for one in pairs if one[0] != added[0]), added]))
            )
    return picks


def _matching(about: int | None, count: int) -> str:
    """How many rows match, or about how many."""
    return words.counted(count, "row") if about is None else f"about {words.counted(about, 'row')}"


def _head(asked: AskedRows, path: str, name: str) -> tuple[str, str, str | None, str | None]:
    """A column of the table, with the URL that orders the rows by it."""
    order = asked.order_of(name)
    kind = "n" if asked.is_number(name) else ""
    if name not in asked.sortable:
        return printable(name), kind, None, None
    sort = f"-{name}" if order == "ascending" else name
    url = address(path, row_view.changed(asked.pairs, sort=sort))
    return printable(name), kind, url, order


def _choices(asked: AskedRows) -> list[tuple[str, list[str]]]:
    """The columns that the form filters: those that begin an index first."""
    others = [name for name in asked.shape.columns if name not in asked.sortable]
    return [("Indexed", list(asked.sortable)), ("Not indexed, slower", others)]


def exported(asked: AskedRows) -> list[tuple[str, str]]:
    """The parameters of what is shown, of all pages."""
    fields = [("fields", text)] if (text := given("fields")) else []
    return [*asked.filters, *fields]


def _api_url(dataset: str, asked: AskedRows, *, is_retired: bool, **parameters: object) -> str:
    """The same rows, of the API."""
    endpoint = "rows.list_retired_rows" if is_retired else "rows.list_rows"
    url = url_for(endpoint, dataset=dataset, _external=True)
    added = [(name, str(value)) for name, value in parameters.items()]
    return address(url, [*exported(asked), *added])


def _caption(asked: AskedRows, row: ShownRow) -> str:
    """The first texts of a row that are neither its key nor its image."""
    texts = [
        value
        for name in asked.fields
        if name not in asked.shape.identity and (value := row.cells[name]) is not None
    ]
    return " ".join(texts[:2])


def _shown(
    connection: Connection,
    found: DatasetFrame,
    shape: RowShape,
    rows: list[dict[str, Any]],
    *,
    is_live: bool,
) -> list[ShownRow]:
    column = next(iter(found.attached), None)
    paths = [] if column is None else [row.get(column) for row in rows]
    pictures = queries.pictures(connection, paths)
    return [_shown_row(found, shape, row, column, pictures, is_live=is_live) for row in rows]


def _shown_row(  # noqa: PLR0913 - what a row is shown with
    found: DatasetFrame,
    shape: RowShape,
    row: dict[str, Any],
    column: str | None,
    pictures: Mapping[str, Any],
    *,
    is_live: bool,
) -> ShownRow:
    values = [key_text(row[name]) for name in shape.identity]
    name = cursors.text(shape, values)
    image = None if column is None else pictures.get(row.get(column) or "")
    ready = image if image is not None and image.state == ImageState.READY else None
    state = "" if image is None or ready else image.state or images.WAITING
    return ShownRow(
        printable(name),
        row_url(found.name, name) if is_live else None,
        {one: row_view.cell(value, shape.columns[one].type) for one, value in row.items()},
        row["_source_key"],
        row["_source_line"],
        row["_run_id"],
        datetime.fromisoformat(row["_updated_at" if is_live else "_retired_at"]),
        picture_url(found.name, ready.bucket, ready.key) if ready else None,
        state,
    )


def key_text(value: object) -> str:
    """A value of a key as the URLs of rows have it."""
    return value if isinstance(value, str) else json.dumps(value)


def row_url(dataset: str, row_key: str) -> str:
    """The page of a row; its key is encoded whole, as that of a row of the API may be."""
    return f"{url_for('ui.rows.list_rows', dataset=dataset)}/{quote(row_key, safe='')}"


def picture_url(dataset: str, bucket: str, key: str, **parameters: Any) -> str:  # noqa: ANN401 - as url_for
    """The picture of an object; `size` and `original` as in the route."""
    return url_for("ui.rows.show_picture", dataset=dataset, bucket=bucket, key=key, **parameters)
