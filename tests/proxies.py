"""Proxies to put before a real object store: one that delays, one that answers in its stead.

The first passes bytes on, each so long after it came: a store that is far away. The second
speaks HTTP, and answers some requests itself: a store that asks for less, or hangs.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import urlsplit

from etl.settings import Settings
from tests.processes import ROOT

BLOCK_BYTES = 1 << 16
BLOCKS_ON_THE_WAY = 1024  # in one direction of a connection


# -- far away


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Pass bytes on, each `delay` seconds after it came, with no limit to how many are on the way.

    Reading goes on while earlier bytes wait, so a delay costs no bandwidth.
    """
    on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(BLOCKS_ON_THE_WAY)
    loop = asyncio.get_running_loop()

    async def deliver() -> None:
        while True:
            due, data = await on_the_way.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                writer.write_eof()
                return
            writer.write(data)
            await writer.drain()

    delivering = asyncio.create_task(deliver())
    with suppress(OSError):
        while data := await reader.read(BLOCK_BYTES):
            await on_the_way.put((loop.time() + delay, data))
    await on_the_way.put((loop.time() + delay, b""))
    with suppress(OSError):
        await delivering


async def _delay(port: int, delay: float) -> None:
    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * delay)  # a handshake takes a round trip
        back, forth = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_carry(reader, forth, delay), _carry(back, writer, delay))
        for each in (writer, forth):
            each.close()

    server = await asyncio.start_server(connect, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    # It ends with the process that started it.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


@contextmanager
def far_away(settings: Settings, seconds_each_way: float) -> Iterator[Settings]:
    """Settings with which the object store is so far away; the proxy is a process of its own."""
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
Fault = int | None  # a status, HANG, CUT or STALL in the content, or None: the store answers
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
        """Clients that gave up are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Faulty
    _HOPS: ClassVar = {"transfer-encoding", "connection"}

    def _pass_on(self) -> None:
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

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on  # noqa: N815 - as the class has it

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
        """Say nothing."""


@contextmanager
def faulty(settings: Settings, fault: Callable[[str], Fault]) -> Iterator[Settings]:
    """Settings with a store that answers a GET of a path with the fault `fault` gives for it."""
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
