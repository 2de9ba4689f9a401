"""Signing in with an API key, signing out, and the theme."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from apiflask import APIBlueprint
from flask import request, url_for

from api.http.pages import PREFIX
from api.security.auth import current_session, entry_of_key, is_open, public, sessions
from api.security.sessions import SESSION_SECONDS
from api.ui import forms
from api.ui.render import THEME_COOKIE, THEMES, here, page

if TYPE_CHECKING:
    from flask import Response

THEME_SECONDS = 365 * 86_400

bp = APIBlueprint("session", __name__, enable_openapi=False)


@bp.get("/sign-in")
@public
def show_sign_in() -> Response:
    """Show the form for an API key; without keys, there is nothing to sign in to.

    A browser that follows a link of another site, such as one in an alert, sends no cookie with
    SameSite=Strict. It loads this page again by itself, then with the cookie.
    """
    following = forms.next_page(request.args.get("next", ""))
    if is_open() or current_session() is not None:
        return forms.see(following)
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        return page("session/continue.html", title="Bucketline", has_shell=False, target=here())
    return _form(following)


@bp.post("/sign-in")
@public
def sign_in() -> Response:
    """Start a session with the key of the form."""
    following = forms.next_page(request.form.get("next", ""))
    if is_open():
        return forms.see(following)
    entry = entry_of_key(request.form.get("key", "").strip())
    if entry is None:
        return _form(following, is_refused=True)
    response = forms.see(following)
    forms.set_cookie(response, forms.session_cookie(), sessions().open(entry), SESSION_SECONDS)
    return response


@bp.post("/sign-out")
@public
def sign_out() -> Response:
    """End the session."""
    session = current_session()
    if session is not None:
        sessions().end(session)
    response = forms.see(url_for("ui.session.show_sign_in"))
    response.delete_cookie(forms.session_cookie(), path=PREFIX, httponly=True, samesite="Strict")
    return response


@bp.post("/theme")
@public
def choose_theme() -> Response:
    """Keep the theme that the form names."""
    chosen = request.form.get("theme", "")
    response = forms.back()
    if chosen in THEMES:
        forms.set_cookie(response, THEME_COOKIE, chosen, THEME_SECONDS)
    return response


def _form(following: str, *, is_refused: bool = False) -> Response:
    return page(
        "session/sign-in.html",
        title="Sign in",
        status=HTTPStatus.FORBIDDEN if is_refused else HTTPStatus.OK,
        has_shell=False,
        following=following,
        is_refused=is_refused,
        hours=SESSION_SECONDS // 3600,
    )
