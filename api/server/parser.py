"""The request parser: size limits by route, spooled bodies, and stricter checks of the head.

waitress silently drops headers with an underscore, and cuts some characters off a URL. The
request could then overwrite a different object.
"""

from __future__ import annotations

import re
from copy import copy
from typing import TYPE_CHECKING, Any

from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import ChunkedReceiver
from waitress.utilities import BadRequest

from api.http.bodies import SMALL_BYTES, is_check, is_webhook, is_writable, max_body_bytes
from api.http.spool import DiskFull, Spool, log_full_disk
from api.security.auth import caller_of_head, may_send_large
from api.security.headers import request_id
from api.security.webhook import has_token
from etl.model.roles import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from waitress.adjustments import Adjustments

    from api.security.keyring import LiveKeyring
    from api.security.sessions import Sessions
    from etl.settings import Settings

CHUNKED_BYTES = 4096  # parsed at once: each chunk, however short, copies the rest of these bytes
CHUNK_LINE_BYTES = 1024
TRAILER_BYTES = 8192

_METADATA_NAME = re.compile(rb"^(x[-_]meta[-_][^:\r\n]*):", re.IGNORECASE | re.MULTILINE)
_UNSAFE = re.compile("[^!-~]|#")  # urlsplit() removes some of these, and everything after `#`


class RequestParser(HTTPRequestParser):  # type: ignore[misc]
    """Parses one request; the limit of its body depends on route and credentials."""

    adj: Any
    error: Any
    completed: bool
    request_uri = ""
    max_body_bytes = SMALL_BYTES

    def __init__(
        self,
        adj: Adjustments,
        *,
        settings: Settings,
        keyring: LiveKeyring,
        sessions: Sessions | None = None,
        sources: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        super().__init__(adj)
        self._sources = sources
        self._settings = settings
        self._keyring = keyring
        self._sessions = sessions

    def parse_header(self, header_plus: bytes) -> None:
        """Parse the head, then set the limit of the body.

        Raises:  ParsingError, which waitress answers with 400.
        """
        try:
            super().parse_header(header_plus)
        except (ParsingError, ValueError) as error:
            _check_url(self.request_uri)  # has a clearer message
            raise ParsingError(str(error)) from error
        _check_url(self.request_uri)
        _check_header_names(header_plus)
        if self.body_rcv is not None:
            self.body_rcv.buf = Spool(self.adj.inbuf_overflow, self._log_full_disk)
        self.max_body_bytes = self._allowed_bytes()
        self.adj = copy(self.adj)
        self.adj.max_request_body_size = self.max_body_bytes + 1  # waitress refuses this size

    def received(self, data: bytes) -> int:
        """Parse received bytes; send no `100 Continue` for a refused request."""
        consumed = int(super().received(data[:CHUNKED_BYTES] if self.chunked else data))
        self._limit_chunk_overhead()
        if self.completed and self.error is None and self._has_lost_body():
            self.error = DiskFull()
        if self.error is not None:
            self.expect_continue = False  # waitress would send 100 and wait for the body
        return consumed

    def _limit_chunk_overhead(self) -> None:
        """Limit the bytes of chunks that are not data, which waitress holds in memory."""
        body = self.body_rcv
        if not isinstance(body, ChunkedReceiver) or self.completed:
            return
        if len(body.control_line) > CHUNK_LINE_BYTES or len(body.trailer) > TRAILER_BYTES:
            self.error = BadRequest(
                f"The first line of a chunk may have at most {CHUNK_LINE_BYTES:,} bytes, and the"
                f" trailers {TRAILER_BYTES:,} bytes."
            )
            self.completed = True

    def _has_lost_body(self) -> bool:
        return self.body_rcv is not None and self.body_rcv.buf.has_failed

    def _log_full_disk(self, error: OSError) -> None:
        name = request_id(self.headers.get("X_REQUEST_ID"))
        self.headers["X_REQUEST_ID"] = name  # so that the response has the same ID
        log_full_disk(error, method=self.command, path=self.path, request_id=name)

    def _allowed_bytes(self) -> int:
        largest = max_body_bytes(self._settings, self.command, self.path)
        return largest if self._may_be_large() else min(largest, SMALL_BYTES)

    def _may_be_large(self) -> bool:
        if is_webhook(self.path):
            authorization = self.headers.get("AUTHORIZATION", "")
            return has_token(authorization, self._settings.webhook_tokens)
        caller = caller_of_head(self._sessions, self._keyring, self.path, self.headers)
        if is_check(self.command, self.path):
            return may_send_large(caller, Role.READER)
        return may_send_large(caller, Role.WRITER) and is_writable(
            self._settings, self._sources(), self.path
        )


def _check_url(url: str) -> None:
    if _UNSAFE.search(url):
        raise ParsingError(
            "The URL has a character that must be percent-encoded: `#` (%23), a control"
            " character, or a non-ASCII character such as `ö` (%C3%B6)."
        )


def _check_header_names(head: bytes) -> None:
    for name in _METADATA_NAME.findall(head):
        if b"_" in name:
            raise ParsingError(
                f"The header {name.decode('latin-1').strip()!r} has an underscore, and servers"
                " drop such headers. Use hyphens in its name."
            )
