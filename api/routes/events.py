"""/minio-event receives bucket notifications; /events lists the stored events."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint
from flask import request
from sqlalchemy import Select, case, func, select
from sqlalchemy.dialects.postgresql import distinct_on

from api.http import paging
from api.http.errors import Refused
from api.routes import sns_subscriptions
from api.schemas.events import Events, EventsQuery, Taken
from api.schemas.query import NoQuery
from api.security.auth import needs, no_rate_limit, own_token_auth
from api.security.webhook import has_token
from api.spec import openapi
from api.state.services import services
from etl.db.event_messages import parse
from etl.db.events import NO_RUN
from etl.db.tables import bucket_event
from etl.model.errors import ConfigurationError, SubscriptionNotice
from etl.model.roles import Role

bp = APIBlueprint("events", __name__, tag="Events")

_REALM = 'realm="minio-event"'


@bp.post("/minio-event")
@own_token_auth
@bp.input(NoQuery, location="query")
@bp.output(Taken, description="All records are stored.")
@bp.doc(responses=openapi.problems(400, 422, 503))
def take_events(query_data: NoQuery) -> dict[str, Any]:  # noqa: ARG001
    """Receive bucket notifications.

    The body is a notification as S3 and MinIO send it, an object with a list of `Records`; a
    message of SNS that contains one; or an event of EventBridge. The response is sent after the
    commit, and duplicate events are ignored. `Authorization` contains WEBHOOK_TOKEN, with or
    without `Bearer`, or as the password of `Basic`.

    SNS asks to confirm a subscription before it sends notifications. That is done for the topics
    in SNS_TOPIC_ARNS. For others, the log has the command that confirms it.
    """
    if not has_token(request.headers.get("Authorization", ""), _tokens()):
        raise Refused(
            401,
            "wrong-webhook-token",
            "The token is missing or not valid.",
            "Send `Authorization: Bearer TOKEN` with the value of WEBHOOK_TOKEN.",
            # SNS sends its password only after a challenge, and reads the first one.
            headers={"WWW-Authenticate": f"Basic {_REALM}, Bearer {_REALM}"},
        )
    try:
        events = parse(request.get_data())
    except SubscriptionNotice as notice:
        sns_subscriptions.answer(notice, services().settings.sns_topics)
        events = []
    if events:
        services().event_commits.add(events)
    return {"status": "ok", "records": len(events)}


@bp.get("/minio-event")
@no_rate_limit
@bp.output(Taken, description="The route accepts events.", example={"status": "ok", "records": 0})
@bp.doc(responses=openapi.problems())
def probe_events() -> dict[str, Any]:
    """Confirm that this route accepts events."""
    return {"status": "ok", "records": 0}


def _tokens() -> list[str]:
    tokens = services().settings.webhook_tokens
    if not tokens:
        raise ConfigurationError(
            "Events are not accepted because WEBHOOK_TOKEN is not set.",
            hint="Set WEBHOOK_TOKEN to a secret of 16 characters or more, here and in the sender.",
        )
    return tokens


@bp.get("/events")
@needs(Role.READER)
@bp.input(EventsQuery, location="query")
@bp.output(Events, description="A page of events.")
@bp.doc(responses={200: {"headers": openapi.LINK_HEADER}, **openapi.problems(422, 503)})
def list_events(query_data: EventsQuery) -> tuple[dict[str, Any], dict[str, str]]:
    """List the bucket events, in order of arrival."""
    with services().database() as connection:
        rows = connection.execute(_events(query_data)).mappings().all()
    page, headers = paging.page(rows, query_data.limit)
    return {"events": page}, headers


def _events(query: EventsQuery) -> Select[Any]:
    filters = {bucket_event.c.bucket: query.bucket, bucket_event.c.key: query.key}
    conditions = [column == value for column, value in filters.items() if value is not None]
    found = (_latest if query.latest else _all)().where(*conditions).subquery()
    statement = select(found).order_by(found.c.id).limit(query.limit + 1)
    return statement if query.after is None else statement.where(found.c.id > query.after)


def _all() -> Select[Any]:
    event = bucket_event.c
    is_waiting = event.handled_by_run.is_(None)
    return select(
        *(event.id, event.bucket, event.key, event.event_name, event.event_time),
        *(event.sequencer, event.etag, event.size, event.version_id, event.received_at),
        case((is_waiting, "waiting"), else_="handled").label("state"),
        func.nullif(event.handled_by_run, NO_RUN).label("run_id"),
        event.record,
    )


def _latest() -> Select[Any]:
    """The newest event of each object key, by time and then by sequencer."""
    event = bucket_event.c
    newest_first = (
        event.event_time.desc().nulls_last(),
        func.lpad(event.sequencer, 64, "0").desc(),
    )
    return (
        _all()
        .ext(distinct_on(event.bucket, event.key))
        .order_by(event.bucket, event.key, *newest_first, event.id.desc())
    )
