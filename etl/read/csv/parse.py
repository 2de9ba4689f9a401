"""Parse CSVs of one dataset into text cells, with the key and line of every row.

The fast path joins plain files that share a header, so thousands of tiny files cost as much as
one large file. All others go through the full parser, file by file. Only the structure is checked:
the encoding, the header, the number of cells, and cells that PostgreSQL cannot store.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING

from etl.model.formats import SourceFormat, format_of
from etl.model.keys import user_id_of
from etl.model.routing import path_names
from etl.model.values import ProblemCode, Severity, SourceFile, SourceObject
from etl.read.csv.encoding import UNDECODABLE_HINT, Decoded, decode
from etl.read.csv.header import LinesBelow, read_header
from etl.read.csv.plain import as_plain, has_regular_quotes, read_plain
from etl.read.csv.records import RecordReader
from etl.read.rows.collect import Collector, ParsedRecord
from etl.read.rows.extract import (
    Extract,
    add_empty_file,
    add_no_rows,
    to_extract,
)
from etl.read.rows.header import FileHeader, HeaderFault
from etl.read.rows.layout import AddedColumns, Layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from etl.model.dataset import Dataset

MOST_BELOW = 20
_MOST_BELOW_CHARACTERS = 65_536
_TSV = ".tsv"


def parse(
    files: Sequence[SourceFile], dataset: Dataset, added: AddedColumns | None = None
) -> Extract:
    """Parse CSVs of a dataset into text cells. Faults are returned as problems, not raised.

    `added` are the columns that earlier files added; those of these files are noted in it.
    """
    layouts = Layouts(dataset, added)
    collector = Collector([file.source for file in files])
    by_header: dict[tuple[Layout, bytes], list[tuple[int, bytes]]] = defaultdict(list)
    for index, file in enumerate(files):
        layout = layouts.of(file.source.key)
        plain = as_plain(file.content, layout)
        if plain is None:
            _parse_fully(index, file, layout, collector)
        else:
            by_header[layout, plain.header].append((index, plain.body))
    for (layout, header), members in by_header.items():
        _parse_joined(header, members, files, layout, collector)
    return _whole_extract(files, layouts.first, collector)


def parse_fully(
    files: Sequence[SourceFile], dataset: Dataset, added: AddedColumns | None = None
) -> Extract:
    """As `parse`, but only with the full parser: slower, and the reference for the fast path."""
    layouts = Layouts(dataset, added)
    collector = Collector([file.source for file in files])
    for index, file in enumerate(files):
        _parse_fully(index, file, layouts.of(file.source.key), collector)
    return _whole_extract(files, layouts.first, collector)


class Layouts:
    """The layouts of a dataset's files, which differ in the delimiter that their key implies."""

    def __init__(self, dataset: Dataset, added: AddedColumns | None) -> None:
        self._dataset = dataset
        self._added = AddedColumns() if added is None else added
        self._path = path_names(dataset)
        self._found: dict[str | None, Layout] = {}
        self.first = self._layout(dataset.dialect.delimiter)

    def of(self, key: str) -> Layout:
        """The layout of the object."""
        if self.first.delimiter is None and self._may_be_tsv(key):
            found = format_of(self._dataset, key)
            is_tsv = found is not None and found.format is SourceFormat.TSV
            return self._layout("\t" if is_tsv else None)
        return self.first

    def _may_be_tsv(self, key: str) -> bool:
        return self._dataset.format is not None or _TSV in key[-2 * len(_TSV) :].lower()

    def _layout(self, delimiter: str | None) -> Layout:
        if delimiter not in self._found:
            layout = Layout(self._dataset, self._path, delimiter, self._added)
            self._found[delimiter] = layout
        return self._found[delimiter]


def _parse_joined(
    line: bytes,
    members: Sequence[tuple[int, bytes]],
    files: Sequence[SourceFile],
    layout: Layout,
    collector: Collector,
) -> None:
    written = line.decode()
    header = read_header(written, layout)
    # The hint about missing columns depends on the lines below.
    is_title = isinstance(header, HeaderFault) and header.code is ProblemCode.MISSING_COLUMN
    usable = []
    for index, body in members:
        if is_title or (isinstance(header, FileHeader) and not has_regular_quotes(body, header)):
            _parse_fully(index, files[index], layout, collector)
        elif accept_header(index, files[index].source.key, written, header, collector):
            usable.append((index, body))
    if usable and isinstance(header, FileHeader):
        indexes, bodies = zip(*usable, strict=True)
        read_plain(indexes, bodies, header, collector, layout.header_row + 1)


def _parse_fully(index: int, file: SourceFile, layout: Layout, collector: Collector) -> None:
    decoded = decode(file.content)
    if decoded is None:
        add_undecodable(index, collector)
        return
    first = header_line(decoded.lines, layout.header_row)
    if first is None:
        add_empty_file(index, collector)
        return
    if first + 1 in decoded.undecodable:
        add_undecodable(index, collector)
        return
    written = decoded.lines[first].rstrip("\r\n")
    found = read_header(written, layout, lines_below(decoded.lines, first))
    header = accept_header(index, file.source.key, written, found, collector)
    if header is not None:
        add_guessed_lines(index, decoded, collector)
        records = RecordReader(decoded.lines, first + 1, header)
        collector.add_records(header, as_records(index, decoded, records))


def header_line(lines: Sequence[str], header_row: int) -> int | None:
    """The index of the first line that is not blank, from the line with that number on."""
    indexes = range(header_row - 1, len(lines))
    return next((index for index in indexes if lines[index].strip()), None)


def lines_below(lines: Sequence[str], first: int, first_line: int = 1) -> LinesBelow:
    """The lines below a header at this index, as many as are searched for another one.

    `first_line` is the number of the first line.
    """
    size, end = 0, first + 1
    while end < len(lines) and end <= first + MOST_BELOW and size <= _MOST_BELOW_CHARACTERS:
        size += len(lines[end])
        end += 1
    is_complete = end > first + MOST_BELOW or size > _MOST_BELOW_CHARACTERS
    found = [(at + first_line, lines[at].rstrip("\r\n")) for at in range(first + 1, end)]
    return LinesBelow(found, is_complete)


def as_records(
    index: int, decoded: Decoded, records: RecordReader, first_line: int = 1
) -> Iterator[ParsedRecord]:
    """The records of these lines of a file; `first_line` is the number of the first one in it."""
    undecodable = decoded.undecodable
    for start, cells in records:
        raw, is_decodable = decoded.lines[start], True
        if undecodable:
            at = bisect_right(undecodable, start)  # these numbers count from 1
            is_decodable = at == len(undecodable) or undecodable[at] > records.next_line
            if not is_decodable and undecodable[at] == start + 1:
                # Such a line has one character per byte; show the bytes that are not UTF-8.
                raw = raw.encode("latin-1").decode("utf-8", "backslashreplace")
        yield ParsedRecord(index, start + first_line, raw, cells, is_decodable)


def add_guessed_lines(
    index: int, decoded: Decoded, collector: Collector, first_line: int = 1
) -> None:
    """Add a notice of the lines that were read as cp1252."""
    if decoded.guessed:
        numbers = [number - 1 + first_line for number in decoded.guessed]
        first = decoded.lines[decoded.guessed[0] - 1]
        collector.notices.add(index, ProblemCode.GUESSED_ENCODING, numbers, first)


def accept_header(
    index: int, key: str, written: str, header: FileHeader | HeaderFault, collector: Collector
) -> FileHeader | None:
    """The header if a file with this key can use it; otherwise add a problem."""
    if isinstance(header, HeaderFault):
        collector.add_object_problem(index, header.code, header.hint, written)
        return None
    name = header.layout.dataset.id_from_name
    if name is not None and name not in header.columns and not user_id_of(key):
        collector.add_object_problem(
            index,
            ProblemCode.MISSING_COLUMN,
            f"The file has no {name} column, and its name contains no {name}. "
            f"Add the column, or rename the file to <{name}>.csv.",
            written,
        )
        return None
    collector.accept(index, header)
    return header


def add_undecodable(index: int, collector: Collector) -> None:
    """Add the problem of a file that no encoding fits."""
    collector.add_object_problem(
        index,
        ProblemCode.UNDECODABLE,
        UNDECODABLE_HINT,
    )


def _whole_extract(files: Sequence[SourceFile], layout: Layout, collector: Collector) -> Extract:
    sources = [file.source for file in files]
    collector.blocks()  # counts the last rows
    _add_files_without_rows(sources, collector)
    collector.add_warnings()
    return to_extract(sources, layout, collector)


def _add_files_without_rows(sources: Sequence[SourceObject], collector: Collector) -> None:
    rejected = {
        problem.key
        for problem in collector.problems
        if problem.line is None and problem.severity is Severity.ERROR
    }
    for index, source in enumerate(sources):
        if collector.rows_read[index] == 0 and source.key not in rejected:
            add_no_rows(index, collector)
