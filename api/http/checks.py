"""Checks of every request, made before a route is entered."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import request

from api.http.addresses import path_bytes
from api.http.errors import Refused

if TYPE_CHECKING:
    from apiflask import APIFlask

_METHODS_WITH_BODY = ("PUT", "POST", "PATCH")


def register(app: APIFlask) -> None:
    """Check every request."""
    app.before_request(refuse_undecodable_path)
    app.before_request(refuse_partial_body)
    app.before_request(refuse_encoded_body)


def refuse_undecodable_path() -> None:
    """Refuse with 400 a path that is not UTF-8.

    Each invalid byte would become U+FFFD, so that different paths would be the same.
    """
    try:
        path_bytes(request.environ).decode()
    except UnicodeDecodeError as error:
        raise Refused(
            HTTPStatus.BAD_REQUEST,
            "path-not-utf-8",
            "The path is not UTF-8.",
            "Encode the path as UTF-8, then percent-encode it, for example é as %C3%A9.",
        ) from error


def refuse_partial_body() -> None:
    """Refuse with 400 a partial body, as sent by `curl -C`: it would replace the whole object."""
    if request.method in _METHODS_WITH_BODY and "Content-Range" in request.headers:
        raise Refused(
            HTTPStatus.BAD_REQUEST,
            "partial-body",
            "The Content-Range header marks a partial upload, which is not supported.",
            "Send the complete body without Content-Range (with curl, omit -C).",
        )


def refuse_encoded_body() -> None:
    """Refuse with 415 an encoded body: it would be stored as is, without its encoding."""
    coding = request.headers.get("Content-Encoding", "").strip().lower()
    if request.method in _METHODS_WITH_BODY and coding not in {"", "identity"}:
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "encoded-body",
            f"The body has the Content-Encoding {coding!r}, which is not supported.",
            "Send the body unencoded, without Content-Encoding.",
        )
