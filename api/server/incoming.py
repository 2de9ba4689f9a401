"""Requests as they come in: their size limits, and refusals before the app sees them."""

from __future__ import annotations

import json
from copy import copy
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import ChunkedReceiver
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import BadRequest

from api.http.bodies import SMALL_BYTES, is_upload, is_webhook, is_writable, largest_body
from api.http.errors import MIMETYPE, body_hint, document
from api.http.spool import DiskFull, Spool, log_full_disk
from api.security.auth import can_write
from api.security.headers import REQUEST_ID, SECURITY_HEADERS, request_id
from api.security.webhook import has_token
from api.server import heads

if TYPE_CHECKING:
    from api.security.keyring import LiveKeyring
    from etl.settings import Settings

CHUNKED_BYTES = 4096  # parsed at a time: each chunk in it, however short, copies the rest
CHUNK_LINE_BYTES = 1024
TRAILER_BYTES = 8192
TOO_LARGE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class Task(WSGITask):  # type: ignore[misc]
    """What the app answers; to HEAD without the last chunk, which waitress sends all the same."""

    def finish(self) -> None:
        """End the answer."""
        if self.request.command == "HEAD":
            self.write(b"")  # the head, where nothing was written yet
            self.chunked_response = False
        super().finish()


class ProblemTask(ErrorTask):  # type: ignore[misc]
    """Answers what waitress refuses before the app sees it, with problem details like the app."""

    def execute(self) -> None:
        """Answer, and close the connection."""
        error = self.request.error
        name = request_id(self.request.headers.get("X_REQUEST_ID"))
        hint = self._body_hint() if error.code == TOO_LARGE else ""
        kind = getattr(error, "kind", "")
        told = document(error.code, str(error.body), kind=kind, hint=hint, request_id=name)
        body = json.dumps(told).encode() + b"\n"
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [
            ("Content-Type", MIMETYPE),
            (REQUEST_ID, name),
            *SECURITY_HEADERS.items(),
        ]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)

    def _body_hint(self) -> str:
        request = self.request
        hint = body_hint(request.largest_body)
        if request.largest_body > SMALL_BYTES:
            return hint
        if is_webhook(request.path):
            return f"{hint} Larger bodies require the value of WEBHOOK_TOKEN."
        if is_upload(request.command, request.path):
            return f"{hint} Larger bodies require a writer's key and a writable bucket."
        return hint


class _Request(HTTPRequestParser):  # type: ignore[misc]
    """A request whose body may be as large as its route says, known when its head is read."""

    adj: Any
    error: Any
    completed: bool
    request_uri = ""
    settings: Settings
    keyring: LiveKeyring
    largest_body = SMALL_BYTES

    def parse_header(self, header_plus: bytes) -> None:
        self._parse_strictly(header_plus)
        if self.body_rcv is not None:
            self.body_rcv.buf = Spool(self.adj.inbuf_overflow, self._log_full_disk)
        self.largest_body = self._allowed()
        self.adj = copy(self.adj)
        self.adj.max_request_body_size = self.largest_body + 1  # what is refused

    def received(self, data: bytes) -> int:
        """Take received bytes; do not ask for the body of a request that is refused."""
        taken = int(super().received(data[:CHUNKED_BYTES] if self.chunked else data))
        self._refuse_long_lines()
        if self.completed and self.error is None and self._has_lost_its_body():
            self.error = DiskFull()
        if self.error is not None:
            self.expect_continue = False  # waitress would send 100, and wait
        return taken

    def _refuse_long_lines(self) -> None:
        """Limit the bytes of chunks that are not data, which waitress keeps in memory."""
        body = self.body_rcv
        if not isinstance(body, ChunkedReceiver) or self.completed:
            return
        if len(body.control_line) > CHUNK_LINE_BYTES or len(body.trailer) > TRAILER_BYTES:
            self.error = BadRequest(
                f"A chunk's first line may have {CHUNK_LINE_BYTES:,} bytes,"
                f" the trailers {TRAILER_BYTES:,}"
            )
            self.completed = True

    def _parse_strictly(self, header_plus: bytes) -> None:
        """Parse the head; refuse it if parts of it would be dropped silently."""
        try:
            super().parse_header(header_plus)
        except (ParsingError, ValueError) as error:
            heads.check_target(self.request_uri)  # says it in more words
            raise ParsingError(str(error)) from error
        heads.check_target(self.request_uri)
        heads.check_names(header_plus)

    def _has_lost_its_body(self) -> bool:
        return self.body_rcv is not None and self.body_rcv.buf.has_failed

    def _log_full_disk(self, error: OSError) -> None:
        name = request_id(self.headers.get("X_REQUEST_ID"))
        self.headers["X_REQUEST_ID"] = name  # the answer shows it
        log_full_disk(error, method=self.command, path=self.path, request_id=name)

    def _allowed(self) -> int:
        """Allow large bodies to clients that may send them; spool them to disk."""
        largest = largest_body(self.settings, self.command, self.path)
        return largest if self._may_send_much() else min(largest, SMALL_BYTES)

    def _may_send_much(self) -> bool:
        authorization, key = self.headers.get("AUTHORIZATION", ""), self.headers.get("X_API_KEY")
        if is_webhook(self.path):
            return has_token(authorization, self.settings.webhook_tokens)
        return can_write(self.keyring, authorization, key) and is_writable(self.settings, self.path)


def request_class(settings: Settings, keyring: LiveKeyring) -> type[Any]:
    """Requests whose bodies may be as large as these settings and keys allow."""
    return type("_Request", (_Request,), {"settings": settings, "keyring": keyring})
