"""Bucketline's commands and the API as processes with the settings of a test."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from api.server.channel import DEFAULT_TIMEOUTS, ClientTimeouts
from etl.runtime.program import PROGRAM
from etl.settings import Settings

ROOT = Path(__file__).parents[1]

_SERVE = """
import socket
import api.server
from api.server.channel import ClientTimeouts
from etl.settings import Settings
listen = api.server.listen
def listen_with_buffer(*address, ports):
    listener = listen(*address)  # the next free port: others may take this one meanwhile
    if {send_buffer_bytes}:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, {send_buffer_bytes})
    return listener
api.server.listen = listen_with_buffer
api.IDLE_TIMEOUT_SECONDS = {patience}
api.server.serve(
    Settings(_env_file=None), lambda url: print(url, flush=True), timeouts={timeouts!r}
)
"""


def environment(settings: Settings) -> dict[str, str]:
    """The environment in which a process reads exactly these settings."""
    values: dict[str, str] = {"PATH": os.environ["PATH"], PROGRAM: "./run.sh"}
    for name, value in settings:
        if value == Settings.model_fields[name].get_default(call_default_factory=True):
            continue
        if isinstance(value, dict):
            text = "; ".join(f"{option}={given}" for option, given in value.items())
        elif hasattr(value, "get_secret_value"):
            text = value.get_secret_value()
        elif hasattr(value, "total_seconds"):
            text = f"{value.total_seconds()}s"
        else:
            text = str(value)
        values[name.upper()] = text
    return values


def start(
    settings: Settings,
    *command: str,
    stdout: IO[Any] | int | None = None,
    stderr: IO[Any] | int | None = None,
) -> subprocess.Popen[bytes]:
    """Start `python -m etl COMMAND …`."""
    return subprocess.Popen(
        [sys.executable, "-m", "etl", *command],
        cwd=ROOT,
        env=environment(settings),
        stdout=stdout,
        stderr=stderr,
    )


@contextmanager
def serving(
    settings: Settings,
    patience_seconds: float = 30,
    send_buffer_bytes: int = 0,
    timeouts: ClientTimeouts = DEFAULT_TIMEOUTS,
) -> Iterator[tuple[str, int, subprocess.Popen[str]]]:
    """The API in its own process: host, port and process.

    It waits `patience_seconds` for a client that reads nothing. The kernel buffers up to
    `send_buffer_bytes` for such a client; 0 leaves its default. `sending` holds the timeouts for
    requests.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = _SERVE.format(
        patience=patience_seconds,
        send_buffer_bytes=send_buffer_bytes,
        timeouts=replace(timeouts, unread_seconds=patience_seconds),
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(settings) | {"API_PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            assert process.stdout
            url = urlsplit(next(line for line in process.stdout if line.startswith("http://")))
            yield str(url.hostname), url.port or 0, process
        finally:
            process.kill()
