"""/: the name and version of this server, and its routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from apiflask import APIBlueprint, APIFlask
from flask import current_app

from api.http.paths import path_of
from api.schemas.service import Index
from api.security.auth import public
from api.spec import openapi

if TYPE_CHECKING:
    from werkzeug.routing import Rule

bp = APIBlueprint("index", __name__, tag="Index")

_UNLISTED = ("static", "docs.show_asset")


@bp.get("/")
@public
@bp.output(Index, description="The routes.")
@bp.doc(responses=openapi.problems())
def show_index() -> dict[str, Any]:
    """List the routes."""
    app = cast("APIFlask", current_app)
    return {"name": app.title, "version": app.version, "routes": _routes(app)}


def _routes(app: APIFlask) -> list[dict[str, Any]]:
    rules = sorted(app.url_map.iter_rules(), key=lambda rule: (rule.rule, rule.endpoint))
    return [_route(app, rule) for rule in rules if rule.endpoint not in _UNLISTED]


def _route(app: APIFlask, rule: Rule) -> dict[str, Any]:
    summary = app.view_functions[rule.endpoint].__doc__ or ""
    return {
        "path": path_of(rule),
        "methods": sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}),
        "summary": summary.partition("\n")[0],
    }
