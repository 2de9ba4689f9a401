"""Clients that never read hold no thread, regardless of their number."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import urllib3

from api.server import THREADS
from tests.processes import serving
from tests.user_rows import generate_users

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from etl.settings import Settings
    from tests.conftest import TestBucket

UNREAD_BYTES = 4096  # the client's receive buffer
PATIENCE_SECONDS = 15  # half of the time that a thread would wait for a client
KERNEL_BYTES = 65_536  # the send buffer; far smaller between two machines


@pytest.mark.parametrize("what", ["object", "page"])
def test_unread_responses_hold_no_thread(
    settings: Settings, bucket: TestBucket, engine: Engine, what: str
):
    """More of them than there are threads; other requests are still served."""
    generate_users(engine, 10_000)
    bucket.put("a", bytes(1 << 20))
    path = {"object": f"/objects/{bucket.name}/a", "page": "/data?limit=10000"}[what]
    slow = serving(settings, send_buffer_bytes=KERNEL_BYTES)
    with slow as (host, port, _), ExitStack() as held:
        for _ in range(THREADS + 1):
            ask_and_wait(held.enter_context(socket.socket()), (host, port), path)
        url = f"http://{host}:{port}/stats"
        assert urllib3.request("GET", url, timeout=PATIENCE_SECONDS, retries=False).status == 200


def ask_and_wait(reader: socket.socket, address: tuple[str, int], path: str) -> None:
    """Send a request and wait until the response begins, but read nothing."""
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UNREAD_BYTES)
    reader.settimeout(PATIENCE_SECONDS)
    reader.connect(address)
    reader.sendall(f"GET {path} HTTP/1.1\r\nHost: {address[0]}\r\n\r\n".encode())
    assert reader.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200"
