"""/data: the users, one user, and the request to look at the bucket now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from apiflask import APIBlueprint
from flask import Response, request, url_for
from sqlalchemy import Row, and_, select

from api.http import accept, encodings
from api.http.errors import NotFound
from api.rows import etags, formats, images, streaming
from api.rows.fields import RowQuery
from api.rows.filters import age_on
from api.schemas.data import DataQuery, Records, RequestQuery, User
from api.schemas.query import NoQuery
from api.schemas.runs import Run
from api.security.auth import needs, require
from api.spec import openapi
from api.state.services import services
from etl.db.runs import is_settled, request_run, run_row
from etl.db.tables import source_object, users
from etl.model.roles import Role
from etl.model.values import RunState, Trigger

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from api.rows.formats import Format

POLL_SECONDS = 0.1

FINISHED = (RunState.SUCCEEDED, RunState.FAILED)

bp = APIBlueprint("data", __name__, tag="Data")

_RECORDS_EXAMPLE = {
    "1000": {
        "first_name": "Ann",
        "last_name": "Smith",
        "birthts": 631152000000,
        "img_path": "src-data/1000.png",
    },
    "1001": {"first_name": "Bo", "last_name": "Li", "birthts": 0, "img_path": None},
}
_OTHER_FORMATS = {
    "application/x-ndjson": {
        "schema": {"type": "string", "description": "One JSON object a line, with `user_id`."},
        "example": '{"user_id" : "1001", "first_name" : "Bo", "last_name" : "Li",'
        ' "birthts" : 0, "img_path" : null}\n',
    },
    "text/csv": {
        "schema": {"type": "string", "description": "As output.csv is, with a header line."},
        "example": "user_id,first_name,last_name,birthts,img_path\n1001,Bo,Li,0,\n",
    },
    "application/vnd.apache.parquet": {
        "schema": {"type": "string", "format": "binary", "description": "A Parquet file."},
        "example": "PAR1",
    },
    "application/vnd.apache.arrow.stream": {
        "schema": {"type": "string", "format": "binary", "description": "An Arrow IPC stream."},
        "example": "ARROW",
    },
}
USER_EXAMPLE = {
    "user_id": "1000",
    **_RECORDS_EXAMPLE["1000"],
    "birthdate": "1990-01-01",
    "age": 36,
    "extra": {"city": "Oslo"},
    "lineage": {
        "bucket": "src-data",
        "key": "1000.csv",
        "etag": "9bb58f26192e4ba00f01e2e7b136bbd8",
        "line": 2,
        "run_id": 1,
        "updated_at": "2026-01-02T03:04:05Z",
    },
    "image": images.EXAMPLE,
}
RUN_EXAMPLE = {
    "id": 2,
    "trigger": "request",
    "state": "succeeded",
    "requested_at": "2026-01-02T03:04:05Z",
    "started_at": "2026-01-02T03:04:05.010000Z",
    "finished_at": "2026-01-02T03:04:05.300000Z",
    "counts": {"objects_listed": 2, "rows_read": 2, "rows_loaded": 2},
    "error": None,
    "published_at": "2026-01-02T03:04:05.400000Z",
    "step_seconds": {"list": 0.02, "read": 0.05, "stage": 0.02, "merge": 0.1, "publish": 0.1},
    "step_rows": {"list": 2, "read": 2, "stage": 2, "merge": 2, "publish": 2},
}


# -- GET /data


@bp.get("/data")
@needs(Role.READER)
@bp.input(DataQuery, location="query")
@bp.output(Records, description="The users that match, by id.", example=_RECORDS_EXAMPLE)
@bp.doc(
    responses={
        200: {"headers": openapi.LINK_HEADER | openapi.ETAG_HEADER, "content": _OTHER_FORMATS},
        304: openapi.NOT_MODIFIED,
        **openapi.problems(406, 422, 503),
    }
)
def list_users(query_data: DataQuery) -> Response:
    """List the users.

    An object keyed by user id, in byte order of the ids; `{}` when nobody matches. `Accept`
    or `format` choose other formats, `Accept-Encoding` gzip or zstd. With `limit`, a `Link`
    header names the next page, if there is one. Without it a long answer is streamed; when
    something fails in mid-stream, the connection is cut, and the JSON is never well-formed
    but short.
    """
    kind = formats.choose(query_data.format, accept.media_ranges(request.headers.get("Accept")))
    accepted = accept.codings(request.headers.get("Accept-Encoding"))
    coding = None if kind.is_compressed else encodings.choose(accepted)
    response = _answer(_wanted(query_data), kind, coding)
    response.vary.update(("Accept", "Accept-Encoding"))
    return response


def _wanted(query: DataQuery) -> RowQuery:
    today = services().today()
    return RowQuery(query.filters, today, query.fields, query.after, query.limit)


def _answer(wanted: RowQuery, kind: Format, coding: str | None) -> Response:
    shared = services()
    with shared.database(shared.reading) as connection:
        tag = etags.of_users(connection, wanted.filters, kind.name, *wanted.facts)
        if etags.is_known(tag):
            return etags.not_modified(tag)
        if wanted.limit is not None:
            return _tagged(streaming.page(connection, wanted, kind, coding), tag)
    return _tagged(streaming.everyone(wanted, kind, coding), tag)


def _tagged(response: Response, tag: str) -> Response:
    response.headers.update(etags.headers(tag))
    return response


# -- GET /data/<user_id>


@bp.get("/data/<user_id:user_id>")
@needs(Role.READER)
@bp.input(NoQuery, location="query")
@bp.output(User, description="The user.", example=USER_EXAMPLE)
@bp.doc(responses=openapi.problems(404, 422, 503))
def show_user(user_id: str, query_data: NoQuery) -> dict[str, Any]:  # noqa: ARG001
    """Show one user, with age, lineage and image.

    A user whose object is gone is retired and answers 404, saying since when.
    """
    with services().database() as connection:
        row = live_user(connection, user_id)
        found = images.find(connection, user_id)
        made = images.sizes_made(connection, found.sha256) if found is not None else {}
    return _user(row) | {"image": None if found is None else images.shown(found, made)}


def live_user(connection: Connection, user_id: str) -> Row[Any]:
    """The user's row and their object's ETag.

    Raises:  NotFound for a user who is unknown, or retired.
    """
    row = None if "\0" in user_id else _find(connection, user_id)
    if row is None:
        raise NotFound(
            "unknown-user",
            f"There is no user {user_id!r}.",
            "GET /data lists the users; an id is text, so 0001 is not 1.",
        )
    if row.retired_at is not None:
        raise NotFound(
            "retired-user",
            f"User {user_id!r} was retired at {row.retired_at:%Y-%m-%dT%H:%M:%SZ}:"
            f" {row.source_key!r} no longer holds it.",
            "Put the object back to bring the user back.",
        )
    return row


def _find(connection: Connection, user_id: str) -> Row[Any] | None:
    bucket = services().settings.source_bucket
    is_source = and_(source_object.c.bucket == bucket, source_object.c.key == users.c.source_key)
    statement = (
        select(users, source_object.c.etag)
        .join(source_object, is_source, isouter=True)
        .where(users.c.user_id == user_id)
    )
    return connection.execute(statement).one_or_none()


def _user(row: Row[Any]) -> dict[str, Any]:
    shared = services()
    return {
        "user_id": row.user_id,
        "first_name": row.first_name,
        "last_name": row.last_name,
        "birthts": row.birthts,
        "birthdate": row.birthdate,
        "age": age_on(shared.today(), row.birthdate),
        "img_path": row.img_path,
        "extra": row.extra,
        "lineage": {
            "bucket": shared.settings.source_bucket,
            "key": row.source_key,
            "etag": row.etag,
            "line": row.source_line,
            "run_id": row.run_id,
            "updated_at": row.updated_at,
        },
    }


# -- POST /data


@bp.post("/data")
@needs(Role.WRITER)
@bp.input(RequestQuery, location="query")
@bp.output(
    Run,
    202,
    description="The run that was asked for, or that was waiting already.",
    example=RUN_EXAMPLE
    | {"state": "requested", "started_at": None, "finished_at": None, "counts": {}}
    | {"published_at": None, "step_seconds": {}, "step_rows": {}},
)
@bp.doc(
    responses={
        200: {
            "description": "The run, finished within `wait` seconds; `state` says how.",
            "headers": openapi.LOCATION_HEADER,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/Run"},
                    "example": RUN_EXAMPLE,
                }
            },
        },
        202: {"headers": openapi.LOCATION_HEADER},
        **openapi.problems(422, 503),
    }
)
def request_data(query_data: RequestQuery) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Ask for a run now.

    At most one request waits; further ones join it and get the same id. With `wait` the
    answer comes when the run has finished (200) or time is up (202); a server with too many
    waiting clients may answer 202 at once.
    """
    if query_data.allow is not None:
        require(Role.ADMIN, "allow=mass-retirement")
    with services().database() as connection:
        run_id = request_run(
            connection, Trigger.REQUEST, allow_mass_retirement=query_data.allow is not None
        )
    row = _await_run(run_id, query_data.wait)
    status = 200 if row["state"] in FINISHED else 202
    return row, status, {"Location": url_for("runs.show_run", run_id=run_id)}


def _await_run(run_id: int, wait_seconds: float) -> dict[str, Any]:
    """The run once it has finished and published, or as it stands when time is up."""
    waiting = services().waiting
    if not wait_seconds or not waiting.acquire(blocking=False):
        return _run(run_id)
    try:
        return _poll(run_id, time.monotonic() + wait_seconds)
    finally:
        waiting.release()


def _poll(run_id: int, deadline: float) -> dict[str, Any]:
    """Look at the run now and again; no connection is held in between."""
    while True:
        row = _run(run_id)
        left_seconds = deadline - time.monotonic()
        if is_settled(row) or left_seconds <= 0:
            return row
        time.sleep(min(POLL_SECONDS, left_seconds))


def _run(run_id: int) -> dict[str, Any]:
    with services().database() as connection:
        row = run_row(connection, run_id)
    if row is None:
        raise LookupError(f"Run {run_id} vanished.")
    return row
