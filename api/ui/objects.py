"""The objects of the buckets: browse, check, upload, show and remove them."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from apiflask import APIBlueprint
from flask import Response, request, url_for

from api.http import object_keys
from api.routes import buckets, objects
from api.security.auth import needs
from api.state.services import services
from api.ui import forms, object_parts
from api.ui.object_parts import (
    dataset_of,
    is_source_bucket,
    raw_problems,
    router,
    shown_state,
    state_of,
)
from api.ui.parameters import given, number, one_of
from api.ui.queries import objects as queries
from api.ui.render import page, query
from api.ui.source_cells import empty_cell
from api.ui.source_lines import source_lines
from api.ui.uploads import arrival, upload_origins, uploading
from etl.db.problems import open_problems
from etl.model.roles import Role
from etl.model.safe_text import printable
from etl.model.values import ObjectState, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from api.state.catalog import CatalogState
    from api.ui.object_parts import RawProblem
    from api.ui.queries.objects import KnownObject
    from etl.model.dataset import Dataset
    from etl.storage.objects import ObjectInfo

PAGE_ENTRIES = 100
PAGE_PROBLEMS = 50

bp = APIBlueprint("objects", __name__, enable_openapi=False)


# -- buckets


@bp.get("/objects")
@needs(Role.READER)
def show_buckets() -> Response:
    """List the buckets that the API serves, and what each is for."""
    served = objects.served_buckets()
    return page(
        "objects/buckets.html",
        title="Objects",
        json_url="/objects",
        buckets=[one | {"user": buckets.user_of(one["name"])} for one in served],
        may_create_any=buckets.may_create_any(),
    )


@bp.post("/objects")
@needs(Role.ADMIN)
def create_bucket() -> Response:
    """Create a bucket."""
    name = request.form.get("name", "").strip()
    buckets.create(name)
    return forms.see(url_for("ui.objects.list_objects", bucket=name))


@bp.get("/remove/<bucket>")
@needs(Role.ADMIN)
def confirm_bucket_removal(bucket: str) -> Response:
    """Ask whether to remove a bucket."""
    objects.allow(bucket, "w")
    return page(
        "objects/remove-bucket.html",
        title=f"Remove {bucket}",
        bucket=bucket,
        user=buckets.user_of(bucket),
        is_empty=services().store.is_empty(bucket),
    )


@bp.post("/remove/<bucket>")
@needs(Role.ADMIN)
def remove_bucket(bucket: str) -> Response:
    """Remove an empty bucket."""
    buckets.remove(bucket)
    return forms.see(url_for("ui.objects.show_buckets"))


# -- the objects of a bucket


@bp.get("/objects/<bucket>")
@needs(Role.READER)
def list_objects(bucket: str) -> Response:
    """List the objects and folders below a prefix, with what runs made of each."""
    objects.allow(bucket)
    prefix, after = given("prefix") or "", given("after") or ""
    severity = one_of("show", [one.value for one in Severity])
    entries: Sequence[ObjectInfo | KnownObject]
    with services().database() as connection:
        counts = queries.faulty_counts(connection, bucket, prefix)
        if severity is None:
            entries, is_more = _entries(bucket, prefix, after)
        else:
            entries, is_more = _faulty(connection, bucket, prefix, after, Severity(severity))
        state = services().catalog.read(connection)
        lines = _lines(connection, state, bucket, entries)
    return page(
        "objects/list.html",
        title=f"Objects: {bucket}/{printable(prefix)}",
        json_url=url_for("objects.list_objects", bucket=bucket, prefix=prefix or None),
        connect=upload_origins(),
        **uploading(bucket, prefix.rpartition("/")[0]),
        prefix=prefix,
        folders=_folders(prefix),
        is_source=is_source_bucket(state, bucket),
        lines=lines,
        severity=severity,
        counts=counts,
        next_url=query(after=entries[-1].key) if is_more else None,
        first_url=query(after=None) if after else None,
    )


# -- one object


@bp.get("/objects/<bucket>/<object_key:key>")
@needs(Role.READER)
def show_object(bucket: str, key: str) -> Response:
    """Show what runs made of an object, its problems by line, and its earlier versions."""
    objects.allow(bucket)
    object_keys.check(key)
    info = services().objects.head(bucket, key)
    with services().database() as connection:
        known = queries.known_object(connection, bucket, key)
        if info is None and known is None:
            raise objects.unknown_object(bucket, key)
        state = services().catalog.read(connection)
        dataset = dataset_of(state, known)
        after = number("after")
        problems = _problems(connection, bucket, key, after)
        versions = queries.older_versions(connection, bucket, key, info.etag if info else "")
        sums = _sums(connection, dataset, known)
    is_current = info is not None and known is not None and info.etag == known.etag
    shown = problems[:PAGE_PROBLEMS]
    etag = info.etag if is_current and info is not None else None
    until = number("until")
    return page(
        "objects/object.html",
        title=printable(key),
        json_url=f"/problems?{_problem_filter(bucket, key)}",
        connect=upload_origins(),
        **uploading(bucket, key.rpartition("/")[0]),
        key=key,
        name=key.rstrip("/").rpartition("/")[2],
        folders=_folders(key),
        info=info,
        known=known,
        state=shown_state(state, bucket, key, info, known),
        is_current=is_current,
        sums=sums,
        problems=_with_lines(shown, bucket, key, etag, dataset),
        next_url=query(after=shown[-1]["id"]) if len(problems) > PAGE_PROBLEMS else None,
        first_url=query(after=None) if after else None,
        versions=versions,
        preview=None if info is None else object_parts.preview(bucket, info),
        arrival=None if until is None else arrival(bucket, key, until),
        panel_version="",
    )


@bp.get("/download/<bucket>/<object_key:key>")
@needs(Role.READER)
def download_object(bucket: str, key: str) -> Response:
    """Send an object: as a file to save or, with `inline`, as a picture of a page."""
    return objects.send_object(bucket, key, as_file=given("inline") is None)


@bp.get("/remove/<bucket>/<object_key:key>")
@needs(Role.ADMIN)
def confirm_removal(bucket: str, key: str) -> Response:
    """Ask whether to remove an object, and say what the next run would retire."""
    objects.allow(bucket, "w")
    object_keys.check(key)
    info = services().objects.head(bucket, key)
    if info is None:
        raise objects.unknown_object(bucket, key)
    with services().database() as connection:
        known = queries.known_object(connection, bucket, key)
        dataset = dataset_of(services().catalog.read(connection), known)
        sums = _sums(connection, dataset, known)
    return page(
        "objects/remove.html",
        title=f"Delete {printable(key)}",
        bucket=bucket,
        key=key,
        info=info,
        known=known,
        dataset=dataset,
        sums=sums,
    )


@bp.post("/remove/<bucket>/<object_key:key>")
@needs(Role.ADMIN)
def remove_object(bucket: str, key: str) -> Response:
    """Remove an object."""
    objects.remove(bucket, key)
    folder = key.rstrip("/").rpartition("/")[0]
    prefix = f"{folder}/" if folder else None
    return forms.see(url_for("ui.objects.list_objects", bucket=bucket, prefix=prefix))


# -- what is shown of a bucket


def _entries(bucket: str, prefix: str, after: str) -> tuple[list[ObjectInfo], bool]:
    """A page of objects and folders, and whether there are more."""
    listed = services().objects.list(bucket, prefix=prefix, after=after, recursive=False)
    found = list(islice(listed, PAGE_ENTRIES + 1))
    return found[:PAGE_ENTRIES], len(found) > PAGE_ENTRIES


def _faulty(
    connection: Connection, bucket: str, prefix: str, after: str, severity: Severity
) -> tuple[list[KnownObject], bool]:
    """A page of the objects with open problems, in all folders."""
    keys = queries.faulty_keys(
        connection, bucket, prefix=prefix, severity=severity, after=after, limit=PAGE_ENTRIES + 1
    )
    known = queries.known_objects(connection, bucket, keys[:PAGE_ENTRIES])
    return [known[key] for key in keys[:PAGE_ENTRIES] if key in known], len(keys) > PAGE_ENTRIES


def _lines(
    connection: Connection,
    state: CatalogState,
    bucket: str,
    entries: Sequence[ObjectInfo | KnownObject],
) -> list[dict[str, Any]]:
    """The lines of the table: each with its entry, its state and what is known of it."""
    known = queries.known_objects(connection, bucket, [one.key for one in entries])
    route = router(state, bucket)
    is_source = is_source_bucket(state, bucket)
    return [
        {
            "entry": one,
            "is_folder": getattr(one, "is_folder", False),
            "known": known.get(one.key),
            "dataset": _dataset_name(known.get(one.key), route(one.key).dataset),
            "state": state_of(known.get(one.key), one.etag, route(one.key), is_source=is_source),
        }
        for one in entries
    ]


def _dataset_name(known: KnownObject | None, routed: Dataset | None) -> str | None:
    if known is not None:
        return known.dataset
    return None if routed is None or routed.is_preset else routed.name


def _folders(path: str) -> list[tuple[str, str]]:
    """The folders above a prefix or key: name and prefix of each."""
    parts = path.rstrip("/").split("/")[:-1]
    return [(name, "/".join(parts[: index + 1]) + "/") for index, name in enumerate(parts)]


# -- what is shown of an object


def _problems(
    connection: Connection, bucket: str, key: str, after: int | None
) -> list[dict[str, Any]]:
    found = open_problems(connection, bucket=bucket, key=key, after=after, limit=PAGE_PROBLEMS + 1)
    return list(found)


def _with_lines(
    problems: Sequence[dict[str, Any]],
    bucket: str,
    key: str,
    etag: str | None,
    dataset: Dataset | None,
) -> list[RawProblem]:
    """The problems with their lines, unless the object has changed since it was read."""
    numbers = {one["line"] for one in problems if one["line"] is not None}
    if etag is None or dataset is None or not numbers:
        return raw_problems(problems, {})
    header = dataset.dialect.header_row
    lines = source_lines(dataset, bucket, key, etag, {*numbers, header}).lines
    found = partial(empty_cell, dataset, key, lines.get(header))
    return raw_problems(problems, lines, found)


def _problem_filter(bucket: str, key: str) -> str:
    return url_for("problems.list_open_problems", bucket=bucket, key=key).partition("?")[2]


def _sums(
    connection: Connection, dataset: Dataset | None, known: KnownObject | None
) -> dict[str, int] | None:
    """The rows of an object, which add up; None if there are too many to count for a page."""
    if dataset is None or known is None or known.rows_read > queries.MOST_COUNTED_ROWS:
        return None
    live, shadowed = queries.counted_rows(connection, dataset, known.key)
    off = known.rows_read - live - shadowed - known.rows_rejected
    is_read = known.state == ObjectState.LOADED
    return {"live": live, "shadowed": shadowed, "off": off if is_read else 0}
