"""The fast path of the webhook: store valid bucket events before Flask sees the request.

Stores send one request per change. If thousands of objects change at once, the overhead per
request determines how soon the changes are processed. All other requests go to the route, which
reports errors.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from api.http.errors import MIMETYPE, RETRY_AFTER_SECONDS, problem_details
from api.security.headers import SECURITY_HEADERS
from api.security.webhook import has_token
from etl.db.event_messages import MAX_BODY_BYTES, parse
from etl.model.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from api.state.services import Services

PATH = "/minio-event"


class WebhookFastPath:
    """WSGI middleware that stores valid events and passes all other requests on."""

    def __init__(self, app: WSGIApplication, services: Services) -> None:
        self._app = app
        self._services = services
        self._tokens = services.settings.webhook_tokens

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Respond to the request."""
        if self._is_event(environ):
            try:
                stored = self._store(environ)
            except DatabaseUnavailable as error:  # the sender repeats the event; do not try twice
                problem = problem_details(
                    503, error.public_message, kind="database-unavailable", hint=error.hint
                )
                return _respond(start_response, "503 Service Unavailable", MIMETYPE, problem)
            if stored is not None:
                result = {"status": "ok", "records": stored}
                return _respond(start_response, "200 OK", "application/json", result)
        return self._app(environ, start_response)

    def _is_event(self, environ: WSGIEnvironment) -> bool:
        """Whether the request looks like a notification, has a valid token and a small body."""
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
        """The number of stored events; None, with the body rewound, if the route must handle it."""
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        environ["wsgi.input"] = io.BytesIO(body)
        try:
            events = parse(body)
            if events:
                self._services.event_commits.add(events)
        except DatabaseUnavailable:
            raise
        except Exception:  # noqa: BLE001 - the route reports the error
            return None
        return len(events)


def _respond(
    start_response: StartResponse, status: str, mimetype: str, content: dict[str, object]
) -> list[bytes]:
    body = json.dumps(content).encode() + b"\n"
    headers = {"Content-Type": mimetype, "Content-Length": str(len(body)), **SECURITY_HEADERS}
    if not status.startswith("200"):
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    start_response(status, list(headers.items()))
    return [body]
