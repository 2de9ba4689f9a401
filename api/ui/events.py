"""The events that buckets sent, and what became of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apiflask import APIBlueprint

from api.security.auth import needs
from api.state.services import services
from api.ui.parameters import given, number, one_of
from api.ui.queries import events as queries
from api.ui.render import now, page, query
from etl.model.roles import Role
from etl.model.safe_text import printable

if TYPE_CHECKING:
    from flask import Response

PAGE_EVENTS = 50

bp = APIBlueprint("events", __name__, enable_openapi=False)


@bp.get("/events")
@needs(Role.READER)
def list_events() -> Response:
    """List the events, newest first."""
    before = number("before")
    is_waiting = one_of("state", ("waiting",)) is not None
    wanted = queries.EventFilter(given("bucket"), given("key"), is_waiting)
    shared = services()
    with shared.database(shared.autocommit) as connection:
        figures = queries.figures(connection, now())
        found = queries.events(connection, wanted, before, PAGE_EVENTS + 1)
        letters = queries.letters(connection)
    shown = found[:PAGE_EVENTS]
    return page(
        "events/list.html",
        title="Events",
        json_url="/events",
        figures=figures,
        events=shown,
        next_url=query(before=shown[-1].id) if len(found) > PAGE_EVENTS else None,
        first_url=None if before is None else query(before=None),
        filters=_filters(wanted),
        clear_url=query(bucket=None, key=None, state=None, before=None),
        wanted=wanted,
        buckets=[("", "any"), *((name, name) for name in shared.sources.get())],
        letters=letters,
    )


def _filters(wanted: queries.EventFilter) -> list[tuple[str, str]]:
    """The filters in words, each with the URL of the page without it."""
    found = []
    if wanted.bucket is not None:
        found.append((f"bucket: {wanted.bucket}", query(bucket=None, before=None)))
    if wanted.key is not None:
        found.append((f"key: {printable(wanted.key)}", query(key=None, before=None)))
    if wanted.is_waiting:
        found.append(("waiting", query(state=None, before=None)))
    return found
