"""Browsers: which pages may use the API (CORS), and which may not even try.

An open API would otherwise do for any page in the user's browser what it does for the user: a
form may POST across sites, and a name that is made to lead to 127.0.0.1 (DNS rebinding) makes
a stranger's page a page of ours.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import Response, current_app, request

from api.http.errors import Refused
from api.state.services import services

if TYPE_CHECKING:
    from apiflask import APIFlask

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
PREFLIGHT_SECONDS = 600

_SENT = "Authorization, X-API-Key, X-Request-Id, Content-Type, If-None-Match, Range"
_SHOWN = "ETag, Link, Location, Retry-After, WWW-Authenticate, X-Request-Id, Content-Range"
_HOST = re.compile(r"(\[[^\[\]]+\]|[^:\[\]]*)(?::\d*)?")
_FROM_OURSELVES = ("same-origin", "none")


def register(app: APIFlask) -> None:
    """Let the app answer preflights, and mark what pages of CORS_ORIGINS may read."""
    app.before_request(answer_preflight)
    app.before_request(refuse_other_sites)
    app.after_request(share)


def answer_preflight() -> Response | None:
    """Answer a browser that asks, without a key, whether a page may send a request."""
    wanted = request.headers.get("Access-Control-Request-Method")
    if request.method != "OPTIONS" or wanted is None or not _is_allowed_origin():
        return None
    headers = {
        "Access-Control-Allow-Methods": ", ".join(_methods_here()),
        "Access-Control-Allow-Headers": _SENT,
        "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
    }
    return Response(status=204, headers=headers)


def refuse_other_sites() -> None:
    """Refuse what a page of another site has its reader's browser do.

    Raises:  Refused with 403.
    """
    if request.method in SAFE_METHODS or _is_allowed_origin() or not _is_foreign():
        return
    raise Refused(
        403,
        "cross-site-request",
        "A page of another site may not do this.",
        "CORS_ORIGINS lists the origins whose pages may use the API.",
    )


def _is_foreign() -> bool:
    """Whether a browser says that another origin's page sent this; other clients say neither."""
    if request.headers.get("Sec-Fetch-Site", "none") not in _FROM_OURSELVES:
        return True
    origin = request.headers.get("Origin")
    return origin is not None and not _is_own(origin)


def _is_own(origin: str) -> bool:
    """Whether this is the address by which we were called."""
    try:
        called = urlsplit(origin).netloc
    except ValueError:  # of brackets that hold no address
        return False
    return bool(called) and called == request.headers.get("Host")


def share(response: Response) -> Response:
    """Let pages of the allowed origins read the answer; the keys they send are their own."""
    if services().settings.allowed_origins:
        response.vary.add("Origin")
    if _is_allowed_origin():
        response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
        response.headers["Access-Control-Expose-Headers"] = _SHOWN
    return response


def _is_allowed_origin() -> bool:
    return request.headers.get("Origin") in services().settings.allowed_origins


def _methods_here() -> list[str]:
    return sorted(current_app.create_url_adapter(request).allowed_methods())  # type: ignore[union-attr]


def may_be_called(host: str | None, *, own_name: str, any_short_name: bool) -> bool:
    """Whether a Host header cannot be a stranger's name that was made to lead here.

    Addresses and `localhost` cannot, nor API_HOST; a name without a dot is one of the local
    network, which only an API that serves it is called by.
    """
    if host is None:  # no browser
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
