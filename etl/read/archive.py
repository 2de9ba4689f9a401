"""The only file in a zip archive.

The index of an archive is at its end, so the archive is kept in a temporary file.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from typing import TYPE_CHECKING

from etl.model.errors import RefusedObject
from etl.model.keys import has_ignored_name
from etl.model.safe_text import printable
from etl.model.values import ProblemCode
from etl.read.spool import spooled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

PART_BYTES = 1 << 20
MOST_INDEX_BYTES = 1 << 20  # about 10,000 files; zipfile holds them in a hundred times as much
# zipfile expands the other methods without a bound on what one call returns.
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_IS_ENCRYPTED = 0x1
_SHOWN_NAMES = 3

# What zipfile and its decompressors raise about content that is not as it should be.
FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    IndexError,
    RuntimeError,
)


def only_member(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The content of the only file in an archive; folders and system files do not count.

    Raises:  RefusedObject; what `parts` raises.
    """
    with spooled(parts) as file, opened(file) as archive:
        yield from read_member(archive, _choose(archive))


def opened(file: BinaryIO, noun: str = "zip archive") -> zipfile.ZipFile:
    """The archive in the file; the noun names it in hints.

    Raises:  RefusedObject.
    """
    try:
        return zipfile.ZipFile(_IndexReader(file))
    except RefusedObject:
        raise
    except FAULTS as error:
        raise corrupt("has no valid index; it may be cut short", noun) from error


def read_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, noun: str = "zip archive"
) -> Iterator[bytes]:
    """The content of one file in the archive, whose checksum is verified at the end.

    Raises:  RefusedObject.
    """
    if member.flag_bits & _IS_ENCRYPTED:
        raise RefusedObject(
            ProblemCode.ENCRYPTED_ARCHIVE,
            f"The {noun} is protected by a password. Upload it without one.",
        )
    if member.compress_type not in _METHODS:
        raise RefusedObject(
            ProblemCode.UNSUPPORTED_ARCHIVE,
            f"The {noun} uses the compression method {member.compress_type}. Make it again with "
            "the method deflate.",
        )
    try:
        with archive.open(member) as content:
            while part := content.read(PART_BYTES):
                yield part
    except FAULTS as error:
        raise corrupt("is damaged or cut short", noun) from error


def corrupt(fault: str, noun: str = "zip archive") -> RefusedObject:
    """The refusal of an archive that cannot be read."""
    return RefusedObject(
        ProblemCode.CORRUPT_ARCHIVE,
        f"The {noun} {fault}. Upload it again from its origin; if that does not help, make the "
        f"{noun} again.",
    )


def _choose(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    if min((one.header_offset for one in archive.infolist()), default=0):
        raise corrupt("begins with data that its index does not name")
    files = [one for one in archive.infolist() if not has_ignored_name(one.filename)]
    if len(files) == 1:
        return files[0]
    names = [one.filename for one in files]
    if "[Content_Types].xml" in names:
        raise RefusedObject(
            ProblemCode.WRONG_FORMAT,
            "The archive seems to be an Office document. Rename a workbook to .xlsx.",
        )
    shown = ", ".join(map(printable, names[:_SHOWN_NAMES]))
    more = f" and {len(names) - _SHOWN_NAMES:,} more" if len(names) > _SHOWN_NAMES else ""
    found = f"{len(names):,}: {shown}{more}" if names else "none"
    raise RefusedObject(
        ProblemCode.UNSUPPORTED_ARCHIVE,
        f"An archive must contain one file, and this one contains {found}. Upload each file by "
        "itself.",
    )


class _IndexReader:
    """A file whose index, which zipfile reads at once, is limited. Members are read in parts."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if size > MOST_INDEX_BYTES:
            raise RefusedObject(
                ProblemCode.UNSUPPORTED_ARCHIVE,
                "The index of the archive is larger than that of 10,000 files. Upload each file by "
                "itself.",
            )
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        """Do nothing: the file is closed by its owner."""
