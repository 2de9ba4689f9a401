"""Cut NDJSON that arrives in parts into lines, in constant memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from etl.read.csv.encoding import count_line_endings, end_of_lines, without_marks
from etl.read.json.objects import MOST_OBJECT_BYTES, Text
from etl.read.json.typed import line_block

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.read.json.typed import ObjectBlock

_CR = b"\r"  # at the end of a text, it may be half of a CRLF


class Lines(NamedTuple):
    """Whole lines, and the number of the first one."""

    number: int
    content: bytes

    def block(self) -> ObjectBlock | None:
        """All lines as a block, if they can be one."""
        return line_block(self.content, self.number)

    def texts(self) -> Iterator[Text]:
        """The lines that are not blank."""
        for number, line in enumerate(self.content.splitlines(), self.number):
            is_whole = len(line) <= MOST_OBJECT_BYTES
            text = without_marks(line)
            if not is_whole or (text and not text.isspace()):
                yield Text(number, text, is_whole)


class LineCutter:
    """Cuts UTF-8 at line endings: LF, CRLF or CR."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # of the next line
        self._size = 0
        self._number = 1  # of that line

    def take(self, text: bytes, *, is_last: bool = False) -> Lines:
        """The lines that the next text completes."""
        has_cr = bool(self._parts) and self._parts[-1].endswith(_CR)
        if not is_last and not has_cr and b"\n" not in text and _CR not in text:
            self._keep(text)  # does not join a huge line again for each of its parts
            return Lines(self._number, b"")
        text = b"".join([*self._parts, text])
        end = len(text) if is_last else end_of_lines(text)
        self._parts, self._size = [], 0
        self._keep(text[end:])
        lines = Lines(self._number, text[:end])
        self._number += count_line_endings(lines.content)
        return lines

    def _keep(self, part: bytes) -> None:
        """Keep the part of a line, but no more than shows that the line is too long."""
        self._parts.append(part)
        self._size += len(part)
        if self._size > MOST_OBJECT_BYTES + len(_CR):
            joined = b"".join(self._parts)
            kept = joined[: MOST_OBJECT_BYTES + 1]
            self._parts = [kept, _CR] if joined.endswith(_CR) else [kept]
            self._size = sum(map(len, self._parts))
