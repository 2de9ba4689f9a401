"""Advisory file locks (flock), which the kernel releases when their holder dies."""

from __future__ import annotations

import fcntl
import os
import weakref
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path


class FileLock:
    """One open lock file. `close` frees the lock unless another process inherited it."""

    def __init__(self, path: Path) -> None:
        """Open or create the lock file; nothing is locked yet."""
        self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.register_at_fork(after_in_child=_CloseInChild(self))

    def __enter__(self) -> Self:
        """Keep the file open while the block runs."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    @property
    def descriptor(self) -> int:
        """The file descriptor, to pass a held lock to a new process."""
        if self._descriptor is None:
            raise ValueError("the lock file is closed")
        return self._descriptor

    def try_shared(self) -> bool:
        """Take a shared lock, unless another process holds it exclusively."""
        return self._try(fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        """Take the lock exclusively, unless another process holds it."""
        return self._try(fcntl.LOCK_EX)

    def close(self) -> None:
        """Close the file; a lock passed to a child process stays held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _try(self, kind: int) -> bool:
        try:
            fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class _CloseInChild:
    """Closes a lock in a forked child, which would otherwise hold it after its parent's death."""

    def __init__(self, lock: FileLock) -> None:
        self._lock = weakref.ref(lock)

    def __call__(self) -> None:
        lock = self._lock()
        if lock is not None:
            lock.close()


def is_held(path: Path) -> bool:
    """Whether a process holds the lock at `path` exclusively; never creates the file."""
    if not path.exists():
        return False
    with FileLock(path) as lock:
        return not lock.try_shared()
