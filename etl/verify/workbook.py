"""Read workbooks of Excel."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etl.verify.file import File
    from etl.verify.rows import Reading


def read(file: File) -> Reading:
    """The rows and faults of a sheet.

    Raises:  FileError.
    """
    raise NotImplementedError
