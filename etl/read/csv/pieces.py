"""A file too large to hold, read piece by piece with the result the whole would have.

Pieces may be cut anywhere: within a character, a line end, a quoted cell. What a later piece
could still change is carried over to it: an incomplete line, and a record whose quotes are still
open, which is at most 1,000 lines or 1,048,576 characters and one line more.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from etl.read.csv.collect import Collector
from etl.read.csv.dialect import Dialect, read_header
from etl.read.csv.encoding import Transcoder, count_line_ends, decode_lines
from etl.read.csv.notices import Notices
from etl.read.csv.parse import (
    Extract,
    as_records,
    header_line,
    is_usable,
    note_empty,
    note_guesses,
    note_no_rows,
    note_undecodable,
    to_extract,
)
from etl.read.csv.plain import as_plain_lines, read_plain
from etl.read.csv.records import Records

if TYPE_CHECKING:
    from etl.model.values import SourceObject
    from etl.read.csv.encoding import Decoded


class PieceReader:
    """Reads one object from its pieces, in their order; `finish` ends it.

    Together the Extracts are what `parse` gives of the whole, their problems sorted in each.
    Lines are those of the object.
    """

    def __init__(self, source: SourceObject) -> None:
        self._source = source
        self._transcoder = Transcoder(source.size)
        self._pending = _Pending()
        self._line = 1  # the number of the first pending line
        self._header: Dialect | None = None
        self._is_refused = False
        self._notices = Notices()
        self._rows_read = 0

    @property
    def is_of_one_user(self) -> bool:
        """Whether all rows belong to one user because there is no user_id column."""
        return self._header is not None and "user_id" not in self._header.columns

    def read(self, piece: bytes) -> Extract:
        """The rows and problems that the piece completes.

        Raises:  Undecodable: nothing read so far counts, see `undecodable`.
        """
        return self._take(piece, is_last=False)

    def finish(self) -> Extract:
        """The rows and problems that only the end of the object decides.

        Raises:  as `read`.
        """
        return self._take(b"", is_last=True)

    def _take(self, piece: bytes, *, is_last: bool) -> Extract:
        collector = Collector([self._source], self._notices)
        self._pending.add(self._transcoder.transcode(piece, is_last=is_last))
        lines = self._pending.lines(is_last=is_last)
        if lines:
            left = self._read_lines(lines, collector, is_last=is_last)
            self._line += count_line_ends(lines[: len(lines) - len(left)])
            self._pending.put_back(left)
        collector.blocks()  # the last rows are counted now
        self._rows_read += collector.rows_read[0]
        if is_last:
            self._note_what_is_missing(collector)
        return to_extract([self._source], collector)

    def _read_lines(self, lines: bytes, collector: Collector, *, is_last: bool) -> bytes:
        """Read whole lines; give back the last ones where more must be known to read them."""
        body, number = lines, self._line
        if self._header is None and not self._is_refused:
            body = self._find_header(lines, collector)
            number += count_line_ends(lines[: len(lines) - len(body)])
        if self._header is None or not body:
            return b""
        plain = as_plain_lines(body)
        if plain is None:
            return self._read_records(body, number, self._header, collector, is_last=is_last)
        read_plain([0], [plain], self._header, collector, first_line=number)
        return b""

    def _read_records(
        self, body: bytes, number: int, header: Dialect, collector: Collector, *, is_last: bool
    ) -> bytes:
        decoded = decode_lines(body)
        records = Records(decoded.lines, 0, header, is_cut=not is_last)
        collector.add_records(header.columns, as_records(0, decoded, records, number))
        end = records.next_line
        note_guesses(0, _until(decoded, end), collector, number)
        return b"" if end == len(decoded.lines) else b"".join(body.splitlines(keepends=True)[end:])

    def _find_header(self, lines: bytes, collector: Collector) -> bytes:
        """Read the first line that is not blank, if it is among these; what follows it."""
        decoded = decode_lines(lines)
        first = header_line(decoded.lines)
        end = len(decoded.lines) if first is None else first + 1
        if first is not None:
            self._read_header(decoded, first, collector)
        if not self._is_refused:
            note_guesses(0, _until(decoded, end), collector, self._line)
        return b"".join(lines.splitlines(keepends=True)[end:])

    def _read_header(self, decoded: Decoded, first: int, collector: Collector) -> None:
        self._is_refused = True
        if first + 1 in decoded.undecodable:
            note_undecodable(0, collector)
            return
        header = decoded.lines[first].rstrip("\r\n")
        dialect = read_header(header)
        if is_usable(0, self._source.key, header, dialect, collector):
            self._is_refused = False
            self._header = dialect if isinstance(dialect, Dialect) else None

    def _note_what_is_missing(self, collector: Collector) -> None:
        if self._is_refused:
            return
        if self._header is None:
            note_empty(0, collector)
            return
        if not self._rows_read:
            note_no_rows(0, collector)
        collector.note_oddities()


def _until(decoded: Decoded, end: int) -> Decoded:
    """The lines up to `end`, which is not counted: the rest is read again."""
    if end == len(decoded.lines):
        return decoded
    guessed = decoded.guessed[: bisect_right(decoded.guessed, end)]
    return decoded._replace(guessed=guessed)


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
