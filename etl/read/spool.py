"""Keep the content of an object in a file while it is read: for formats that need random access.

Small contents stay in memory, others are in a temporary file (TMPDIR), which has no name.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from tempfile import SpooledTemporaryFile, TemporaryFile
from typing import TYPE_CHECKING

from etl.model.errors import TemporaryFileFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

MEMORY_BYTES = 4 << 20  # of content that is not written to disk


@contextmanager
def spooled(parts: Iterable[bytes]) -> Iterator[BinaryIO]:
    """The whole content as a file at its beginning, which is removed at the end.

    Raises:  TemporaryFileFailed when the disk takes no more; whatever `parts` raises.
    """
    file: SpooledTemporaryFile[bytes] = SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115
    try:
        for part in parts:
            with _disk():
                file.write(part)
        with _disk():
            file.flush()
            file.seek(0)
        yield file  # type: ignore[misc]  # it is one in all but name
    finally:
        with suppress(OSError):  # what the disk does not take is not needed any more
            file.close()


@contextmanager
def sparse(size: int, ranges: Iterable[tuple[int, Iterable[bytes]]]) -> Iterator[BinaryIO]:
    """Some ranges of a content of that size as a file, by their first bytes; the rest is zeros.

    Raises:  as `spooled`.
    """
    with TemporaryFile() as file:
        with _disk():
            file.truncate(size)
        for start, parts in ranges:
            file.seek(start)
            for part in parts:
                with _disk():
                    file.write(part)
        with _disk():
            file.flush()
            file.seek(0)
        yield file


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TemporaryFileFailed(
            f"A temporary file cannot be written: {error.strerror or error}."
        ) from error
