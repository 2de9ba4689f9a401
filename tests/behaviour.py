"""Work that crashes, hangs or grows as its bytes say; alone, so that a process starts quickly."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from pathlib import Path

from etl.images.decode import Examined, examine

MEGABYTE = 1024 * 1024


def behave(content: bytes) -> tuple[bytes, int]:
    """Do as the bytes say; what works gives them back with the number of its process."""
    if content.startswith(b"be killed once "):
        _be_killed_once(Path(content.removeprefix(b"be killed once ").decode()))
    match content:
        case b"crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case b"be killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case b"leave":
            os._exit(3)
        case b"fail":
            raise LookupError
        case b"hang":
            while True:
                pass
        case b"sleep":
            time.sleep(600)
        case b"grow":
            hoard = [bytearray(16 * MEGABYTE) for _ in range(1000)]
            raise AssertionError(len(hoard))
    return content, os.getpid()


def _be_killed_once(mark: Path) -> None:
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


PATIENCE = timedelta(seconds=3)


def look(content: bytes) -> Examined:
    """Look at a picture, or behave as the bytes say."""
    behave(content)
    return examine(content, (256, 64), 1_000_000)


class Unstartable:
    """Work that ends its process as soon as it gets there."""

    def __call__(self, content: bytes) -> Examined:
        raise AssertionError(content)

    def __reduce__(self) -> tuple[object, ...]:
        """What the process is told to make of it."""
        return os._exit, (7,)
