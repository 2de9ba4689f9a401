"""Warnings about lines that are read anyway: one per code and file, for all of its lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etl.model.safe_text import safe_value
from etl.model.values import Problem, ProblemCode, Severity, SourceObject

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LISTED_LINES = 5

_HINTS = {
    ProblemCode.GUESSED_ENCODING: (
        "{Lines} not valid UTF-8, so read as cp1252. Check the accented letters, then save "
        "the file as UTF-8."
    ),
    ProblemCode.REPEATED_HEADER: (
        "{Lines} skipped because the header is repeated there. Keep the header only at the top "
        "of the file."
    ),
    ProblemCode.MISSING_TRAILING_CELLS: (
        "{Lines} shorter than the header; the missing last cells were read as blank. "
        "Check that no cell is missing within the row."
    ),
}


@dataclass
class Notice:
    """One warning of one file: the count of lines, the first numbers, and the first line's text."""

    count: int = 0
    lines: list[int] = field(default_factory=list)
    value: str | None = None

    def add(self, numbers: Sequence[int], first: str | None) -> None:
        """Add lines in their order; `first` is the text of the first one."""
        self.count += len(numbers)
        listed = [*self.lines, *numbers[:LISTED_LINES]]
        if listed[0] != min(listed) or not self.lines:
            self.value = first
        self.lines = sorted(listed)[:LISTED_LINES]


class Notices:
    """The warnings of a batch of files; a file is identified by its index in the batch."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, ProblemCode], Notice] = {}

    def add(
        self, file: int, code: ProblemCode, numbers: Sequence[int], first: str | None = None
    ) -> None:
        """Add one or more lines of a file, in their order; `first` is the first one's text."""
        notice = self._found.setdefault((file, code), Notice())
        if len(notice.lines) == LISTED_LINES and numbers[0] > notice.lines[-1]:
            notice.count += len(numbers)  # fast: every line of a large file may have it
        else:
            shown = None if first is None else safe_value(first.rstrip("\r\n"))
            notice.add(numbers, shown)

    def of(self, file: int) -> dict[ProblemCode, Notice]:
        """The warnings of a file by code."""
        return {code: notice for (index, code), notice in self._found.items() if index == file}

    def join(self, file: int, more: Mapping[ProblemCode, Notice]) -> None:
        """Add the warnings of the next part of a file."""
        for code, other in more.items():
            notice = self._found.setdefault((file, code), Notice(value=other.value))
            notice.count += other.count
            notice.lines = [*notice.lines, *other.lines][:LISTED_LINES]

    def problems(self, sources: Sequence[SourceObject]) -> Iterator[Problem]:
        """The warnings as problems."""
        for (file, code), notice in self._found.items():
            source = sources[file]
            hint = _HINTS[code].format(Lines=_lines(notice))
            yield Problem(
                code, source.key, source.etag, hint, value=notice.value, severity=Severity.WARNING
            )


def _lines(notice: Notice) -> str:
    """`Line 3 is`, `Lines 3 and 7 are`, `Lines 3, 4, 7, 9, 12 and 1,200 more are`."""
    if notice.count == 1:
        return f"Line {notice.lines[0]} is"
    *shown, last = map(str, notice.lines)
    if notice.count > LISTED_LINES:
        shown, last = [*shown, last], f"{notice.count - LISTED_LINES:,} more"
    return f"Lines {', '.join(shown)} and {last} are"
