"""The loopback port to which the embedded object store sends its events.

The store is told of it when it starts, and never again. So it is not the API's own port, which
may be another at the next start, but one that the supervisor reserves for as long as the stack
is up; the API listens there as well.
"""

from __future__ import annotations

import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from etl.local.locks import FileLock, is_held
from etl.local.ports import LOOPBACK, choose_port, last_port, remember_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

USUAL_PORT = 5500
BACKLOG = 1024
ARNS = ("arn:minio:sqs::1:webhook", "arn:minio:sqs::2:webhook")
_NAME = "hook"
_PATH = "/minio-event"


def reserve(local_dir: Path) -> socket.socket:
    """A socket that keeps the port for those of us who ask to share it; last time's, if we can.

    An API that outlived its supervisor listens there still, and is to be found again.
    """
    last = last_port(local_dir, _NAME)
    ours = last if last and is_held(_lock_path(local_dir)) else None
    reserved = _shared(ours or choose_port(USUAL_PORT, last))
    remember_port(local_dir, _NAME, reserved.getsockname()[1])
    return reserved


@contextmanager
def listening(local_dir: Path, port: int) -> Iterator[socket.socket]:
    """A socket that listens on the reserved port.

    Raises:  OSError when somebody else took the port meanwhile.
    """
    with FileLock(_lock_path(local_dir)) as lock, _shared(port) as listener:
        lock.try_exclusive()
        listener.listen(BACKLOG)
        yield listener


def environment(port: int, token: str, queue: Path) -> Mapping[str, str]:
    """What tells the store where to send its events: twice.

    Once at once, and once by way of a queue, which brings after an outage what was sent
    meanwhile, but every event some seconds late.
    """
    target = {"ENABLE": "on", "ENDPOINT": f"http://{LOOPBACK}:{port}{_PATH}", "AUTH_TOKEN": token}
    queued = target | {"QUEUE_DIR": str(queue)}
    return {
        f"MINIO_NOTIFY_WEBHOOK_{name}_{number}": value
        for number, options in ((1, target), (2, queued))
        for name, value in options.items()
    }


def _lock_path(local_dir: Path) -> Path:
    return local_dir / "hook.lock"


def _shared(port: int) -> socket.socket:
    """Bound, and open to others of ours that bind it in the same way."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        bound.bind((LOOPBACK, port))
    except OSError:
        bound.close()
        raise
    return bound
