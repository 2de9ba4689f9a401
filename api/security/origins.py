"""Browsers: CORS for allowed origins, and protection against requests from other sites' pages.

Otherwise any page open in a user's browser could use an API without keys. A form can POST across
sites, and with DNS rebinding a foreign host name resolves to 127.0.0.1, so that the page of
another site has the API's own origin.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import Response, request

from api.http.errors import Refused
from api.http.methods import methods_at_path
from api.state.services import services

if TYPE_CHECKING:
    from apiflask import APIFlask

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
PREFLIGHT_SECONDS = 600

_ALLOWED_HEADERS = "Authorization, X-API-Key, X-Request-Id, Content-Type, If-None-Match, Range"
_EXPOSED_HEADERS = (
    "ETag, Link, Location, Retry-After, WWW-Authenticate, X-Request-Id, Content-Range"
)
_HOST = re.compile(r"(\[[^\[\]]+\]|[^:\[\]]*)(?::\d*)?")
_SAME_ORIGIN = ("same-origin", "none")


def register(app: APIFlask) -> None:
    """Handle preflights, refuse cross-site requests, and add the CORS headers."""
    app.before_request(handle_preflight)
    app.before_request(refuse_other_sites)
    app.after_request(add_cors_headers)


def handle_preflight() -> Response | None:
    """Respond to a CORS preflight request, which a browser sends without a key."""
    method = request.headers.get("Access-Control-Request-Method")
    if request.method != "OPTIONS" or method is None or not _is_allowed_origin():
        return None
    headers = {
        "Access-Control-Allow-Methods": ", ".join(methods_at_path()),
        "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
        "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
    }
    return Response(status=204, headers=headers)


def refuse_other_sites() -> None:
    """Refuse a request that a page of another site sends through the user's browser.

    Raises:  Refused with 403.
    """
    if request.method in SAFE_METHODS or _is_allowed_origin() or not _is_cross_site():
        return
    raise Refused(
        403,
        "cross-site-request",
        "A web page of another origin sent this request, and CORS_ORIGINS does not allow it.",
        "Add the origin of the page to CORS_ORIGINS, for example https://app.example.com.",
    )


def _is_cross_site() -> bool:
    """Whether a browser's headers name another origin; other clients do not send these headers."""
    if request.headers.get("Sec-Fetch-Site", "none") not in _SAME_ORIGIN:
        return True
    origin = request.headers.get("Origin")
    return origin is not None and not _is_own(origin)


def _is_own(origin: str) -> bool:
    """Whether the origin is the host that this request addresses."""
    try:
        host = urlsplit(origin).netloc
    except ValueError:  # brackets without an IPv6 address
        return False
    return bool(host) and host == request.headers.get("Host")


def add_cors_headers(response: Response) -> Response:
    """Let pages of the allowed origins read the response; credentials are not shared."""
    if services().settings.allowed_origins:
        response.vary.add("Origin")
    if _is_allowed_origin():
        response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
        response.headers["Access-Control-Expose-Headers"] = _EXPOSED_HEADERS
    return response


def _is_allowed_origin() -> bool:
    return request.headers.get("Origin") in services().settings.allowed_origins


def is_trusted_host(host: str | None, *, own_name: str, any_short_name: bool) -> bool:
    """Whether a Host header cannot come from DNS rebinding.

    Addresses, `localhost` and API_HOST cannot. A name without a dot belongs to the local network,
    so it is trusted only if `any_short_name` is set, for an API that serves this network.
    """
    if host is None:  # browsers always send it
        return True
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match[1].strip("[]").rstrip(".").lower()
    if name in ("localhost", own_name.lower()) or name.endswith(".localhost"):
        return True
    return _is_address(name) or (any_short_name and bool(name) and "." not in name)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
