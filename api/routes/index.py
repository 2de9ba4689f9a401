"""/: the name and version of this server, and its routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from apiflask import APIBlueprint, APIFlask
from flask import Response, current_app, redirect, request

from api.http import accept
from api.http.pages import PREFIX, is_page
from api.http.paths import path_of
from api.schemas.service import Index
from api.security.auth import public
from api.spec import openapi

if TYPE_CHECKING:
    from werkzeug.routing import Rule

bp = APIBlueprint("index", __name__, tag="Index")

_UNLISTED = ("static", "docs.show_asset")
_TYPES = ("application/json", "text/html")  # of equal weight, the first


@bp.get("/")
@public
@bp.output(Index, description="The routes.")
@bp.doc(
    responses={
        303: {"description": "The dashboard, for a browser: a client that prefers text/html."},
        **openapi.problems(),
    }
)
def show_index() -> tuple[dict[str, Any], int, dict[str, str]] | Response:
    """List the routes; redirect a browser to the dashboard."""
    varying = {"Vary": "Accept"}
    ranges = accept.media_ranges(request.headers.get("Accept"))
    if ranges.best_match(_TYPES) == "text/html":
        answer = redirect(f"{PREFIX}/", 303)
        answer.headers.update(varying)
        return cast("Response", answer)
    app = cast("APIFlask", current_app)
    return {"name": app.title, "version": app.version, "routes": _routes(app)}, 200, varying


def _routes(app: APIFlask) -> list[dict[str, Any]]:
    rules = sorted(app.url_map.iter_rules(), key=lambda rule: (rule.rule, rule.endpoint))
    return [
        _route(app, rule)
        for rule in rules
        if rule.endpoint not in _UNLISTED and not is_page(rule.rule)
    ]


def _route(app: APIFlask, rule: Rule) -> dict[str, Any]:
    summary = app.view_functions[rule.endpoint].__doc__ or ""
    return {
        "path": path_of(rule),
        "methods": sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}),
        "summary": summary.partition("\n")[0],
    }
