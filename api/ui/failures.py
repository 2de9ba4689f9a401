"""Errors as pages: the problem details of the API in the layout of the dashboard."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from flask import request, url_for

from api.http import accept
from api.http.errors import HINTS, MIMETYPE, TYPE_PREFIX
from api.http.pages import is_page
from api.ui import forms
from api.ui.render import here, page

if TYPE_CHECKING:
    from flask import Response

_TITLES = {
    400: "This address cannot be read",
    403: "Your key may not do this",
    404: "There is no such page",
    405: "This page cannot do that",
    409: "This cannot be done now",
    413: "This is too large",
    422: "This address has a wrong value",
    429: "Too many requests",
    500: "The dashboard failed",
    503: "The dashboard waits",
}
_TITLES_OF_KINDS = {
    "form-expired": "This form has expired",
    "loopback-only": "The dashboard serves only its own machine",
    "unknown-host": "This host name is not known",
    "database-unavailable": "The database does not answer",
    "object-store-unavailable": "The object store does not answer",
    "newer-schema": "A newer Bucketline has changed the tables",
    "older-schema": "The tables wait for a migration",
}
_HINTS_OF_KINDS = {
    "object-store-unavailable": "If it does not come back, check that S3_ENDPOINT is reachable."
    " The overview says since when, and what waits.",
}
_DETAILS = {404: "The dashboard has no page with this address."}
_HINTS = {
    404: "The navigation has all pages.",
    405: "Go back and use the buttons of the page.",
    422: "Go back and correct it.",
}


def show_failure(response: Response) -> Response:
    """Replace problem details by a page, for a browser; a script of ours gets them as they are."""
    if response.mimetype != MIMETYPE or not is_page(request.path) or not _wants_page():
        return response
    details: dict[str, Any] = response.get_json()
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        return _ask_to_sign_in()
    shown = _page_of(details)
    for name, value in response.headers.items():
        if name.lower() in ("retry-after", "allow"):
            shown.headers[name] = value
    return shown


def _wants_page() -> bool:
    if "HX-Request" in request.headers:
        return True
    ranges = accept.media_ranges(request.headers.get("Accept"))
    return not ranges or ranges.best_match(("text/html", MIMETYPE)) == "text/html"


def _ask_to_sign_in() -> Response:
    """A redirect to the form for a key, which leads back to the page."""
    is_read = request.method == "GET" and "HX-Request" not in request.headers
    after = f"?{urlencode({'next': here()})}" if is_read else ""
    url = url_for("ui.session.show_sign_in") + after
    response = forms.see(url)
    if "HX-Request" in request.headers:
        response.status_code = HTTPStatus.UNAUTHORIZED
        response.headers["HX-Redirect"] = url
        del response.headers["Location"]
    return response


def _page_of(details: dict[str, Any]) -> Response:
    status = int(details["status"])
    kind = str(details["type"]).removeprefix(TYPE_PREFIX)
    is_general = kind == "about:blank"
    is_passing = status == HTTPStatus.SERVICE_UNAVAILABLE
    return page(
        "errors/problem.html",
        title=_TITLES_OF_KINDS.get(kind) or _TITLES.get(status, details["title"]),
        status=status,
        has_shell=not is_passing and status != HTTPStatus.INTERNAL_SERVER_ERROR,
        detail=_DETAILS.get(status, details["detail"]) if is_general else details["detail"],
        hint=_HINTS.get(status, details["hint"])
        if is_general or details["hint"] == HINTS.get(status)
        else _HINTS_OF_KINDS.get(kind, details["hint"]),
        status_code=status,
        request_id=details.get("request_id", ""),
        is_passing=is_passing,
        is_read=request.method == "GET",
    )
