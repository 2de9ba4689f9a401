"""Security headers, the request ID, and the access log.

The log holds the names of API keys, never the keys, and the path of a URL without parameters.
"""

from __future__ import annotations

import re
import secrets
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from flask import Response, g, request

from api.http.paths import path_of
from api.security.auth import caller
from api.state.services import services
from etl.runtime import traces
from etl.runtime.spans import TraceSpan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from apiflask import APIFlask

CONTENT_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
REQUEST_ID = "X-Request-Id"
REQUEST_ID_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"

# Strict-Transport-Security is left to the proxy that terminates HTTPS.
SECURITY_HEADERS = {
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
    """Time and log every request, and add an ID and security headers to its response."""
    app.before_request(begin)
    app.after_request(log_request)
    app.after_request(add_security_headers)
    app.after_request(add_request_id)


def begin() -> None:
    """Record the start time, and the ID that appears in the response, its errors and the log."""
    g.started = time.monotonic()
    g.request_id = request_id(request.headers.get(REQUEST_ID))
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def request_id(sent: str | None) -> str:
    """The client's ID if it is safe to log, otherwise a new one."""
    if sent is not None and re.fullmatch(REQUEST_ID_PATTERN, sent):
        return sent
    return secrets.token_hex(8)


def add_request_id(response: Response) -> Response:
    """Send the ID to the client, which can quote it in a bug report."""
    response.headers[REQUEST_ID] = g.get("request_id", "")
    return response


def add_security_headers(response: Response) -> Response:
    """Disable type sniffing, active content and caching, unless the route set a header itself."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def log_request(response: Response) -> Response:
    """Log one line per request when its response is complete; count streamed bytes."""
    line = _LogLine(response.status_code)
    if response.is_streamed and "Content-Length" not in response.headers:
        response.response = line.counting(response.iter_encoded())
        response.call_on_close(line.write)
    else:
        line.sent_bytes = response.content_length or 0
        line.write()
    return response


class _LogLine:
    """The log line of a request; holds request data that is gone when a streamed response ends."""

    def __init__(self, status: int) -> None:
        self.sent_bytes = 0
        self._started = g.get("started", time.monotonic())
        self._measures = services().measures
        self._route = None if request.url_rule is None else path_of(request.url_rule)
        self._status = status
        self._parent = request.headers.get("traceparent")
        self._fields = {
            "method": request.method,
            "path": request.path,
            "status": status,
            "key": caller().name,
            "role": caller().role,
            "request_id": g.get("request_id", ""),
        }

    def counting(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same chunks, while their bytes are counted."""
        for chunk in chunks:
            self.sent_bytes += len(chunk)
            yield chunk

    def write(self) -> None:
        """Write the line, and count the request."""
        seconds = time.monotonic() - self._started
        milliseconds = round(seconds * 1000, 1)
        self._measures.add_request(self._route, self._status, seconds)
        if traces.is_on():
            self._trace(seconds)
        log.info("request", **self._fields, bytes=self.sent_bytes, ms=milliseconds)

    def _trace(self, seconds: float) -> None:
        ended_at, method = time.time_ns(), self._fields["method"]
        attributes = {
            "http.request.method": method,
            "http.route": self._route or "",
            "http.response.status_code": self._status,
            "bucketline.request_id": self._fields["request_id"],
        }
        error = str(self._status) if self._status >= HTTPStatus.INTERNAL_SERVER_ERROR else None
        name = f"{method} {self._route}" if self._route else str(method)
        began_at = ended_at - int(seconds * 1e9)
        span = TraceSpan(name, began_at, ended_at, attributes, error)
        traces.record(span, parent=self._parent)
