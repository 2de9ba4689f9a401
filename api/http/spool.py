"""Request bodies on their way to disk, and what happens when the disk is full.

The server keeps a body in memory up to a limit and beyond it in a temporary file (TMPDIR), before
the app sees the request; the files of a form are kept in another.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from flask import request
from waitress.buffers import OverflowableBuffer
from waitress.utilities import Error

from api.http.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

STATUS = HTTPStatus.INSUFFICIENT_STORAGE

_KIND = "insufficient-storage"
_DETAIL = "The server could not store the request's body: its disk is full. Nothing was stored."

log = structlog.get_logger("api")


class OutOfRoom(Error):  # type: ignore[misc]
    """507, for requests that the app does not see."""

    code = STATUS.value
    reason = STATUS.phrase
    kind = _KIND

    def __init__(self) -> None:
        super().__init__(_DETAIL)


def out_of_room(error: OSError) -> Refused:
    """507, for a request that the app sees."""
    log_full_disk(error, method=request.method, path=request.path)
    return Refused(STATUS, _KIND, _DETAIL, "")


def log_full_disk(error: OSError, **facts: object) -> None:
    """One line for the operator, who can free space or choose another disk."""
    log.error(
        "temporary_file_failed",
        error=f"{type(error).__name__}: {error}",
        folder=tempfile.tempdir,
        hint="Free space there, or set TMPDIR to a folder on a disk with more space.",
        **facts,
    )


class Spool(OverflowableBuffer):  # type: ignore[misc]
    """waitress's buffer, which does not raise when the disk is full.

    It then drops all further bytes, so that the client gets its answer at the end of its body,
    where every client reads one.
    """

    has_failed = False

    def __init__(self, overflow: int, on_failure: Callable[[OSError], object]) -> None:
        super().__init__(overflow)
        self._on_failure = on_failure

    def append(self, data: bytes) -> None:
        """Keep it, unless something before it could not be kept."""
        if self.has_failed:
            return
        try:
            super().append(data)
        except OSError as error:
            self.has_failed = True
            self.close()
            self.buf, self.strbuf = None, b""
            self._on_failure(error)

    def close(self) -> None:
        """Give the space back; closing a file writes what is left of it, and may fail again."""
        with suppress(OSError):
            super().close()
