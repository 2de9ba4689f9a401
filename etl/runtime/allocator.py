"""How our processes get memory from the system: from one allocator, in few places."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

_M_ARENA_MAX = -8
_ARENAS = 2


def choose_allocator() -> None:
    """Let what one part of the process has freed be used by all others.

    Arrow has an allocator of its own, and keeps what pandas and the interpreter could use: the
    peak of a run is 25 MB higher with it. glibc gives each of many threads an arena of its own:
    the API's peak is 30 MB higher. Arrow reads its variable when it is first used, glibc its own
    when the process starts. Whoever sets one of them has chosen.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(OSError, AttributeError):  # no glibc, no arenas
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
