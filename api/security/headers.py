"""Headers every answer carries, the request's id, and the one log line every request leaves.

Names of keys go into the log, never keys; of the address the path alone, without parameters.
"""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING

import structlog
from flask import Response, g, request

from api.security.auth import caller

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from apiflask import APIFlask

CONTENT_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
REQUEST_ID = "X-Request-Id"
REQUEST_ID_FORM = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"

# HTTPS is the business of the proxy that ends it, and so is Strict-Transport-Security.
PROTECTIVE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": CONTENT_POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

log = structlog.get_logger("api")


def register(app: APIFlask) -> None:
    """Let the app name, time, log and mark every request."""
    app.before_request(begin)
    app.after_request(log_request)
    app.after_request(protect)
    app.after_request(name_request)


def begin() -> None:
    """Note when the request came in, and the id that its answer, its log and its errors share."""
    g.started = time.monotonic()
    g.request_id = request_id(request.headers.get(REQUEST_ID))
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def request_id(given: str | None) -> str:
    """The client's id where it is one that can stand in a log, or a new one."""
    if given is not None and re.fullmatch(REQUEST_ID_FORM, given):
        return given
    return secrets.token_hex(8)


def name_request(response: Response) -> Response:
    """Tell the client the id to ask us about."""
    response.headers[REQUEST_ID] = g.get("request_id", "")
    return response


def protect(response: Response) -> Response:
    """Forbid guessing types, running anything, and keeping copies, unless a route knows better."""
    for name, value in PROTECTIVE.items():
        response.headers.setdefault(name, value)
    return response


def log_request(response: Response) -> Response:
    """One line per request, once its answer is whole: a streamed one is counted as it goes."""
    line = _Line(response.status_code)
    if response.is_streamed and "Content-Length" not in response.headers:
        response.response = line.counting(response.iter_encoded())
        response.call_on_close(line.write)
    else:
        line.sent_bytes = response.content_length or 0
        line.write()
    return response


class _Line:
    """The log line of a request; it keeps what is gone when a streamed answer ends."""

    def __init__(self, status: int) -> None:
        self.sent_bytes = 0
        self._started = g.get("started", time.monotonic())
        self._facts = {
            "method": request.method,
            "path": request.path,
            "status": status,
            "key": caller().name,
            "role": caller().role,
            "request_id": g.get("request_id", ""),
        }

    def counting(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The chunks as they are."""
        for chunk in chunks:
            self.sent_bytes += len(chunk)
            yield chunk

    def write(self) -> None:
        """Write the line."""
        milliseconds = round((time.monotonic() - self._started) * 1000, 1)
        log.info("request", **self._facts, bytes=self.sent_bytes, ms=milliseconds)
