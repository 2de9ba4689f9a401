"""/docs: Swagger UI for /openapi.json, served only from local files."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from apiflask import APIBlueprint
from flask import Response, abort, send_file, send_from_directory

from api.security.auth import public

# Own files only and no inline scripts or styles. Swagger UI uses data: images.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
ASSET_SECONDS = 3600

STATIC = Path(__file__).parents[1] / "static"

bp = APIBlueprint("docs", __name__, enable_openapi=False)


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
