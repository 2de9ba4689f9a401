"""What no route could mean: refused before any of them is entered, whatever the method."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import request

from api.addresses import path_bytes
from api.errors import Refused

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

    Each of its odd bytes would become U+FFFD, and different paths the same one.
    """
    try:
        path_bytes(request.environ).decode()
    except UnicodeDecodeError as error:
        raise Refused(
            HTTPStatus.BAD_REQUEST,
            "path-not-utf-8",
            "The path is not UTF-8.",
            "Write its bytes in UTF-8, with percent signs: %C3%A9 for é.",
        ) from error


def refuse_part_of_a_body() -> None:
    """Answer 400 to a part of something, as `curl -C` sends it: it would replace the whole."""
    if request.method in _BRING_A_BODY and "Content-Range" in request.headers:
        raise Refused(
            HTTPStatus.BAD_REQUEST,
            "partial-body",
            "Content-Range says that the body is a part; nothing can be stored in parts here.",
            "Send the whole, without Content-Range (curl: without -C).",
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
