"""Tasks: waitress's writers of responses."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from waitress.task import ErrorTask, WSGITask

from api.http.bodies import SMALL_BYTES, is_check, is_upload, is_webhook
from api.http.errors import MIMETYPE, body_hint, problem_details
from api.security.headers import REQUEST_ID, SECURITY_HEADERS, request_id


class AppTask(WSGITask):  # type: ignore[misc]
    """Writes the app's response; omits the last chunk for HEAD, which waitress would send."""

    def finish(self) -> None:
        """Complete the response."""
        if self.request.command == "HEAD":
            self.write(b"")  # sends the headers, if nothing was written yet
            self.chunked_response = False
        super().finish()


class ProblemTask(ErrorTask):  # type: ignore[misc]
    """Writes problem details, like the app, for requests that are refused before the app."""

    def execute(self) -> None:
        """Write the response, and close the connection."""
        error = self.request.error
        name = request_id(self.request.headers.get("X_REQUEST_ID"))
        hint = _hint(self.request, error.code)
        kind = getattr(error, "kind", "")
        details = problem_details(
            error.code, str(error.body), kind=kind, hint=hint, request_id=name
        )
        body = json.dumps(details).encode() + b"\n"
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [
            ("Content-Type", MIMETYPE),
            (REQUEST_ID, name),
            *SECURITY_HEADERS.items(),
        ]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


def _hint(request: Any, code: int) -> str:  # noqa: ANN401 - a parser of waitress
    """What to do; "" for the usual hint of the status."""
    if code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return _body_hint(request)
    # The parser reads no JSON, which the usual hint names.
    return "Correct the URL, headers or chunks." if code == HTTPStatus.BAD_REQUEST else ""


def _body_hint(request: Any) -> str:  # noqa: ANN401 - a parser of waitress
    hint = body_hint(request.max_body_bytes)
    if request.max_body_bytes > SMALL_BYTES:
        return hint
    if is_webhook(request.path):
        return f"{hint} Larger bodies require the value of WEBHOOK_TOKEN."
    if is_check(request.command, request.path):
        return f"{hint} Larger bodies require an API key."
    if is_upload(request.command, request.path):
        return f"{hint} Larger bodies require a writer's key and a writable bucket."
    return hint
