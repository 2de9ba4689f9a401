"""Read NDJSON, and JSON arrays and objects: one file in parts, or some small files at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from etl.model.errors import RefusedObject
from etl.model.formats import SourceFormat, content_size, format_of
from etl.model.routing import path_names
from etl.model.values import ProblemCode, Severity
from etl.read.csv.encoding import Transcoder
from etl.read.json import typed
from etl.read.json.columns import Columns
from etl.read.json.lines import LineCutter, Lines
from etl.read.json.members import cutter_of, quoted
from etl.read.json.rows import FileRows, RowBuffer, RowReader
from etl.read.json.small import MOST_BYTES, read_joined, small_block
from etl.read.pieces import LINE_ENDS, PIECE_LINES, pieces
from etl.read.rows.collect import Collector
from etl.read.rows.extract import Extract, add_empty_file, to_extract
from etl.read.rows.layout import AddedColumns, Layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from etl.model.dataset import Dataset
    from etl.model.values import SourceFile, SourceObject
    from etl.read.json.elements import Elements
    from etl.read.json.small import JoinedFiles
    from etl.read.json.typed import ObjectBlock
    from etl.read.rows.header import FileHeader


def parse(
    files: Sequence[SourceFile], dataset: Dataset, added: AddedColumns | None = None
) -> list[Extract]:
    """The rows of small files of one dataset. Faults are returned as problems, not raised.

    `added` are the columns that earlier files added; those of these files are noted in it.
    """
    columns = _columns(dataset, added)
    joined = list(read_joined(_small_blocks(files, dataset), columns))
    done = {index for one in joined for index in one.file.tolist()}
    read = {
        index: _read_file(file, dataset, columns)
        for index, file in enumerate(files)
        if index not in done
    }
    texts = [index for index, one in read.items() if not one.is_typed]
    others = sorted(done.union(read).difference(texts))
    found = [_extract(files, texts, read, [], columns)] if texts else []
    return [*found, _extract(files, others, read, joined, columns)] if others else found


def _small_blocks(files: Sequence[SourceFile], dataset: Dataset) -> dict[int, ObjectBlock]:
    """The rows of the small files that may be read together."""
    small = {index: file for index, file in enumerate(files) if len(file.content) <= MOST_BYTES}
    blocks = {
        index: small_block(
            file.content, dataset.dialect.member, is_lines=_is_lines(file.source, dataset)
        )
        for index, file in small.items()
    }
    found = {index: block for index, block in blocks.items() if block is not None}
    return found if len(found) > 1 else {}


class _ReadFile(NamedTuple):
    """What was read of a small file; or why it is refused."""

    source: SourceObject
    reader: _Reader
    rows: Sequence[FileRows] = ()
    header: FileHeader | None = None
    refused: RefusedObject | None = None

    @property
    def is_typed(self) -> bool:
        """Whether its columns have types, so that they cannot be joined with texts."""
        return any(one.typed is not None for one in self.rows)


def _read_file(file: SourceFile, dataset: Dataset, columns: Columns) -> _ReadFile:
    reader = _reader(file.source, dataset, columns)
    try:
        rows = list(reader.read([file.content]))
        if len({one.typed is None for one in rows}) > 1:
            reader = _reader(file.source, dataset, columns)
            rows = list(reader.read([file.content], is_fast=False))
        return _ReadFile(file.source, reader, rows, reader.header())
    except RefusedObject as refused:
        return _ReadFile(file.source, reader, refused=refused)


def _extract(
    files: Sequence[SourceFile],
    indexes: Sequence[int],
    read: Mapping[int, _ReadFile],
    joined: Iterable[JoinedFiles],
    columns: Columns,
) -> Extract:
    """The Extract of the files with these indexes, in this order: they are joined, or read."""
    sources = [files[index].source for index in indexes]
    collector = Collector(sources)
    buffer = RowBuffer(columns)
    for some in joined:
        buffer.add_typed(np.searchsorted(indexes, some.file), some.rows, collector)
    for place, index in enumerate(indexes):
        if index in read:
            _add_file(place, read[index], buffer, collector)
    buffer.flush(collector)
    return to_extract(sources, columns.layout, collector)


def _add_file(place: int, file: _ReadFile, buffer: RowBuffer, collector: Collector) -> None:
    for rows in file.rows:
        buffer.add(place, rows, collector)
    if file.header is not None:
        file.reader.add_file_problems(place, file.header, collector)
    if file.refused is not None:
        one = file.refused
        collector.add_object_problem(place, one.problem_code, one.message, one.value)
    if len(buffer) >= PIECE_LINES:
        buffer.flush(collector)


def read(
    source: SourceObject, dataset: Dataset, added: AddedColumns | None, parts: Iterable[bytes]
) -> Iterator[Extract]:
    """The rows of one object, as `etl.read.formats.read_object` returns them.

    Raises:  as there.
    """
    columns = _columns(dataset, added)
    reader = _reader(source, dataset, columns)
    buffer = RowBuffer(columns)
    for rows in reader.read(parts):
        collector = Collector([source])
        buffer.add(0, rows, collector)
        buffer.flush(collector)
        yield to_extract([source], columns.layout, collector)
    collector = Collector([source])
    reader.add_file_problems(0, reader.header(), collector)
    yield to_extract([source], columns.layout, collector)


def _columns(dataset: Dataset, added: AddedColumns | None) -> Columns:
    added = AddedColumns() if added is None else added
    return Columns(Layout(dataset, path_names(dataset), added=added))


def _reader(source: SourceObject, dataset: Dataset, columns: Columns) -> _Reader:
    size = content_size(dataset, source)
    kind = _LineReader if _is_lines(source, dataset) else _DocumentReader
    return kind(size, columns)


def _is_lines(source: SourceObject, dataset: Dataset) -> bool:
    found = format_of(dataset, source.key)
    return found is not None and found.format is SourceFormat.NDJSON


class _Reader(ABC):
    """Reads the rows of one file in parts."""

    _row_marks: tuple[bytes, ...] = LINE_ENDS  # one of them is in each row, so that few are held

    def __init__(self, size: int | None, columns: Columns) -> None:
        self._transcoder = Transcoder(size)
        self._columns = columns
        self._rows = RowReader(columns)
        self._count = 0
        self._is_fast = True

    def read(self, parts: Iterable[bytes], *, is_fast: bool = True) -> Iterator[FileRows]:
        """The rows and faults of the file, by the fast path if that can be used.

        Raises:  RefusedObject
        """
        self._is_fast = is_fast
        for part in parts:
            for piece in pieces(part, self._columns.most_rows, self._row_marks):
                yield from self._take(self._transcoder.transcode(piece))
        yield from self._take(self._transcoder.transcode(b"", is_last=True), is_last=True)

    def header(self) -> FileHeader:
        """The columns of the file, after its last row.

        Raises:  RefusedObject when there are rows, but none has a declared column.
        """
        return self._rows.header()

    def add_file_problems(self, index: int, header: FileHeader, collector: Collector) -> None:
        """Add the problems of the file as a whole, after its last row."""
        if self._count:
            collector.accept(index, header)
        else:
            self._add_no_rows(index, collector)

    def _take(self, text: bytes, *, is_last: bool = False) -> Iterator[FileRows]:
        cut = self._cut(text, is_last=is_last)
        block = cut.block() if self._is_fast and len(text) >= typed.LEAST_BYTES else None
        found = None if block is None else self._rows.read_block(block)
        if block is not None and found is not None:
            self._count += len(block.numbers)
            yield found
            return
        texts = iter(cut.texts())
        while (rows := self._rows.read(texts)).count:
            self._count += rows.count
            yield rows

    @abstractmethod
    def _cut(self, text: bytes, *, is_last: bool) -> Lines | Elements:
        """The rows that the next text of the file completes.

        Raises:  RefusedObject
        """

    @abstractmethod
    def _add_no_rows(self, index: int, collector: Collector) -> None:
        """Add the problem of a file without rows."""


class _LineReader(_Reader):
    """Reads NDJSON."""

    def __init__(self, size: int | None, columns: Columns) -> None:
        super().__init__(size, columns)
        self._cutter = LineCutter()

    def _cut(self, text: bytes, *, is_last: bool) -> Lines:
        return self._cutter.take(text, is_last=is_last)

    def _add_no_rows(self, index: int, collector: Collector) -> None:
        add_empty_file(index, collector)


class _DocumentReader(_Reader):
    """Reads a JSON array of objects, the one in a member of an object, or one object."""

    _row_marks = (b"{",)

    def __init__(self, size: int | None, columns: Columns) -> None:
        super().__init__(size, columns)
        self._cutter = cutter_of(columns.layout.dataset.dialect.member)
        self._has_array = False

    def header(self) -> FileHeader:
        try:
            return super().header()
        except RefusedObject as refused:
            name = self._rows.array_name if self._cutter.is_object else None
            if name is None:
                raise
            hint = f"{refused.message} {_WRAPPED_HINT}{{ property = {quoted(name)} }}."
            raise RefusedObject(refused.problem_code, hint) from refused

    def _take(self, text: bytes, *, is_last: bool = False) -> Iterator[FileRows]:
        yield from super()._take(text, is_last=is_last)
        if is_last:
            self._has_array = self._cutter.finish()

    def _cut(self, text: bytes, *, is_last: bool) -> Elements:  # noqa: ARG002 - as for lines
        return self._cutter.take(text)

    def _add_no_rows(self, index: int, collector: Collector) -> None:
        if self._has_array:
            code, severity = ProblemCode.NO_ROWS, Severity.WARNING
            collector.add_object_problem(index, code, _NO_ROWS_HINT, severity=severity)
        else:
            add_empty_file(index, collector)


_NO_ROWS_HINT = "The array has no elements. Add rows, or remove the file from the bucket."
_WRAPPED_HINT = (
    "The file is one JSON object, which is one row; if its rows are in an array within it, name "
    "the member: dialect = "
)
