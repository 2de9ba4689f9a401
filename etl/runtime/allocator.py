"""How our processes allocate memory: one allocator, few arenas, no collection while importing."""

from __future__ import annotations

import ctypes
import gc
import os
from contextlib import suppress

_M_ARENA_MAX = -8
_ARENAS = 2


def choose_allocator() -> None:
    """Use one allocator, so that memory freed in one part of the process is reused in others.

    Arrow has its own allocator by default and keeps memory that pandas and the interpreter could
    use, which raises the peak of a run by 25 MB. glibc gives each of many threads its own arena,
    which raises the API's peak by 30 MB. Arrow reads its variable on first use, glibc at process
    start. Variables that the operator has set are kept.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(OSError, AttributeError):  # another C library than glibc
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


def resume_collection() -> None:
    """Enable the garbage collector if start-up disabled it, and exempt what was imported."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
