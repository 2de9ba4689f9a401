"""A file too large to hold, read piece by piece with the result the whole would have.

Pieces may be cut anywhere: within a character, a line end, a quoted cell. What a later piece
could still change is carried over to it: an incomplete line, and a record whose quotes are still
open, which is at most 1,000 lines or 1,048,576 characters and one line more.

Encoding is a fact of the whole file. UTF-8 is assumed until a byte contradicts it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.errors import NotUtf8
from etl.extract.collect import Collector, Record
from etl.extract.dialect import Dialect, read_header
from etl.extract.encoding import Transcoder, count_line_ends
from etl.extract.parse import (
    Extract,
    is_usable,
    note_empty,
    note_guess,
    note_no_rows,
    note_undecodable,
    to_extract,
)
from etl.extract.plain import as_plain_lines, read_plain
from etl.extract.records import Records, physical_lines

if TYPE_CHECKING:
    from etl.model import SourceObject


class PieceReader:
    """Reads one object from its pieces, in their order; `finish` ends it.

    Together the Extracts are what `parse` gives of the whole, their problems sorted in each.
    Lines are those of the object.
    """

    def __init__(self, source: SourceObject, *, guessed_from_line: int | None = None) -> None:
        self._source = source
        self._guess = guessed_from_line
        self._transcoder = Transcoder(source.size, as_cp1252=guessed_from_line is not None)
        self._pending = _Pending()
        self._line = 1  # the number of the first pending line
        self._header: Dialect | None = None
        self._is_refused = False
        self._guessed_line: str | None = None
        self._rows_read = 0

    def read(self, piece: bytes) -> Extract:
        """The rows and problems that the piece completes.

        Raises:  NotUtf8: nothing read so far counts, the object is to be read again from its
                 beginning by a reader made with `guessed_from_line`; Undecodable: nothing
                 read so far counts, see `undecodable`.
        """
        return self._take(piece, is_last=False)

    def finish(self) -> Extract:
        """The rows and problems that only the end of the object decides.

        Raises:  as `read`.
        """
        return self._take(b"", is_last=True)

    def _take(self, piece: bytes, *, is_last: bool) -> Extract:
        collector = Collector([self._source])
        self._pending.add(self._transcode(piece, is_last=is_last))
        lines = self._pending.lines(is_last=is_last)
        if lines:
            left = self._read_lines(lines, collector, is_last=is_last)
            self._pass(lines[: len(lines) - len(left)], collector)
            self._pending.put_back(left)
        collector.blocks()  # the last rows are counted now
        self._rows_read += collector.rows_read[0]
        if is_last:
            self._note_what_is_missing(collector)
        return to_extract([self._source], collector)

    def _transcode(self, piece: bytes, *, is_last: bool) -> bytes:
        try:
            return self._transcoder.transcode(piece, is_last=is_last)
        except UnicodeDecodeError as error:
            before = self._pending.everything() + error.object[: error.start]
            raise NotUtf8(self._line + count_line_ends(before)) from error

    def _read_lines(self, lines: bytes, collector: Collector, *, is_last: bool) -> bytes:
        """Read whole lines; give back the last ones where more must be known to read them."""
        body, number = lines, self._line
        if self._header is None and not self._is_refused:
            body = self._find_header(lines, collector)
            number += count_line_ends(lines[: len(lines) - len(body)])
        if self._header is None or not body:
            return b""
        plain = as_plain_lines(body)
        if plain is not None:
            read_plain([0], [plain], self._header, collector, first_line=number)
            return b""
        read = physical_lines(body.decode())
        records = Records(read, 0, self._header, is_cut=not is_last)
        found = (Record(0, number + start, read[start], cells) for start, cells in records)
        collector.add_records(self._header.columns, found)
        return "".join(read[records.next_line :]).encode()

    def _find_header(self, lines: bytes, collector: Collector) -> bytes:
        """Read the first line that is not blank, if it is among these; what follows it."""
        text = lines.decode()
        blank = len(text) - len(text.lstrip())
        if blank == len(text):
            return b""
        begin = max(text.rfind("\n", 0, blank), text.rfind("\r", 0, blank)) + 1
        line = next(iter(physical_lines(text[begin:])))
        header = line.rstrip("\r\n")
        dialect = read_header(header)
        usable = is_usable(0, self._source.key, header, dialect, collector)
        self._is_refused = not usable
        self._header = dialect if usable and isinstance(dialect, Dialect) else None
        return text[begin + len(line) :].encode()

    def _pass(self, lines: bytes, collector: Collector) -> None:
        """Leave lines behind that are read, and note the first that was not UTF-8."""
        count = count_line_ends(lines)
        if self._guess is not None and self._line <= self._guess <= self._line + count:
            self._guessed_line = _line_of(lines, self._guess - self._line)
        self._line += count
        if self._header is not None and self._guess is not None and self._guessed_line is not None:
            note_guess(0, self._guess, self._guessed_line, collector)
            self._guess = None

    def _note_what_is_missing(self, collector: Collector) -> None:
        if self._is_refused:
            return
        if self._header is None:
            note_empty(0, collector)
        elif not self._rows_read:
            note_no_rows(0, collector)


def undecodable(source: SourceObject) -> Extract:
    """All there is to say of an object that no encoding fits."""
    collector = Collector([source])
    note_undecodable(0, collector)
    return to_extract([source], collector)


class _Pending:
    """Text that is not read yet."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._has_news = False

    def add(self, text: bytes) -> None:
        """Take text that follows."""
        if text:
            self._pieces.append(text)
            self._has_news |= b"\n" in text or b"\r" in text

    def lines(self, *, is_last: bool) -> bytes:
        """Give away the lines that are complete, if there are new ones among them."""
        if not (self._has_news or is_last):
            return b""  # a giant line is not put together again for every piece of it
        text = self.everything()
        end = len(text) if is_last else _end_of_lines(text)
        self._pieces = [text[end:]]
        self._has_news = text.endswith(b"\r")
        return text[:end]

    def put_back(self, lines: bytes) -> None:
        """Take lines back that cannot be read yet."""
        self._pieces.insert(0, lines)

    def everything(self) -> bytes:
        """All text that waits."""
        return b"".join(self._pieces)


def _end_of_lines(text: bytes) -> int:
    """Where the last complete line ends. A CR at the very end may be half of a CRLF."""
    certain = len(text) - text.endswith(b"\r")
    newline = text.rfind(b"\n", 0, certain)
    return max(newline, text.rfind(b"\r", newline + 1, certain)) + 1


def _line_of(lines: bytes, place: int) -> str | None:
    found = physical_lines(lines.decode())
    return found[place] if place < len(found) else None
