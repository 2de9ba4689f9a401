"""Proxies in front of a real object store: one that delays, and one that injects faults.

The first forwards bytes after a delay, like a distant store. The second speaks HTTP and answers
some requests itself, like a store that throttles or hangs.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import urlsplit

from etl.settings import Settings
from tests.processes import ROOT

# -- delayed


class _End(asyncio.Protocol):
    """One end of a delayed connection, which forwards received bytes to the other after the delay.

    The number of bytes in transit is unlimited, so the delay does not reduce the bandwidth.
    """

    def __init__(self, delay: float) -> None:
        self.other: _End | None = None
        self._delay = delay
        self.transport: asyncio.Transport | None = None
        self._in_transit = deque[bytes]()
        self._early = deque[bytes]()  # received before the other end existed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
            return
        self._in_transit.append(data)
        asyncio.get_running_loop().call_later(self._delay, self._deliver)

    def join(self, other: _End) -> None:
        self.other = other
        while self._early:
            self.data_received(self._early.popleft())

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.data_received(b"")

    def _deliver(self) -> None:
        data = self._in_transit.popleft()  # in order, even if two arrived at once
        if self.other is None or self.other.transport is None:
            return
        if data:
            self.other.transport.write(data)
        else:
            self.other.transport.close()


class _Entry(_End):
    """The client's end; the other connects one round trip later, as after a handshake."""

    def __init__(self, delay: float, port: int) -> None:
        super().__init__(delay)
        self._port = port
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        await asyncio.sleep(2 * self._delay)
        loop = asyncio.get_running_loop()
        _, exit_ = await loop.create_connection(lambda: _End(self._delay), "127.0.0.1", self._port)
        exit_.join(self)
        self.join(exit_)


async def _delay(port: int, delay: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Entry(delay, port), "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)  # until the process that started it ends
    os._exit(0)


@contextmanager
def delayed_store(settings: Settings, seconds_each_way: float) -> Iterator[Settings]:
    """Settings with a delayed object store; the proxy runs in its own process."""
    command = [sys.executable, "-m", "tests.proxies", _port(settings), str(seconds_each_way)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            yield _at(settings, int(process.stdout.readline()))
        finally:
            process.kill()


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


if __name__ == "__main__":
    asyncio.run(_delay(int(sys.argv[1]), float(sys.argv[2])))
