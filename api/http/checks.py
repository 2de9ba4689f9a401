"""Checks that apply to every route and method, made before a route is entered."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import request

from api.http.addresses import path_bytes
from api.http.errors import Refused

if TYPE_CHECKING:
    from apiflask import APIFlask

_BRING_A_BODY = ("PUT", "POST", "PATCH")


def register(app: APIFlask) -> None:
    """Let the app refuse them."""
    app.before_request(refuse_unreadable_path)
    app.before_request(refuse_part_of_a_body)
    app.before_request(refuse_encoded_body)


def refuse_unreadable_path() -> None:
    """Answer 400 to a path that is not UTF-8.

    Each invalid byte would become U+FFFD, so different paths would become the same one.
    """
    try:
        path_bytes(request.environ).decode()
    except UnicodeDecodeError as error:
        raise Refused(
            HTTPStatus.BAD_REQUEST,
            "path-not-utf-8",
            "The path is not UTF-8.",
            "Percent-encode the UTF-8 bytes of the path: %C3%A9 for é.",
        ) from error


def refuse_part_of_a_body() -> None:
    """Answer 400 to a partial body, as `curl -C` sends it: it would replace the whole object."""
    if request.method in _BRING_A_BODY and "Content-Range" in request.headers:
        raise Refused(
            HTTPStatus.BAD_REQUEST,
            "partial-body",
            "Content-Range marks the body as a part, and partial uploads are not supported.",
            "Send the whole body without Content-Range (curl: without -C).",
        )


def refuse_encoded_body() -> None:
    """Answer 415 to a compressed body: nothing here decodes it, or keeps that it is to be."""
    coding = request.headers.get("Content-Encoding", "").strip().lower()
    if request.method in _BRING_A_BODY and coding not in {"", "identity"}:
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "encoded-body",
            "Content-Encoding says that the body is encoded; nothing is decoded here.",
            "Send it as it is, without Content-Encoding.",
        )
