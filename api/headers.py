"""Headers every answer carries, and the one log line every request leaves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog
from flask import Response, g, request

if TYPE_CHECKING:
    from apiflask import APIFlask

CONTENT_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

log = structlog.get_logger("api")


def register(app: APIFlask) -> None:
    """Let the app time, log and mark every answer."""
    app.before_request(start_clock)
    app.after_request(protect)
    app.after_request(log_request)


def start_clock() -> None:
    """Note when the request came in."""
    g.started = time.monotonic()


def protect(response: Response) -> Response:
    """Forbid guessing types, running anything, and keeping copies, unless a route knows better."""
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Content-Security-Policy", CONTENT_POLICY)
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def log_request(response: Response) -> Response:
    """One line per request; a streamed answer is logged when its first bytes are ready."""
    started = g.get("started", time.monotonic())
    log.info(
        "request",
        method=request.method,
        path=request.path,
        status=response.status_code,
        seconds=round(time.monotonic() - started, 4),
    )
    return response
