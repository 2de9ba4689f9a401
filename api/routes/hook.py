"""The short way for bucket events: good ones are stored before Flask sees the request.

A store sends one request for every change. When thousands change at once, the work around each
request decides how soon they are seen. Whatever is not plainly good goes the long way, where
the route says what is wrong with it.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from api.http.errors import MIMETYPE, RETRY_AFTER_SECONDS, document
from api.security.headers import SECURITY_HEADERS
from api.security.webhook import has_token
from etl.db.events import MAX_BODY_BYTES, parse
from etl.model.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from api.state.services import Services

PATH = "/minio-event"


class QuickHook:
    """A WSGI app that takes good events itself, and hands on everything else."""

    def __init__(self, app: WSGIApplication, services: Services) -> None:
        self._app = app
        self._services = services
        self._tokens = services.settings.webhook_tokens

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer the request."""
        if self._is_event(environ):
            try:
                stored = self._store(environ)
            except DatabaseUnavailable as error:  # the sender keeps the event; once is enough
                told = document(
                    503, error.public_message, kind="database-unavailable", hint=error.hint
                )
                return _answer(start_response, "503 Service Unavailable", MIMETYPE, told)
            if stored is not None:
                told = {"status": "ok", "records": stored}
                return _answer(start_response, "200 OK", "application/json", told)
        return self._app(environ, start_response)

    def _is_event(self, environ: WSGIEnvironment) -> bool:
        """Whether the request is what a store sends, shows a token, and may be read whole."""
        return (
            environ["REQUEST_METHOD"] == "POST"
            and environ["PATH_INFO"] == PATH
            and not environ.get("QUERY_STRING")
            and "HTTP_ORIGIN" not in environ
            and "HTTP_CONTENT_RANGE" not in environ
            and 0 < int(environ.get("CONTENT_LENGTH") or 0) <= MAX_BODY_BYTES
            and has_token(environ.get("HTTP_AUTHORIZATION", ""), self._tokens)
        )

    def _store(self, environ: WSGIEnvironment) -> int | None:
        """How many events were stored; None, the body unread again, when something is wrong."""
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        environ["wsgi.input"] = io.BytesIO(body)
        try:
            events = parse(body)
            if events:
                self._services.intake.add(events)
        except DatabaseUnavailable:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, the long way tells the sender
            return None
        return len(events)


def _answer(
    start_response: StartResponse, status: str, mimetype: str, told: dict[str, object]
) -> list[bytes]:
    body = json.dumps(told).encode() + b"\n"
    headers = {"Content-Type": mimetype, "Content-Length": str(len(body)), **SECURITY_HEADERS}
    if not status.startswith("200"):
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    start_response(status, list(headers.items()))
    return [body]
