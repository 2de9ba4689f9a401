"""The loopback port of a server: its last one, else the default, else the next free one."""

from __future__ import annotations

import socket
from itertools import chain
from typing import TYPE_CHECKING

from etl.runtime.files import read_json, write_private_json

if TYPE_CHECKING:
    from pathlib import Path

LOOPBACK = "127.0.0.1"
_NEXT_PORTS = 200


def is_free(port: int) -> bool:
    """Whether a server can listen on this loopback port and none does."""
    return _can_bind(port) and not _answers(port)


def any_free_port() -> int:
    """Return a free loopback port chosen by the system."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def choose_port(usual: int, last: int | None) -> int:
    """Return `last` or else `usual` if it is free, else the next free port above."""
    candidates = chain([last] if last else [], range(usual, usual + _NEXT_PORTS))
    return next(filter(is_free, candidates), None) or any_free_port()


def last_port(local_dir: Path, service: str) -> int | None:
    """Return the port `service` last had in `local_dir`."""
    port = (read_json(local_dir / "ports.json") or {}).get(service)
    return port if isinstance(port, int) else None


def remember_port(local_dir: Path, service: str, port: int) -> None:
    """Record the port of `service`, so that it gets the same one next time."""
    path = local_dir / "ports.json"
    write_private_json(path, (read_json(path) or {}) | {service: port}, durable=False)


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do, so that closing connections do not make a port unavailable.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _answers(port: int) -> bool:
    # Some systems allow binding to loopback while a server listens on all addresses.
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0
