"""Forms of pages: the token that each sends back, and where the visitor goes afterwards.

A page of another site can make a browser send a form, but cannot read the token in ours.
"""

from __future__ import annotations

import re
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from flask import current_app, g, redirect, request

from api.http.errors import Refused
from api.http.pages import PREFIX, is_page
from api.security.auth import current_session, is_open, sessions
from api.security.origins import SAFE_METHODS
from api.security.sessions import COOKIE, is_equal

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Response

FIELD = "csrf"
HEADER = "X-CSRF-Token"
VISIT_COOKIE = "bucketline-visit"

_VISIT_BYTES = 16
_OPEN = "open"  # the visitor of an API without keys

View = TypeVar("View", bound="Callable[..., object]")


def form_token() -> str:
    """The token for the forms of this visitor's pages."""
    return sessions().form_token(_visitor())


def checks_own_token(view: View) -> View:
    """Let a view that streams a large form call `check_token` itself."""
    view.checks_own_token = True  # type: ignore[attr-defined]
    return view


def require_token() -> None:
    """Refuse a request that changes something without the token of its visitor.

    Raises:  Refused with 403.
    """
    view = current_app.view_functions.get(str(request.endpoint))
    if request.method in SAFE_METHODS or getattr(view, "checks_own_token", False):
        return
    check_token(request.headers.get(HEADER) or request.form.get(FIELD, ""))


def check_token(given: str) -> None:
    """Check the token that came with a form.

    Raises:  Refused with 403.
    """
    if not is_equal(form_token(), given):
        raise Refused(
            HTTPStatus.FORBIDDEN,
            "form-expired",
            "The form is from an earlier session, so nothing was changed.",
            "Load the page again and send its form again.",
        )


def _visitor() -> str:
    """What the token belongs to: the session or, before signing in, a cookie of this visit."""
    session = current_session()
    if session is not None:
        return f"session:{session.id}"
    if is_open():
        return _OPEN
    if "visit" not in g:
        g.visit = request.cookies.get(VISIT_COOKIE) or secrets.token_urlsafe(_VISIT_BYTES)
    return f"visit:{g.visit}"


def keep_visit(response: Response) -> Response:
    """Set the cookie of the visit, if a form of the page relies on it."""
    visit = g.get("visit")
    if visit is not None and request.cookies.get(VISIT_COOKIE) != visit:
        set_cookie(response, VISIT_COOKIE, visit)
    return response


def session_cookie() -> str:
    """The name of the session's cookie; browsers send cookies to all ports of a host."""
    port = re.search(r":([0-9]{1,5})$", request.host)
    return COOKIE if port is None else f"{COOKIE}-{port[1]}"


def set_cookie(response: Response, name: str, value: str, max_age: int | None = None) -> None:
    """Set a cookie that only our pages get, and no script."""
    response.set_cookie(
        name,
        value,
        max_age=max_age,
        path=PREFIX,
        secure=is_secure(),
        httponly=True,
        samesite="Strict",
    )


def is_secure() -> bool:
    """Whether the browser uses HTTPS, also if a proxy ends it: the browser's Origin says so."""
    return request.is_secure or request.headers.get("Origin", "").startswith("https://")


def back(default: str = f"{PREFIX}/") -> Response:
    """A redirect to the page that the form names in `next`, if it is ours."""
    return see(next_page(request.form.get("next", ""), default))


def see(url: str) -> Response:
    """A redirect after a form was handled."""
    return redirect(url, 303)  # type: ignore[return-value]


def next_page(url: str, default: str = f"{PREFIX}/") -> str:
    """The URL if it is a page of ours, otherwise the default: never another host."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return default
    is_ours = not parts.scheme and not parts.netloc and is_page(parts.path)
    return url if is_ours and url.isprintable() and "\\" not in url else default
