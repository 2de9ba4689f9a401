"""/data: the users, one user, and the request to look at the bucket now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from apiflask import APIBlueprint
from flask import Response, url_for
from sqlalchemy import (
    ColumnElement,
    FromClause,
    Row,
    Select,
    Text,
    and_,
    cast,
    func,
    literal,
    select,
)

from api import openapi, paging
from api.auth import needs, require
from api.errors import NotFound
from api.filters import age_on, conditions
from api.schemas import DataQuery, NoQuery, Records, RequestQuery, Run, User
from api.services import Services, services
from etl.access import Role
from etl.errors import TransientError
from etl.model import RunState, Trigger
from etl.runs import is_settled, request_run, run_row
from etl.tables import source_object, users

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

BATCH = 5_000
POLL_SECONDS = 0.1
LONGEST_STREAM_SECONDS = 600

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
    "step_seconds": {"merge": 0.1},
}


# -- GET /data


@bp.get("/data")
@needs(Role.READER)
@bp.input(DataQuery, location="query")
@bp.output(Records, description="The users that match, by id.", example=_RECORDS_EXAMPLE)
@bp.doc(responses={200: {"headers": openapi.LINK_HEADER}, **openapi.problems(422, 503)})
def list_users(query_data: DataQuery) -> Response:
    """List the users.

    An object keyed by user id, in byte order of the ids; `{}` when nobody matches. With
    `limit`, a `Link` header names the next page, if there is one. Without it the answer is
    streamed; when something fails in mid-stream, the connection is cut, and the JSON is
    never well-formed but short.
    """
    if query_data.limit is None:
        return _everyone(_members(_wanted(query_data)))
    return _page(_members(_wanted(query_data).limit(query_data.limit + 1)), query_data.limit)


def _wanted(query: DataQuery) -> Select[Any]:
    where = conditions(query.filters, services().today())
    if query.after is not None:
        where.append(users.c.user_id > query.after)
    return select(users).where(*where).order_by(users.c.user_id)


def _members(wanted: Select[Any]) -> Select[str, str]:
    """Of each user wanted the id, and the member of the JSON object, made by PostgreSQL.

    The choice is a query of its own: no JSON is made of rows that a limit leaves out.
    """
    chosen = wanted.subquery()
    return select(chosen.c.user_id, _member(chosen)).order_by(chosen.c.user_id)


def _member(chosen: FromClause) -> ColumnElement[str]:
    fields = ("first_name", "last_name", "birthts", "img_path")
    pairs = [part for name in fields for part in (literal(name), chosen.c[name])]
    return (
        cast(func.to_json(chosen.c.user_id), Text)
        + ":"
        + cast(func.json_build_object(*pairs), Text)
    )


def _page(statement: Select[str, str], limit: int) -> Response:
    with services().database() as connection:
        rows = connection.execute(statement).all()
    page, is_more = paging.cut(rows, limit)
    headers = paging.next_link(page[-1].user_id) if is_more else {}
    return _json("{" + ",\n".join(row[1] for row in page) + "}\n", headers)


def _everyone(statement: Select[str, str]) -> Response:
    """Everyone, in one piece if they fit a batch, else streamed in constant memory."""
    batches = _batches(services(), statement)
    first = next(batches, "")  # an outage shows here, while the status is ours to choose
    second = next(batches, None)
    if second is None:
        return _json("{" + first + "}\n")
    streams = services().streams
    if not streams.acquire(blocking=False):
        batches.close()
        raise TransientError(
            "Too many long answers are being read at the moment.",
            hint="Try again in a few seconds, or ask for pages: `limit` and `after`.",
        )
    response = Response(_stream(first, second, batches), mimetype="application/json")
    response.call_on_close(batches.close)
    response.call_on_close(streams.release)
    return response


def _batches(shared: Services, statement: Select[str, str]) -> Generator[str]:
    with shared.database() as connection:
        result = connection.execution_options(yield_per=BATCH).execute(statement)
        for rows in result.partitions():
            yield ",\n".join(row[1] for row in rows)


def _stream(first: str, second: str, rest: Iterator[str]) -> Iterator[str]:
    """The whole object, as long as somebody reads it: an error here cuts the connection."""
    deadline = time.monotonic() + LONGEST_STREAM_SECONDS
    yield "{" + first
    yield ",\n" + second
    for batch in rest:
        if time.monotonic() > deadline:
            raise TransientError(f"Nobody read the answer within {LONGEST_STREAM_SECONDS} s.")
        yield ",\n" + batch
    yield "}\n"


def _json(text: str, headers: dict[str, str] | None = None) -> Response:
    return Response(text, headers=headers, mimetype="application/json")


# -- GET /data/<user_id>


@bp.get("/data/<user_id:user_id>")
@needs(Role.READER)
@bp.input(NoQuery, location="query")
@bp.output(User, description="The user.", example=USER_EXAMPLE)
@bp.doc(responses=openapi.problems(404, 422, 503))
def show_user(user_id: str, query_data: NoQuery) -> dict[str, Any]:  # noqa: ARG001
    """Show one user, with age and lineage.

    A user whose object is gone is retired and answers 404, saying since when.
    """
    row = None if "\0" in user_id else _find(user_id)
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
    return _user(row)


def _find(user_id: str) -> Row[Any] | None:
    bucket = services().settings.source_bucket
    is_source = and_(source_object.c.bucket == bucket, source_object.c.key == users.c.source_key)
    statement = (
        select(users, source_object.c.etag)
        .join(source_object, is_source, isouter=True)
        .where(users.c.user_id == user_id)
    )
    with services().database() as connection:
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
    | {"published_at": None, "step_seconds": {}},
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
