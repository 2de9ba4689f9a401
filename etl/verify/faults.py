"""The faults of a file, and of a cell that its field does not accept."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etl.model.values import ProblemCode


class FaultyCell(Exception):
    """A cell without a value of its field's type."""

    def __init__(self, *codes: ProblemCode) -> None:
        """Store the problem codes, one for each fault."""
        super().__init__(*codes)
        self.codes = list(codes)


class FileError(Exception):
    """A fault that rejects the whole file."""

    def __init__(self, code: ProblemCode) -> None:
        """Store the problem code."""
        super().__init__(code.value)
        self.code = code
