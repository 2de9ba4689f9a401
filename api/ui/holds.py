"""Held retirements: which rows of a dataset would go, and the two ways out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from apiflask import APIBlueprint
from flask import Response, request, stream_with_context, url_for

from api.http import accept, encodings
from api.http.errors import NotFound, WrongParameters
from api.routes.catalog import find
from api.rows import streaming
from api.rows.formats import ROW_FORMATS
from api.rows.query import RowQuery
from api.rows.shapes import live_rows
from api.security.auth import OF_PATH, needs
from api.state.services import services
from api.ui import forms, words
from api.ui.queries import holds as queries
from api.ui.render import can_open, page
from api.ui.row_view import NUMBERS, cell
from api.ui.states import StateShape
from etl.db.engine import schemas_of
from etl.db.runs import request_run as request_a_run
from etl.model.roles import Role
from etl.model.safe_text import printable
from etl.model.values import Trigger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from api.rows.shapes import RowShape
    from api.state.catalog import Installed

SAMPLE_COLUMNS = 8
MOST_DIGITS = 18  # of a bigint
_TIME = "timestamptz"

bp = APIBlueprint("holds", __name__, enable_openapi=False)


@dataclass(frozen=True, slots=True)
class HeldFolder:
    """The objects of a folder: those held and those kept, and the rows that would go."""

    name: str
    url: str | None
    objects_held: int
    objects_kept: int
    rows: int
    newest: str | None


@dataclass(frozen=True, slots=True)
class SampleRows:
    """The newest of the held rows: heads of columns with their classes, and cells as text."""

    heads: list[tuple[str, str]]
    rows: list[list[str | None]]


@bp.get("/holds/<dataset>")
@needs(Role.READER, dataset=OF_PATH)
def show_hold(dataset: str) -> Response:
    """Show which rows of a dataset would be retired, and the two ways out."""
    shared = services()
    with shared.database() as connection:
        found = _hold(connection, dataset)
        installed = _installed(connection, dataset)
        outputs = queries.outputs(connection, dataset)
    shape, bucket = _shape(installed), shared.bucket_of(installed.dataset)
    folders = _folders(found, bucket)
    newest = found.summary.get("newest_column") or ""
    is_time = newest in shape.columns and shape.columns[newest].type.name == _TIME
    events = found.summary.get("events") or {"count": 0}
    return page(
        "holds/show.html",
        title=f"Held: {dataset}",
        shape=StateShape.HELD,
        hold=found,
        table=installed.dataset.table,
        bucket=bucket,
        outputs=outputs,
        folders=folders,
        kept=sum(one.objects_kept for one in folders),
        pattern=_pattern(found),
        newest_head=_head(newest, is_time=is_time),
        newest=moment(found.summary.get("newest")),
        removals=events["count"],
        removed=tuple(moment(events.get(name)) for name in ("first", "last")),
        sample=_sample(shape, found.summary.get("sample", [])),
    )


@bp.get("/holds/<dataset>/rows.csv")
@needs(Role.READER, dataset=OF_PATH)
def download_rows(dataset: str) -> Response:
    """The rows of those objects that would lose all of theirs, as CSV, streamed."""
    shared = services()
    with shared.database() as connection:
        _hold(connection, dataset)
        shape = _shape(_installed(connection, dataset))
    fields = (*shape.default_fields, "_source_key", "_source_line")
    query = RowQuery(shape, queries.RowsOfHold(dataset), shared.today(), fields)
    coding = encodings.choose(accept.codings(request.headers.get("Accept-Encoding")))
    response = streaming.all_rows(query, ROW_FORMATS["csv"], coding)
    response.headers["Content-Disposition"] = f'attachment; filename="held-{dataset}.csv"'
    return response


@bp.get("/holds/<dataset>/keys.txt")
@needs(Role.READER, dataset=OF_PATH)
def download_keys(dataset: str) -> Response:
    """The objects whose rows are held as text: rows, bucket and key, one per line."""
    with services().database() as connection:
        _hold(connection, dataset)

    def lines() -> Iterator[str]:
        with services().database() as connection:
            for bucket, key, rows in queries.held_keys(connection, dataset):
                yield f"{rows}\t{bucket}/{printable(key)}\n"

    response = Response(stream_with_context(lines()), mimetype="text/plain")
    response.headers["Content-Disposition"] = f'attachment; filename="held-{dataset}.txt"'
    return response


@bp.post("/holds/<dataset>")
@needs(Role.ADMIN, dataset=OF_PATH)
def allow_hold(dataset: str) -> Response:
    """Allow as many retirements as the page showed, by a run that is requested now.

    Raises:  WrongParameters unless the visitor typed the name of the dataset.
    """
    if request.form.get("confirm", "").strip() != dataset:
        raise WrongParameters([("confirm", f"must be the name of the dataset, {dataset}")])
    rows = request.form.get("rows", "")
    if not (rows.isascii() and rows.isdigit() and len(rows) <= MOST_DIGITS):
        raise WrongParameters([("rows", "must be a whole number")])
    with services().database() as connection:
        _hold(connection, dataset)
        allowed = {dataset: int(rows)}
        run_id = request_a_run(connection, Trigger.REQUEST, allowed_retirements=allowed)
    return forms.see(url_for("ui.overview.show_overview", run=run_id))


# -- parts of the page


def _hold(connection: Connection, dataset: str) -> queries.HeldRetirements:
    found = queries.hold(connection, dataset)
    if found is None:
        raise NotFound(
            "no-hold", f"No retirement of {dataset} is held.", "The overview lists what is held."
        )
    return found


def _installed(connection: Connection, dataset: str) -> Installed:
    return find(services().catalog.read(connection), dataset)


def _shape(installed: Installed) -> RowShape:
    return live_rows(installed, schemas_of(services().engine).data)


def _folders(found: queries.HeldRetirements, bucket: str) -> list[HeldFolder]:
    """The folders of the summary; those beyond the first hundred are one line."""
    folders = [
        HeldFolder(
            printable(one["folder"]) or "(no folder)",
            url_for("ui.objects.list_objects", bucket=bucket, prefix=one["folder"] or None)
            if can_open("ui.objects.list_objects")
            else None,
            one["objects_held"],
            one["objects_kept"],
            one["rows"],
            moment(one["newest"]),
        )
        for one in found.summary.get("folders", [])
    ]
    rest = found.summary.get("rest")
    if rest:
        name = f"{rest['folders']:,} other folders"
        counts = (rest["objects_held"], rest["objects_kept"], rest["rows"])
        folders.append(HeldFolder(name, None, *counts, moment(rest["newest"])))
    return folders


def _sample(shape: RowShape, rows: Sequence[Mapping[str, Any]]) -> SampleRows:
    """The newest of the held rows, with the first columns in their order."""
    names = [name for name in shape.default_fields if any(name in row for row in rows)]
    columns = [shape.columns[name] for name in names[:SAMPLE_COLUMNS]]
    heads = [
        (
            _head(one.name, is_time=one.type.name == _TIME),
            "n" if one.type.name in NUMBERS else "",
        )
        for one in columns
    ]
    shown = [
        [
            moment(row.get(one.name)) if one.type.name == _TIME else cell(row.get(one.name))
            for one in columns
        ]
        for row in rows
    ]
    return SampleRows(heads, shown)


def _head(name: str, *, is_time: bool) -> str:
    return f"{printable(name)}, UTC" if is_time else printable(name)


def moment(value: object) -> str | None:
    """A time of JSON in UTC as tables show it, to the second; other values as they are."""
    if not isinstance(value, str) or "T" not in value:
        return cell(value)
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return cell(value)
    return found.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _pattern(found: queries.HeldRetirements) -> str:
    """Whether whole folders are gone, or single objects here and there."""
    folders = found.summary.get("folders", [])
    if not folders:
        return ""
    whole = sum(bool(one["objects_held"] and not one["objects_kept"]) for one in folders)
    part = sum(bool(one["objects_held"] and one["objects_kept"]) for one in folders)
    kept = len(folders) - whole - part
    if whole and not part:
        rest = f" and {kept:,} complete" if kept else ""
        verb = "is" if whole == 1 else "are"
        return (
            f"{words.counted(whole, 'whole folder')} {verb} gone{rest}: as after an archive job or"
            " a moved folder, rather than single deletions."
        )
    return (
        f"Objects are gone from {words.counted(part + whole, 'folder')}, and {whole:,} lost all of"
        " theirs: as after single deletions or a filter that changed."
    )
