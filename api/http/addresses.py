"""URL paths as clients send them: an encoded slash is part of an ID or key, not a separator.

WSGI decodes the path before routing, so `/data/1000%2Fimage` would mean the image of user `1000`.
Servers also pass the undecoded path, REQUEST_URI, and this module routes by that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_to_bytes

from apiflask import APIFlask
from flask import request
from werkzeug.routing import Rule

if TYPE_CHECKING:
    from collections.abc import Callable
    from wsgiref.types import WSGIEnvironment

    from flask import Request
    from werkzeug.routing import MapAdapter

_SLASH = "\udc2f"  # stands for an encoded slash; decoding UTF-8 never yields it
_ENCODED_SLASH = re.compile(b"%2f", re.IGNORECASE)


class LazyRule(Rule):
    """A route that compiles the function for its URLs at its first URL.

    To compile those of all routes takes three quarters of the time in which an app is created.
    """

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:  # noqa: FBT001, FBT002 - as Rule's
        compile_builder = super()._compile_builder
        compiled: Callable[..., tuple[str, str]] | None = None

        def build(rule: Rule, /, **values: object) -> tuple[str, str]:
            nonlocal compiled
            if compiled is None:
                compiled = compile_builder(append_unknown)
            return compiled(rule, **values)

        return build


class RawPathFlask(APIFlask):
    """An app that routes by the undecoded path."""

    url_rule_class = LazyRule

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as APIFlask's
        super().__init__(*args, **kwargs)
        self.url_value_preprocessor(_restore_slashes)

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Route by the path in which encoded slashes are marked."""
        adapter = super().create_url_adapter(request)
        if request is not None and adapter is not None:
            adapter.path_info = marked_path(request.environ) or adapter.path_info
        return adapter


def _restore_slashes(_endpoint: str | None, values: dict[str, Any] | None) -> None:
    for name, value in (values or {}).items():
        if isinstance(value, str):
            values[name] = value.replace(_SLASH, "/")  # type: ignore[index]


def marked_path(environ: WSGIEnvironment) -> str | None:
    """The decoded path with a mark for each encoded slash; None if it has none."""
    parts = _parts(environ)
    return None if parts is None else _SLASH.join(part.decode(errors="replace") for part in parts)


def path_bytes(environ: WSGIEnvironment) -> bytes:
    """The percent-decoded bytes of the path, which WSGI passes as Latin-1 text."""
    return str(environ.get("PATH_INFO", "")).encode("latin-1")


def _parts(environ: WSGIEnvironment) -> list[bytes] | None:
    """The decoded parts of a path between its encoded slashes.

    None if it has no encoded slash, or if the server or a proxy changed the path.
    """
    raw = _raw_path(environ.get("REQUEST_URI", "")).encode("latin-1")
    parts = [unquote_to_bytes(part) for part in _ENCODED_SLASH.split(raw)]
    if len(parts) == 1 or b"/".join(parts).lstrip(b"/") != path_bytes(environ).lstrip(b"/"):
        return None
    return parts


def _raw_path(uri: str) -> str:
    """The path of a request target, without query, scheme and host."""
    path = re.split("[?#]", uri, maxsplit=1)[0]
    if path.startswith("/"):
        return path
    return "/" + path.partition("://")[2].partition("/")[2]


def raw_tail(environ: WSGIEnvironment, after: str) -> str:
    """The percent-encoded path after the first occurrence of a text.

    If a server or proxy has decoded the path, it is encoded except for commas.
    """
    raw = _raw_path(environ.get("REQUEST_URI", ""))
    if unquote_to_bytes(raw.encode("latin-1")).lstrip(b"/") != path_bytes(environ).lstrip(b"/"):
        raw = quote(path_bytes(environ), safe="/,")
    return raw.partition(after)[2]


def request_path() -> str:
    """The path of this request, percent-encoded."""
    parts = _parts(request.environ) or [path_bytes(request.environ)]
    return "%2F".join(quote(part) for part in parts)
