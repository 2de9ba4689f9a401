"""Work that crashes, hangs or grows as its bytes say; alone, so that a process starts quickly."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta

from etl.images import Examined, examine

MEGABYTE = 1024 * 1024


def behave(content: bytes) -> tuple[bytes, int]:
    """Do as the bytes say; what works gives them back with the number of its process."""
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


PATIENCE = timedelta(seconds=3)


def look(content: bytes) -> Examined:
    """Look at a picture, or behave as the bytes say."""
    behave(content)
    return examine(content, (256, 64), 1_000_000)
