"""Spooling of request bodies to disk, and the response if the disk is full.

Before the app sees a request, the server holds its body in memory or, above a limit, in a
temporary file (TMPDIR). The files of a form are copied to another temporary file.
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
_DETAIL = "The server's disk is full, so it could not receive the request body. Nothing was stored."

log = structlog.get_logger("api")


class DiskFull(Error):  # type: ignore[misc]
    """507 for requests that do not reach the app."""

    code = STATUS.value
    reason = STATUS.phrase
    kind = _KIND

    def __init__(self) -> None:
        super().__init__(_DETAIL)


def disk_full(error: OSError) -> Refused:
    """507 for a request that reached the app."""
    log_full_disk(error, method=request.method, path=request.path)
    return Refused(STATUS, _KIND, _DETAIL, "")


def log_full_disk(error: OSError, **facts: object) -> None:
    """Log the failure for the operator, who can free space or choose another disk."""
    log.error(
        "temporary_file_failed",
        error=f"{type(error).__name__}: {error}",
        folder=tempfile.tempdir,
        hint="Free space in this folder, or set TMPDIR to a folder on a disk with more space.",
        **facts,
    )


class Spool(OverflowableBuffer):  # type: ignore[misc]
    """A waitress buffer that does not raise if the disk is full, but discards further bytes.

    The client then gets the 507 after it has sent its whole body, when every client reads.
    """

    has_failed = False

    def __init__(self, overflow: int, on_failure: Callable[[OSError], object]) -> None:
        super().__init__(overflow)
        self._on_failure = on_failure

    def append(self, data: bytes) -> None:
        """Append data, unless an earlier write failed."""
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
        """Free the space; closing the file writes its buffered bytes, which may fail again."""
        with suppress(OSError):
            super().close()
