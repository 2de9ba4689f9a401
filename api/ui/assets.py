"""The static files of pages: their URLs contain a hash of the content, so browsers keep them."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from apiflask import APIBlueprint
from flask import Response, abort, request

from api.http import accept
from api.security.auth import no_rate_limit

STATIC = Path(__file__).parent / "static"
STYLE = "style.css"
YEAR_SECONDS = 365 * 86_400

_HASH_CHARACTERS = 12

_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".json": "application/json",
}

bp = APIBlueprint("static", __name__, enable_openapi=False)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent."""

    content: bytes
    packed: bytes
    mimetype: str
    digest: str


@cache
def assets() -> dict[str, Asset]:
    """The files by name; the parts in styles/ are one sheet, `style.css`, in order of names."""
    parts = sorted((STATIC / "styles").glob("*.css"))
    found = {STYLE: _asset(STYLE, b"\n".join(part.read_bytes() for part in parts))}
    for path in STATIC.rglob("*"):
        if path.is_file() and path not in parts:
            name = path.relative_to(STATIC).as_posix()
            found[name] = _asset(name, path.read_bytes())
    return found


def _asset(name: str, content: bytes) -> Asset:
    mimetype = _TYPES[Path(name).suffix]
    packed = gzip.compress(content, mtime=0)
    digest = hashlib.sha256(content).hexdigest()[:_HASH_CHARACTERS]
    return Asset(content, packed, mimetype, digest)


def asset_url(name: str) -> str:
    """The URL of a file.

    Raises:  KeyError if there is no such file.
    """
    return f"/ui/static/{assets()[name].digest}/{name}"


@bp.get("/static/<digest>/<path:name>")
@no_rate_limit
def show_asset(digest: str, name: str) -> Response:
    """Send a file, which the browser may keep because another content has another URL."""
    found = assets().get(name)
    if found is None or found.digest != digest:
        abort(404)
    codings = accept.codings(request.headers.get("Accept-Encoding"))
    is_packed = codings.quality("gzip") > 0
    body = found.packed if is_packed else found.content
    response = Response(body, mimetype=found.mimetype)
    if is_packed:
        response.headers["Content-Encoding"] = "gzip"
    response.headers["Cache-Control"] = f"public, max-age={YEAR_SECONDS}, immutable"
    response.vary.add("Accept-Encoding")
    return response
