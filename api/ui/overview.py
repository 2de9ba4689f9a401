"""The overview: whether all is well, and what needs someone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apiflask import APIBlueprint
from flask import g

from api.security.auth import OF_CALLER, caller, needs
from api.state.services import services
from api.ui.queries import instance
from api.ui.render import page
from etl.model.roles import Role

if TYPE_CHECKING:
    from flask import Response

bp = APIBlueprint("overview", __name__, enable_openapi=False)


@bp.get("/")
@needs(Role.READER, dataset=OF_CALLER)
def show_overview() -> Response:
    """Show the state of the instance."""
    shared = services()
    with shared.database() as connection:
        g.shell = instance.instance(connection, shared.settings.etl_interval, caller().datasets)
    return page("overview/overview.html", title="Overview", json_url="/health")
