"""Parse a file that is too large for memory, chunk by chunk, with the same result as `parse`.

Chunks may end anywhere: within a character, a line ending or a quoted cell. Text that the next
chunk could change is carried over to it. This is an incomplete line, or a record with an open
quote: at most 1,000 lines or 1,048,576 characters, plus one line.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from etl.model.dataset import UnknownColumns
from etl.model.formats import content_size
from etl.read.csv.encoding import Transcoder, count_line_endings, decode_lines, end_of_lines
from etl.read.csv.header import read_header
from etl.read.csv.parse import (
    Layouts,
    accept_header,
    add_guessed_lines,
    add_undecodable,
    as_records,
    header_line,
    lines_below,
)
from etl.read.csv.plain import as_plain_lines, has_regular_quotes, read_plain
from etl.read.csv.records import RecordReader
from etl.read.pieces import rows_at_once
from etl.read.rows.collect import Collector
from etl.read.rows.extract import Extract, add_empty_file, add_no_rows, to_extract
from etl.read.rows.header import HeaderFault
from etl.read.rows.layout import MOST_ADDED
from etl.read.rows.notices import Notices

if TYPE_CHECKING:
    from etl.model.dataset import Dataset
    from etl.model.values import SourceObject
    from etl.read.csv.encoding import Decoded
    from etl.read.csv.header import LinesBelow
    from etl.read.rows.header import FileHeader
    from etl.read.rows.layout import AddedColumns


class ChunkReader:
    """Parses one object from its chunks in order; call `finish` after the last one.

    The Extracts together equal the one that `parse` returns for the whole object, except that
    problems are sorted within each. Line numbers are those of the object. `added` as in `parse`;
    `notices` gets the warnings about lines, which `finish` returns as problems.
    """

    def __init__(
        self,
        source: SourceObject,
        dataset: Dataset,
        added: AddedColumns | None = None,
        notices: Notices | None = None,
    ) -> None:
        self._source = source
        self._layout = Layouts(dataset, added).of(source.key)
        self._transcoder = Transcoder(content_size(dataset, source))
        self._pending = _Pending()
        self._line = 1  # number of the first pending line
        self._header: FileHeader | None = None
        self._is_rejected = False
        self._notices = Notices() if notices is None else notices
        self._rows_read = 0

    def skip(self, head: bytes, line: int) -> None:
        """Continue at a line of a UTF-8 file, which begins a record.

        `head` are the first lines of the file, until its header. Their warnings are left out.
        """
        notices, self._notices = self._notices, Notices()
        self._transcoder = Transcoder(None, "utf-8")
        self.read(head)
        self._line, self._notices = line, notices

    @property
    def is_without_id(self) -> bool:
        """Whether all rows have the same key, which is taken from the file's name."""
        name = self._layout.dataset.id_from_name
        return name is not None and self._header is not None and name not in self._header.columns

    def most_rows(self) -> int:
        """How many rows the next chunk may have at most.

        A short row may lack columns that the table gets from the header.
        """
        declared = len(self._layout.columns)
        if self._header is not None:
            return rows_at_once(declared + len(self._header.added))
        is_add = self._layout.dataset.unknown_columns is UnknownColumns.ADD
        return rows_at_once(declared + MOST_ADDED if is_add else declared)

    def read(self, chunk: bytes) -> Extract:
        """The rows and problems that the chunk completes.

        Raises:  RefusedObject; discard all earlier Extracts and use `refused_extract` instead.
        """
        return self._take(chunk, is_last=False)

    def finish(self) -> Extract:
        """The rows and problems that depend on the end of the object.

        Raises:  as `read`.
        """
        return self._take(b"", is_last=True)

    def finish_part(self) -> Extract:
        """The rows and problems that depend on the end of a part that ends with a record."""
        return self._take(b"", is_last=True, is_part=True)

    def _take(self, chunk: bytes, *, is_last: bool, is_part: bool = False) -> Extract:
        collector = Collector([self._source], self._notices)
        self._pending.add(self._transcoder.transcode(chunk, is_last=is_last))
        lines = self._pending.lines(is_last=is_last)
        if lines:
            left = self._read_lines(lines, collector, is_last=is_last)
            self._line += count_line_endings(lines[: len(lines) - len(left)])
            self._pending.put_back(left)
        collector.blocks()  # counts the last rows
        self._rows_read += collector.rows_read[0]
        if is_last and not is_part:
            self._add_file_problems(collector)
        return to_extract([self._source], self._layout, collector)

    def _read_lines(self, lines: bytes, collector: Collector, *, is_last: bool) -> bytes:
        """Parse whole lines; return the last ones if they depend on the next chunk."""
        body, number = lines, self._line
        if self._header is None and not self._is_rejected:
            found = self._find_header(lines, collector, is_last=is_last)
            if found is None:
                return lines
            body = found
            number += count_line_endings(lines[: len(lines) - len(body)])
        if self._header is None or not body:
            return b""
        plain = as_plain_lines(body, self._layout)
        if plain is None or not has_regular_quotes(plain, self._header):
            return self._read_records(body, number, self._header, collector, is_last=is_last)
        read_plain([0], [plain], self._header, collector, first_line=number)
        return b""

    def _read_records(
        self, body: bytes, number: int, header: FileHeader, collector: Collector, *, is_last: bool
    ) -> bytes:
        decoded = decode_lines(body)
        records = RecordReader(decoded.lines, 0, header, is_cut=not is_last)
        collector.add_records(header, as_records(0, decoded, records, number))
        end = records.next_line
        add_guessed_lines(0, _until(decoded, end), collector, number)
        return b"" if end == len(decoded.lines) else b"".join(body.splitlines(keepends=True)[end:])

    def _find_header(self, lines: bytes, collector: Collector, *, is_last: bool) -> bytes | None:
        """Read the header from the first line that is not blank; return the lines after it.

        None if it is not valid, and more lines are needed to say why.
        """
        decoded = decode_lines(lines)
        first = header_line(decoded.lines, max(self._layout.header_row - self._line + 1, 1))
        end = len(decoded.lines) if first is None else first + 1
        if first is not None:
            below = lines_below(decoded.lines, first, self._line)
            if not self._read_header(decoded, first, below, collector, is_last=is_last):
                return None
        if not self._is_rejected:
            add_guessed_lines(0, _until(decoded, end), collector, self._line)
        return b"".join(lines.splitlines(keepends=True)[end:])

    def _read_header(
        self,
        decoded: Decoded,
        first: int,
        below: LinesBelow,
        collector: Collector,
        *,
        is_last: bool,
    ) -> bool:
        """Read or reject the header; False if more lines below are needed to say why."""
        if first + 1 in decoded.undecodable:
            add_undecodable(0, collector)
        else:
            written = decoded.lines[first].rstrip("\r\n")
            found = read_header(written, self._layout, below)
            if isinstance(found, HeaderFault) and not (is_last or below.is_complete):
                return False
            self._header = accept_header(0, self._source.key, written, found, collector)
        self._is_rejected = self._header is None
        return True

    def _add_file_problems(self, collector: Collector) -> None:
        if self._is_rejected:
            return
        if self._header is None:
            add_empty_file(0, collector)
            return
        if not self._rows_read:
            add_no_rows(0, collector)
        collector.add_warnings()


def _until(decoded: Decoded, end: int) -> Decoded:
    """The lines before `end`; the others will be parsed again."""
    if end == len(decoded.lines):
        return decoded
    guessed = decoded.guessed[: bisect_right(decoded.guessed, end)]
    return decoded._replace(guessed=guessed)


class _Pending:
    """Text that is not parsed yet."""

    def __init__(self) -> None:
        self._texts: list[bytes] = []
        self._has_new_lines = False

    def add(self, text: bytes) -> None:
        """Append text."""
        if text:
            self._texts.append(text)
            self._has_new_lines |= b"\n" in text or b"\r" in text

    def lines(self, *, is_last: bool) -> bytes:
        """Remove and return the complete lines, if there are new ones."""
        if not (self._has_new_lines or is_last):
            return b""  # does not join a huge line again for each of its chunks
        text = b"".join(self._texts)
        end = len(text) if is_last else end_of_lines(text)
        self._texts = [text[end:]]
        self._has_new_lines = text.endswith(b"\r")
        return text[:end]

    def put_back(self, lines: bytes) -> None:
        """Return lines that cannot be parsed yet."""
        self._texts.insert(0, lines)
