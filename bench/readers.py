"""A separate API server process, and clients that read from it."""

from __future__ import annotations

import http.client
import random
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.bare import stopwatch
from bench.measured import peak_mb
from bench.runs import ROOT, command
from bench.stack import api_key, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etl.settings import Settings

READERS = 8
CHUNK_BYTES = 1 << 16
START_SECONDS = 30
TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Server:
    """A served API and its process."""

    address: str
    process: int

    @contextmanager
    def connected(self) -> Iterator[http.client.HTTPConnection]:
        """A connection that is kept open between requests."""
        with closing(http.client.HTTPConnection(self.address, timeout=TIMEOUT_SECONDS)) as made:
            yield made

    def peak_mb(self) -> float | None:
        """Peak memory of the server."""
        return peak_mb(self.process)


@contextmanager
def serving(settings: Settings) -> Iterator[Server]:
    """Serve the API on a free port for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="bucketline-bench-") as folder:
        url = Path(folder) / "url"
        process = subprocess.Popen(  # noqa: S603  (our own command)
            command(str(Path(folder) / "peak"), "serve", f"--url-file={url}"),
            cwd=ROOT,
            env=environment(settings),
            stderr=subprocess.DEVNULL,
        )
        try:
            yield Server(urlsplit(_written(url, process)).netloc, process.pid)
        finally:
            process.terminate()
            process.wait()


def _written(path: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_SECONDS
    while not (path.exists() and path.read_text().endswith("\n")):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("The API did not start.")
        time.sleep(0.02)
    return path.read_text().strip()


def read_whole(connection: http.client.HTTPConnection, path: str) -> int:
    """Read one response to its end, discard it, and return its size in bytes.

    Raises:  RuntimeError when it is not a 200.
    """
    connection.request("GET", path, headers={"X-API-Key": api_key()})
    response = connection.getresponse()
    buffer, total = bytearray(CHUNK_BYTES), 0
    while count := response.readinto(buffer):
        total += count
    if response.status != http.client.OK:
        raise RuntimeError(f"GET {path} answered {response.status}.")
    return total


def bytes_per_second(server: Server, path: str) -> float:
    """Bytes per second of one response to one client."""
    with stopwatch() as watch, server.connected() as connection:
        total = read_whole(connection, path)
    return total / watch.seconds


def read_by_many(server: Server, path: str) -> None:
    """Request the same response with eight concurrent clients."""
    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(lambda _: bytes_per_second(server, path), range(READERS)))


def ask_until(server: Server, users: int, is_over: Callable[[], bool]) -> list[float]:
    """Request single users with eight clients; return the seconds of each response."""

    def ask(seed: int) -> list[float]:
        choose, seconds = random.Random(seed), []  # noqa: S311
        with server.connected() as connection:
            while not is_over():
                with stopwatch() as watch:
                    read_whole(connection, f"/data/{choose.randrange(users):07}")
                seconds.append(watch.seconds)
        return seconds

    with ThreadPoolExecutor(READERS) as pool:
        return [each for some in pool.map(ask, range(READERS)) for each in some]


def p99(seconds: list[float]) -> float:
    """The 99th percentile."""
    return quantiles(seconds, n=100)[98]
