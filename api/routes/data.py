"""/data: list the users, show one user, and request a run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from apiflask import APIBlueprint
from flask import Response, request, url_for

from api.http import accept, encodings
from api.http.errors import WrongParameters, repeatable
from api.rows import etags, formats, images, streaming, users
from api.rows.filters import age_on
from api.rows.query import RowQuery
from api.rows.shapes import USERS_OF_DATA
from api.schemas.data import DataQuery, Records, RequestQuery, User
from api.schemas.query import NoQuery
from api.schemas.runs import Run
from api.security.auth import needs, require
from api.spec import openapi
from api.state.services import services
from etl.db.runs import is_settled, request_run, run_row
from etl.model.dataset import USERS
from etl.model.roles import Role
from etl.model.values import RunState, Trigger

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from api.rows.filters import Filters
    from api.rows.formats import Format

POLL_SECONDS = 0.1

FINISHED = (RunState.SUCCEEDED, RunState.FAILED)

bp = APIBlueprint("data", __name__, tag="Data")

_OTHER_FORMATS = {
    "application/x-ndjson": {
        "schema": {"type": "string", "description": "One JSON object per line, with `user_id`."},
        "example": '{"user_id" : "1001", "first_name" : "Bo", "last_name" : "Li",'
        ' "birthts" : 0, "img_path" : null}\n',
    },
    "text/csv": {
        "schema": {
            "type": "string",
            "description": "In the format of output.csv, with a header line.",
        },
        "example": "user_id,first_name,last_name,birthts,img_path\n1001,Bo,Li,0,\n",
    },
    **openapi.BINARY_ROW_FORMATS,
}
_REQUESTED_RUN = {
    "id": 2,
    "trigger": "request",
    "state": "requested",
    "requested_at": "2026-01-02T03:04:05Z",
    "started_at": None,
    "finished_at": None,
    "counts": {},
    "error": None,
    "published_at": None,
    "step_seconds": {},
    "step_rows": {},
}


# -- GET /data


@bp.get("/data")
@needs(Role.READER, dataset=USERS.name)
@bp.input(DataQuery, location="query")
@bp.output(Records, description="The matching users by ID.")
@bp.doc(
    responses={
        200: {"headers": openapi.LINK_HEADER | openapi.ETAG_HEADER, "content": _OTHER_FORMATS},
        304: openapi.NOT_MODIFIED,
        **openapi.problems(404, 406, 422, 503),
    }
)
def list_users(query_data: DataQuery) -> Response:
    """List the users.

    Returns a JSON object keyed by user ID, in byte order of the IDs; `{}` if no user matches.
    `Accept` or `format` select another format, and `Accept-Encoding` selects gzip or zstd.

    With `limit`, a `Link` header names the next page, if there is one. Without `limit`, long
    responses are streamed. If an error occurs in mid-stream, the connection is closed, so
    that truncated JSON is never well-formed.
    """
    kind = formats.choose(query_data.format, accept.media_ranges(request.headers.get("Accept")))
    accepted = accept.codings(request.headers.get("Accept-Encoding"))
    coding = None if kind.is_compressed else encodings.choose(accepted)
    response = _users_response(query_data.filters, _row_query(query_data), kind, coding)
    response.vary.update(("Accept", "Accept-Encoding"))
    return response


def _row_query(query: DataQuery) -> RowQuery:
    today = services().today()
    after = None if query.after is None else (query.after,)
    fields = (*USERS_OF_DATA.identity, *query.fields)
    return RowQuery(USERS_OF_DATA, query.filters, today, fields, after, query.limit)


def _users_response(
    filters: Filters, query: RowQuery, kind: Format, coding: str | None
) -> Response:
    shared = services()
    with shared.database(shared.autocommit) as connection:
        state = shared.catalog.read(connection)
        tag = users.etag(state, filters, kind.name, *query.cache_key)
        if etags.is_known(tag):
            return etags.not_modified(tag)
        if query.limit is not None:
            return _with_etag(streaming.page(connection, query, kind, coding), tag)
    return _with_etag(streaming.all_rows(query, kind, coding), tag)


def _with_etag(response: Response, tag: str) -> Response:
    response.headers.update(etags.headers(tag))
    return response


# -- GET /data/<user_id>


@bp.get("/data/<user_id:user_id>")
@needs(Role.READER, dataset=USERS.name)
@bp.input(NoQuery, location="query")
@bp.output(User, description="The user.")
@bp.doc(responses=openapi.problems(404, 422, 503))
def show_user(user_id: str, query_data: NoQuery) -> dict[str, Any]:  # noqa: ARG001
    """Show one user with age, source and image.

    For a user who is retired because its source row is gone, the response is 404 with the time.
    """
    shared = services()
    with shared.database(shared.autocommit) as connection:
        row = users.current_user(connection, user_id)
        found = images.find(connection, user_id)
        keys = images.thumbnail_keys(connection, found.sha256) if found is not None else {}
    return _user(row) | {"image": None if found is None else images.as_json(found, keys)}


def _user(row: Row[Any]) -> dict[str, Any]:
    return {
        "user_id": row.user_id,
        "first_name": row.first_name,
        "last_name": row.last_name,
        "birthts": row.birthts,
        "birthdate": row.birthdate,
        "age": age_on(services().today(), row.birthdate),
        "img_path": row.img_path,
        "extra": row._extra,
        "lineage": {
            "bucket": row.bucket,
            "key": row._source_key,
            "etag": row.etag,
            "line": row._source_line,
            "run_id": row._run_id,
            "updated_at": row._updated_at,
        },
    }


# -- POST /data


@bp.post("/data")
@needs(Role.WRITER)
@repeatable(lambda parameter: parameter == "dataset")
@bp.input(RequestQuery, location="query")
@bp.output(
    Run,
    202,
    description="The requested run, or the one that was already waiting.",
    example=_REQUESTED_RUN,
)
@bp.doc(
    responses={
        200: {
            "description": "The run, which finished within `wait` seconds; `state` is its result.",
            "headers": openapi.LOCATION_HEADER,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Run"}}},
        },
        202: {"headers": openapi.LOCATION_HEADER},
        **openapi.problems(422, 503),
    }
)
def request_data(query_data: RequestQuery) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Request a run.

    At most one requested run is waiting; further requests join it and get the same ID. With
    `wait`, the response is sent when the run has finished (200) or the time is up (202). If
    too many clients are waiting, the response is 202 immediately.
    """
    if query_data.allow is not None:
        require(Role.ADMIN, "allow=mass-retirement")
    with services().database() as connection:
        allowed = _allowed(connection, query_data)
        run_id = request_run(connection, Trigger.REQUEST, allowed_retirements=allowed)
    row = _await_run(run_id, query_data.wait)
    status = 200 if row["state"] in FINISHED else 202
    return row, status, {"Location": url_for("runs.show_run", run_id=run_id)}


def _allowed(connection: Connection, query: RequestQuery) -> dict[str, int | None]:
    """By dataset, how many rows the run may retire at once; None for any number."""
    if query.allow is None:
        return {}
    declared = services().catalog.read(connection).datasets
    names = [one for given in request.args.getlist("dataset") for one in given.split(",")]
    unknown = [one for one in names if one not in declared]
    if unknown:
        message = f"names {unknown[0]!r}; available datasets: {', '.join(declared)}"
        raise WrongParameters([("dataset", message)])
    return dict.fromkeys(names or declared, query.at_most)


def _await_run(run_id: int, wait_seconds: float) -> dict[str, Any]:
    """The run once it has finished and published, or its state when the time is up."""
    waiting = services().waiting
    if not wait_seconds or not waiting.acquire(blocking=False):
        return _run(run_id)
    try:
        return _poll(run_id, time.monotonic() + wait_seconds)
    finally:
        waiting.release()


def _poll(run_id: int, deadline: float) -> dict[str, Any]:
    """Poll the state of the run, without holding a connection in between."""
    while True:
        row = _run(run_id)
        remaining_seconds = deadline - time.monotonic()
        if is_settled(row) or remaining_seconds <= 0:
            return row
        time.sleep(min(POLL_SECONDS, remaining_seconds))


def _run(run_id: int) -> dict[str, Any]:
    with services().database() as connection:
        row = run_row(connection, run_id)
    if row is None:
        raise LookupError(f"Run {run_id} was deleted while a client waited for it.")
    return row
