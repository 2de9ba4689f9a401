"""/openapi.json with the datasets of the caller, and /docs: Swagger UI, from local files only."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, cast

from apiflask import APIBlueprint, APIFlask
from flask import Response, abort, current_app, send_file, send_from_directory

from api.security.auth import caller, public
from api.spec.descriptions import descriptions_of
from api.state.services import services
from etl.model.errors import DatabaseMisconfigured, DatabaseUnavailable

if TYPE_CHECKING:
    from api.state.catalog import Installed
    from api.state.services import Services

# Own files only and no inline scripts or styles. Swagger UI uses data: images.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
ASSET_SECONDS = 3600

STATIC = Path(__file__).parents[1] / "static"

bp = APIBlueprint("docs", __name__, enable_openapi=False)


@bp.get("/openapi.json")
@public
def show_spec() -> Response:
    """Return the OpenAPI description of all routes.

    With the columns of the datasets that the caller may read, unless the database is unavailable.
    """
    shared = services()
    text = descriptions_of(cast("APIFlask", current_app)).text(_datasets(shared))
    response = Response(text, mimetype="application/json")
    response.headers["Cache-Control"] = "private, no-cache"
    response.vary.update(("Authorization", "X-API-Key"))
    return response


def _datasets(shared: Services) -> tuple[Installed, ...]:
    """The datasets that the caller may read; none without a key, if there are keys."""
    if caller().role is None:
        return ()
    try:
        with shared.database(shared.autocommit) as connection:
            state = shared.catalog.read(connection)
    except (DatabaseUnavailable, DatabaseMisconfigured):
        return ()
    return tuple(one for name, one in state.datasets.items() if caller().may_see(name))


@bp.get("/docs")
@public
def show_docs() -> Response:
    """Show the documentation of all routes in Swagger UI."""
    response = send_from_directory(STATIC, "docs.html", max_age=ASSET_SECONDS)
    response.headers["Content-Security-Policy"] = POLICY
    return response


@bp.get("/docs/<name>")
@public
def show_asset(name: str) -> Response:
    """Send a file of Swagger UI."""
    if name not in ASSETS:
        abort(404)
    with as_file(files("flask_swagger_ui") / "dist" / name) as path:
        return send_file(path, max_age=ASSET_SECONDS)
