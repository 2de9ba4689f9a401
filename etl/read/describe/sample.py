"""Read the first rows of objects of any format as columns of texts, by the readers of runs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from etl.model.dataset import Dataset, Dialect, UnknownColumns
from etl.model.errors import RefusedObject
from etl.model.safe_text import safe_value
from etl.model.values import Problem, Severity
from etl.read.columns import EXTRA, SOURCE_KEY, SOURCE_LINE
from etl.read.describe.head import Head, head_of
from etl.read.formats import expanded_parts, read_object
from etl.read.rows.extract import Extract, joined, refused_extract
from etl.read.rows.layout import AddedColumns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from etl.model.formats import SourceFormat
    from etl.model.values import SourceObject

    Parts = Callable[[], Iterable[bytes]]

MOST_ROWS = 100_000  # of all sampled objects together
FEWEST_ROWS = 1_000  # of each of them
MOST_BYTES = 64 * 1024 * 1024  # of each of them
_HEAD_BYTES = 64 * 1024
_JSON_NAME = re.compile(r'"([^"\\\x00-\x1f]+)"[ \t\r\n]*:')
_TEXT = pa.large_string()


@dataclass(frozen=True, slots=True)
class SampledObject:
    """The first rows of an object, as texts by header.

    Shapes:  each of columns (rows,), large_string, null where blank; lines (rows,). `is_cut`:
             there are more rows.
    """

    key: str
    columns: dict[str, pa.ChunkedArray]
    rows: int
    lines: pa.ChunkedArray
    head: Head
    is_cut: bool = False
    problem: Problem | None = None  # the first one of a row


@dataclass(frozen=True, slots=True)
class SampledColumn:
    """A column over all sampled objects; texts are null where blank or where there is none."""

    header: str
    texts: pa.ChunkedArray
    is_everywhere: bool
    is_float: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """Sampled objects as one: their columns, how many rows each has, and where the rows are."""

    columns: tuple[SampledColumn, ...]
    row_counts: tuple[int, ...]
    keys: tuple[str, ...]
    lines: tuple[pa.ChunkedArray, ...]

    def place(self, row: int) -> str:
        """The line of a row, and its object if there are several."""
        for key, count, lines in zip(self.keys, self.row_counts, self.lines, strict=True):
            if row < count:
                line = f"line {lines[row].as_py()}"
                return f"{safe_value(key)}, {line}" if len(self.keys) > 1 else line
            row -= count
        raise IndexError(row)


class Bounds:
    """Reads an object until enough of it is read; `is_cut` tells whether that was not all."""

    def __init__(self, most_rows: int) -> None:
        self._most_rows = most_rows
        self._bytes = 0
        self.is_cut = False

    def extracts(self, source: SourceObject, dataset: Dataset, parts: Parts) -> Iterator[Extract]:
        """The Extracts of the object until there are enough; of a refused object, its problem."""
        rows = 0
        try:
            content = self._counted(expanded_parts(source, dataset, parts()))
            for extract in read_object(source, dataset, AddedColumns(), content):
                yield extract
                rows += sum(extract.rows_read.values())
                if rows >= self._most_rows or self._bytes >= MOST_BYTES:
                    self.is_cut = True
                    return
        except RefusedObject as refused:
            yield refused_extract(source, dataset, refused)

    def _counted(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        for part in parts:
            self._bytes += len(part)
            yield part


def bounds(objects: int) -> Bounds:
    """The bounds of one of some objects."""
    return Bounds(max(MOST_ROWS // max(objects, 1), FEWEST_ROWS))


def sample_object(
    source: SourceObject, probe: Dataset, parts: Parts, limit: Bounds
) -> SampledObject | Problem:
    """The first rows of the object, or why it has none.

    `probe` declares no fields; only its format matters.
    """
    head = head_of(source, probe, parts)
    dialect = Dialect(
        delimiter=head.delimiter or None, header_row=head.header_row, member=head.member
    )
    found = list(limit.extracts(source, replace(probe, dialect=dialect), parts))
    whole = joined(found)
    for one in whole.problems:
        if one.line is None and one.severity is Severity.ERROR:
            return one
    return SampledObject(
        source.key,
        _columns(whole, head),
        len(whole.rows),
        whole.rows[SOURCE_LINE],
        head,
        limit.is_cut,
        next((one for one in whole.problems if one.line is not None), None),
    )


def probe(format_: SourceFormat | None, sheet: str | int | None = None) -> Dataset:
    """A dataset that reads all columns as texts."""
    return Dataset(
        name="sample",
        table="sample",
        fields=(),
        include=("**",),
        format=format_,
        sheet=sheet,
        unknown_columns=UnknownColumns.ADD,
    )


def with_columns(one: SampledObject, values: Mapping[str, str | None]) -> SampledObject:
    """The object with columns that have one value, also in place of its own columns."""
    own = {name: texts for name, texts in one.columns.items() if name.lower() not in values}
    more = {
        name: pa.chunked_array([pa.array([value] * one.rows, _TEXT)])
        for name, value in values.items()
    }
    return replace(one, columns=own | more)


def joined_sample(objects: Sequence[SampledObject]) -> Sample:
    """The sample of all objects; columns in the order in which the objects have them."""
    by_folded: dict[str, str] = {}
    for one in objects:
        headers = list(one.columns)
        folded = [header.strip().casefold() for header in headers]
        for header, name in zip(headers, folded, strict=True):
            by_folded.setdefault(header if folded.count(name) > 1 else name, header)
    columns = []
    for name, header in by_folded.items():
        chunks = [_column_of(one, name) for one in objects]
        texts = [
            pa.chunked_array([pa.nulls(one.rows, _TEXT)]) if chunk is None else chunk
            for one, chunk in zip(objects, chunks, strict=True)
        ]
        whole = pa.chunked_array([piece for one in texts for piece in one.chunks], _TEXT)
        is_float = any(header in one.head.floats for one in objects)
        columns.append(SampledColumn(header, whole, None not in chunks, is_float))
    return Sample(
        tuple(columns),
        tuple(one.rows for one in objects),
        tuple(one.key for one in objects),
        tuple(one.lines for one in objects),
    )


def _column_of(one: SampledObject, name: str) -> pa.ChunkedArray | None:
    if name in one.columns:
        return one.columns[name]
    found = [header for header in one.columns if header.strip().casefold() == name]
    return one.columns[found[0]] if len(found) == 1 else None


def _columns(whole: Extract, head: Head) -> dict[str, pa.ChunkedArray]:
    """The added columns, which are in lower case, and those in _extra, by their headers."""
    spelled = {one.strip().lower(): one for one in reversed(head.names)}  # the first is the added
    own = {SOURCE_KEY, SOURCE_LINE, EXTRA}
    found = {
        spelled.get(name, name): whole.rows[name].cast(_TEXT)
        for name in whole.rows.column_names
        if name not in own
    }
    found |= _extra_columns(whole.rows[EXTRA])
    blank = pa.chunked_array([pa.nulls(len(whole.rows), _TEXT)])
    known = {name: found.get(name, blank) for name in head.names if head.has_all or name in found}
    return known | found


def _extra_columns(extra: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
    if extra.null_count == len(extra):
        return {}
    rows = [{} if text is None else json.loads(text) for text in extra.to_pylist()]
    names = dict.fromkeys(name for row in rows for name in row)
    return {
        name: pa.chunked_array([pa.array([_text(row.get(name)) for row in rows], _TEXT)])
        for name in names
    }


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    return json.dumps(value, ensure_ascii=False)
