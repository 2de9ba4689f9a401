"""Work that crashes, hangs or grows, as its bytes command; few imports, for a fast start."""

from __future__ import annotations

import os
import pickle
import signal
import time
from datetime import timedelta
from pathlib import Path

from etl.checks.file import CheckedFile, check_pickled
from etl.images.decode import Examined, examine

MEGABYTE = 1024 * 1024


def behave(content: bytes) -> tuple[bytes, int]:
    """Do what the bytes command; work that succeeds returns them with its process id."""
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


TIMEOUT = timedelta(seconds=3)


def behave_or_examine(content: bytes) -> Examined:
    """Examine an image, or do what the bytes command."""
    behave(content)
    return examine(content, (256, 64), 1_000_000)


def behave_or_check(message: bytes) -> CheckedFile:
    """Check a file, or do what its bytes command."""
    behave(Path(pickle.loads(message).path).read_bytes().strip())  # noqa: S301
    return check_pickled(message)


class Unstartable:
    """Work that ends its process as soon as the process unpickles it."""

    def __call__(self, content: bytes) -> Examined:
        raise AssertionError(content)

    def __reduce__(self) -> tuple[object, ...]:
        """Unpickle as a call of os._exit."""
        return os._exit, (7,)
