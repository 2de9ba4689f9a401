"""/minio-event takes what a store tells of its buckets; /events shows what it told."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint
from flask import request
from sqlalchemy import Select, case, func, select
from sqlalchemy.dialects.postgresql import distinct_on

from api.http import paging
from api.http.errors import Refused
from api.schemas.events import Events, EventsQuery, Taken
from api.schemas.query import NoQuery
from api.security.auth import needs, no_rate_limit, own_token_auth
from api.security.webhook import has_token
from api.spec import openapi
from api.state.services import services
from etl.db.events import NO_RUN, parse
from etl.db.tables import bucket_event
from etl.model.errors import ConfigurationError
from etl.model.roles import Role

bp = APIBlueprint("events", __name__, tag="Events")

_EXAMPLE = {
    "id": 1,
    "bucket": "src-data",
    "key": "1000.csv",
    "event_name": "s3:ObjectCreated:Put",
    "event_time": "2026-01-02T03:04:05.678000Z",
    "sequencer": "1886F4D9B2A4E0A0",
    "etag": "9bb58f26192e4ba00f01e2e7b136bbd8",
    "size": 60,
    "version_id": None,
    "received_at": "2026-01-02T03:04:05.680000Z",
    "state": "handled",
    "run_id": 2,
    "record": {"eventName": "s3:ObjectCreated:Put"},
}


@bp.post("/minio-event")
@own_token_auth
@bp.input(NoQuery, location="query")
@bp.output(Taken, description="Every record is stored.", example={"status": "ok", "records": 1})
@bp.doc(responses=openapi.problems(400, 422, 503))
def take_events(query_data: NoQuery) -> dict[str, Any]:  # noqa: ARG001
    """Take the events of a bucket.

    The body is what S3 and MinIO send: an object with a list of `Records`. They are committed
    before the answer; redelivery is harmless. `Authorization` holds WEBHOOK_TOKEN, with or
    without `Bearer`.
    """
    if not has_token(request.headers.get("Authorization", ""), _tokens()):
        raise Refused(
            401,
            "wrong-webhook-token",
            "The token is missing or wrong.",
            "Send `Authorization: Bearer TOKEN` with the value of WEBHOOK_TOKEN.",
            headers={"WWW-Authenticate": 'Bearer realm="minio-event"'},
        )
    events = parse(request.get_data())
    if events:
        services().intake.add(events)
    return {"status": "ok", "records": len(events)}


@bp.get("/minio-event")
@no_rate_limit
@bp.output(Taken, description="Events can be sent here.", example={"status": "ok", "records": 0})
@bp.doc(responses=openapi.problems())
def probe_events() -> dict[str, Any]:
    """Tell a sender that events can be sent here."""
    return {"status": "ok", "records": 0}


def _tokens() -> list[str]:
    tokens = services().settings.webhook_tokens
    if not tokens:
        raise ConfigurationError(
            "No events are taken: WEBHOOK_TOKEN is not set.",
            hint="Set WEBHOOK_TOKEN to a secret of 16 characters or more, here and at the sender.",
        )
    return tokens


@bp.get("/events")
@needs(Role.READER)
@bp.input(EventsQuery, location="query")
@bp.output(Events, description="A page of events.", example={"events": [_EXAMPLE]})
@bp.doc(responses={200: {"headers": openapi.LINK_HEADER}, **openapi.problems(422, 503)})
def list_events(query_data: EventsQuery) -> tuple[dict[str, Any], dict[str, str]]:
    """List what was told of the buckets, in the order it came."""
    with services().database() as connection:
        rows = connection.execute(_events(query_data)).mappings().all()
    page, is_more = paging.cut(rows, query_data.limit)
    headers = paging.next_link(page[-1]["id"]) if is_more else {}
    return {"events": [dict(row) for row in page]}, headers


def _events(query: EventsQuery) -> Select[Any]:
    asked = {bucket_event.c.bucket: query.bucket, bucket_event.c.key: query.key}
    wanted = [column == value for column, value in asked.items() if value is not None]
    told = (_latest if query.latest else _all)().where(*wanted).subquery()
    statement = select(told).order_by(told.c.id).limit(query.limit + 1)
    return statement if query.after is None else statement.where(told.c.id > query.after)


def _all() -> Select[Any]:
    event = bucket_event.c
    waits = event.handled_by_run.is_(None)
    return select(
        *(event.id, event.bucket, event.key, event.event_name, event.event_time),
        *(event.sequencer, event.etag, event.size, event.version_id, event.received_at),
        case((waits, "waiting"), else_="handled").label("state"),
        func.nullif(event.handled_by_run, NO_RUN).label("run_id"),
        event.record,
    )


def _latest() -> Select[Any]:
    """The newest event of each key, as far as their times and then their sequencers tell."""
    event = bucket_event.c
    place = (event.event_time.desc().nulls_last(), func.lpad(event.sequencer, 64, "0").desc())
    return (
        _all()
        .ext(distinct_on(event.bucket, event.key))
        .order_by(event.bucket, event.key, *place, event.id.desc())
    )
