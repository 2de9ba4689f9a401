"""A proxy that forwards bytes after a delay, like a store or a database far away.

It runs in a process of its own: `python -m bench.delay PORT SECONDS` prints the port on which it
listens, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pydantic import SecretStr

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.settings import Settings

ROOT = Path(__file__).parents[1]
POSTGRESQL_PORT = 5432


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
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(transport)
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


async def _forward(port: int, delay: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Entry(delay, port), "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)  # until the process that started it ends
    os._exit(0)


@contextmanager
def delayed(port: int, seconds_each_way: float) -> Iterator[int]:
    """The port of a proxy to a port of this machine."""
    command = [sys.executable, "-m", "bench.delay", str(port), str(seconds_each_way)]
    with subprocess.Popen(  # noqa: S603 - our own module
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            yield int(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def delayed_store(settings: Settings, seconds_each_way: float) -> Iterator[Settings]:
    """Settings with an object store far away."""
    port = urlsplit(settings.s3_endpoint or "").port
    with delayed(port or 80, seconds_each_way) as near:
        yield settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{near}"})


@contextmanager
def delayed_database(settings: Settings, seconds_each_way: float) -> Iterator[Settings]:
    """Settings with a database far away."""
    parts = urlsplit(settings.database_url.get_secret_value() if settings.database_url else "")
    with delayed(parts.port or POSTGRESQL_PORT, seconds_each_way) as near:
        login = parts.netloc.rpartition("@")[0]
        there = parts._replace(netloc=f"{login}@127.0.0.1:{near}").geturl()
        yield settings.model_copy(update={"database_url": SecretStr(there)})


if __name__ == "__main__":
    asyncio.run(_forward(int(sys.argv[1]), float(sys.argv[2])))
