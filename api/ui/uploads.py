"""Uploads: check a file, store it, and show its rows as they arrive."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from apiflask import APIBlueprint
from flask import Response, jsonify, request, url_for

from api.http import object_keys
from api.http.bodies import with_sources
from api.http.errors import unsupported_type
from api.http.forms import MIMETYPE, reading
from api.routes import check, objects
from api.schemas.objects import PresignRequest
from api.security.auth import needs
from api.state.services import services
from api.ui import forms
from api.ui.object_parts import dataset_of, raw_problems, shown_state
from api.ui.parameters import given, number
from api.ui.queries import objects as queries
from api.ui.render import may, now, page, panel, reload
from etl.model.roles import Role

if TYPE_CHECKING:
    from api.http.forms import Form

CHECK_PROBLEMS = 50  # shown of a file that is not uploaded yet
WATCH_SECONDS = 60  # after an upload
PATIENT_SECONDS = 5  # then a run is offered: the store may not announce its changes

bp = APIBlueprint("uploads", __name__, enable_openapi=False)


@bp.post("/objects/<bucket>")
@needs(Role.WRITER)
@forms.checks_own_token
def upload_files(bucket: str) -> Response:
    """Store the files of a form; how pages without a script upload."""
    if request.mimetype != MIMETYPE:
        forms.check_token(request.headers.get(forms.HEADER, ""))
        raise unsupported_type("not-a-form", "Choose a file in the form of the page.")
    with reading(request) as form:
        _check_token(form)
        objects.allow(bucket, "w")
        stored = objects.store_files(bucket, form)
    if len(stored) > 1:
        folder = str(stored[0]["key"]).rpartition("/")[0]
        prefix = f"{folder}/" if folder else None
        return forms.see(url_for("ui.objects.list_objects", bucket=bucket, prefix=prefix))
    return forms.see(_watched(bucket, stored[0]["key"]))


@bp.put("/objects/<bucket>/<object_key:key>")
@needs(Role.WRITER)
def upload_object(bucket: str, key: str) -> Response:
    """Store the body as an object; how the script of the page uploads."""
    objects.store_body(bucket, key)
    return jsonify({"url": _watched(bucket, key)})


@bp.post("/presign/<bucket>/<object_key:key>")
@needs(Role.WRITER)
def presign_upload(bucket: str, key: str) -> Response:
    """The URL for an upload to the store itself, and the page to show afterwards."""
    asked = PresignRequest.model_validate({"method": "PUT"})
    found = objects.presigned(bucket, key, asked)
    return jsonify({"upload_url": found["url"], "url": _watched(bucket, key)})


@bp.post("/check")
@needs(Role.WRITER)
@forms.checks_own_token
def check_file() -> Response:
    """Show what a run would say of a file: as a panel of its body, or as a page of a form."""
    bucket = given("bucket") or ""
    if request.mimetype != MIMETYPE:
        forms.check_token(request.headers.get(forms.HEADER, ""))
        objects.allow(bucket, "w")
        values = _checked(bucket, check.report_of_body(given("key")))
        return panel("objects/_checked.html", **values)
    with reading(request) as form:
        _check_token(form)
        objects.allow(bucket, "w")
        values = _checked(bucket, check.report_of_form(form, None))
    return page(
        "objects/checked.html",
        title=f"Checked: {values['report']['key']}",
        **values,
        panel_version="",
    )


@bp.get("/arrival/<bucket>/<object_key:key>")
@needs(Role.READER)
def show_arrival(bucket: str, key: str) -> Response:
    """The panel that shows the rows of an uploaded object as they arrive."""
    objects.allow(bucket)
    object_keys.check(key)
    found = arrival(bucket, key, number("until") or 0)
    if found["is_over"]:  # the state, the problems and the versions of the page have changed, too
        return reload()
    return panel("objects/_arrival.html", arrival=found)


# -- what is shown


def uploading(bucket: str, folder: str) -> dict[str, Any]:
    """What the form for uploads needs."""
    settings = services().settings
    rights = with_sources(settings, services().sources.get()).get(bucket, "")
    return {
        "bucket": bucket,
        "may_upload": "w" in rights and may(Role.WRITER),
        "may_remove": "w" in rights and may(Role.ADMIN),
        "folder": f"{folder}/" if folder else "",
        "most_checked": int(settings.check_max_size),
        "is_presigned": settings.s3_public_endpoint is not None,
    }


def upload_origins() -> list[str]:
    """The store's own address, if browsers may upload to it."""
    public = services().settings.s3_public_endpoint
    return [] if public is None else [public]


def _check_token(form: Form) -> None:
    """Check the token in a header or in a field, which is none of the API's."""
    in_form = form.fields.pop(forms.FIELD, "")
    forms.check_token(request.headers.get(forms.HEADER) or in_form)


def _watched(bucket: str, key: str) -> str:
    """The page of an object that was just uploaded, which shows its rows as they arrive."""
    until = int((now() + timedelta(seconds=WATCH_SECONDS)).timestamp())
    return url_for("ui.objects.show_object", bucket=bucket, key=key, until=until)


def _checked(bucket: str, report: dict[str, Any]) -> dict[str, Any]:
    """What is shown of a file that was checked."""
    problems = report["problems"]
    lines = {one["line"]: one["raw_line"] for one in problems if one["raw_line"] is not None}
    return {
        "bucket": bucket,
        "report": report,
        "problems": raw_problems(problems[:CHECK_PROBLEMS], lines),
        "problem_count": len(problems),
        "replaced": services().objects.head(bucket, report["key"]),
    }


def arrival(bucket: str, key: str, until: int) -> dict[str, Any]:
    """How far an uploaded object is: its state and its first rows; whether to ask again."""
    info = services().objects.head(bucket, key)
    with services().database() as connection:
        known = queries.known_object(connection, bucket, key)
        state = services().catalog.read(connection)
        dataset = dataset_of(state, known)
        is_read = info is not None and known is not None and known.etag == info.etag
        sample = (
            queries.sample_rows(connection, dataset, key)
            if is_read and dataset is not None
            else queries.RowSample()
        )
    shown = shown_state(state, bucket, key, info, known)
    left = until - now().timestamp()
    return {
        "bucket": bucket,
        "key": key,
        "until": until,
        "again": _watched(bucket, key),
        "state": shown,
        "known": known,
        "is_read": is_read,
        "is_late": not is_read and left < WATCH_SECONDS - PATIENT_SECONDS,
        "is_over": is_read or shown is None or left < 0,
        "sample": sample,
    }
