"""A proxy in front of a real object store that injects faults.

It speaks HTTP and answers some requests itself, like a store that throttles or hangs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import urlsplit

from etl.settings import Settings


def _port(settings: Settings) -> str:
    return str(urlsplit(settings.s3_endpoint or "").port)


def _at(settings: Settings, port: int) -> Settings:
    return settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{port}"})


# -- faulty

HANG, CUT, STALL = range(3)
Fault = int | None  # a status; HANG, or CUT or STALL in the content; None: the store answers
_CODES = {503: "SlowDown", 429: "TooManyRequests", 500: "InternalError"}


class _Faulty(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, port: int, fault: Callable[[str], Fault]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store_port = port
        self.fault = fault
        self.ended = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that disconnected."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Faulty
    _HOPS: ClassVar = {"transfer-encoding", "connection"}

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.fault(self.path) if self.command == "GET" else None
        if fault in (None, CUT, STALL):
            self._ask_store(body, fault)
        elif fault == HANG:
            self.server.ended.wait(60)
            self.close_connection = True
        else:
            code = f"<Error><Code>{_CODES[fault]}</Code><Message>Less.</Message></Error>"
            self._answer(fault, {"Content-Type": "application/xml"}, code.encode())

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _handle  # noqa: N815 - the names of the base class

    def _ask_store(self, body: bytes, fault: Fault) -> None:
        connection = HTTPConnection("127.0.0.1", self.server.store_port)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            response = connection.getresponse()
            headers = {k: v for k, v in response.getheaders() if k.lower() not in self._HOPS}
            content = response.read()
            self._answer(response.status, headers, content if fault is None else content[:-1])
        finally:
            connection.close()
        if fault == STALL:
            self.server.ended.wait(60)
        self.close_connection |= fault is not None

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def faulty(settings: Settings, fault: Callable[[str], Fault]) -> Iterator[Settings]:
    """Settings with a store that answers the GET of a path with the fault `fault(path)`."""
    server = _Faulty(int(_port(settings)), fault)
    thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
    thread.start()
    try:
        yield _at(settings, server.server_port)
    finally:
        server.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
