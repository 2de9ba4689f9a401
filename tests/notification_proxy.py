"""A proxy in front of a test's object store that replies as stores without notifications do."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

from etl.settings import Settings

Answer = tuple[int, str, bytes]

_EMPTY = b"<NotificationConfiguration></NotificationConfiguration>"
_LISTING = b"<ListBucketResult><Name>src</Name></ListBucketResult>"


def _error(status: int, code: str) -> Answer:
    body = f"<Error><Code>{code}</Code><Message>No.</Message></Error>"
    return status, "application/xml", body.encode()


_REFUSED = _error(501, "NotImplemented")
_TEXT = (501, "text/plain", b"Not implemented")
_READ_EMPTY = (200, "application/xml", _EMPTY)

# The replies of stores: to reading the notifications, to writing them, and to listening.
NOTIFICATION_REPLIES: dict[str, tuple[Answer, Answer, Answer]] = {
    "refuses": (_REFUSED, _REFUSED, _REFUSED),
    "refuses in plain text": (_TEXT, _TEXT, _TEXT),
    "method not allowed": (_READ_EMPTY, _error(405, "MethodNotAllowed"), _REFUSED),
    # SeaweedFS treats the PUT as the creation of the bucket.
    "treats it as a bucket": (_READ_EMPTY, _error(409, "BucketAlreadyOwnedByYou"), _REFUSED),
    "ignores the parameter": (
        _READ_EMPTY,
        (200, "application/xml", b""),
        (
            200,
            "application/xml",
            _LISTING,
        ),
    ),
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    target: ClassVar[str]
    replies: ClassVar[tuple[Answer, Answer, Answer]]

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if "notification" in asked:
            self._send(*self.replies[self.command == "PUT"])
        elif "events" in asked:
            self._send(*self.replies[2])
        else:
            self._send(*self._forwarded(body))

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _answer  # noqa: N815 - the server's names

    def _forwarded(self, body: bytes) -> tuple[int, str, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection(self.target, timeout=30)
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        content = answer.read()
        headers = dict(answer.getheaders())
        connection.close()
        return answer.status, headers.get("Content-Type", ""), content, headers

    def _send(
        self, status: int, kind: str, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            if name not in ("Content-Type", "Content-Length", "Connection", "Transfer-Encoding"):
                self.send_header(name, value)
        self.send_header("Content-Type", kind)
        size = (headers or {}).get("Content-Length", str(len(body)))
        self.send_header("Content-Length", size if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def without_notifications(settings: Settings, way: str) -> Iterator[Settings]:
    """The settings, with an endpoint that forwards everything except notifications."""
    target = urlsplit(str(settings.s3_endpoint)).netloc
    replies = NOTIFICATION_REPLIES[way]
    handler = type("_Replying", (_Handler,), {"target": target, "replies": replies})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        yield settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{server.server_port}"})
        server.shutdown()
