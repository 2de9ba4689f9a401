"""The beginning of a file: the row of its header, its delimiter, and names as they are spelled."""

from __future__ import annotations

import posixpath
import re
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
from pyarrow import parquet

from etl.model.errors import RefusedObject
from etl.model.formats import SourceFormat, content_size, format_of
from etl.read.csv.encoding import Transcoder, decode_lines
from etl.read.csv.header import read_header
from etl.read.describe.delimiter import cells_of, delimiter_and_header, header_after_titles
from etl.read.formats import expanded_parts
from etl.read.json.members import members_of
from etl.read.parquet import opening as parquet_file
from etl.read.rows.header import FileHeader
from etl.read.rows.layout import Layout
from etl.read.spool import spooled
from etl.read.xlsx import workbook as xlsx
from etl.read.xlsx.cells import CellTexts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from etl.model.dataset import Dataset
    from etl.model.values import SourceObject

    Parts = Callable[[], Iterable[bytes]]

_HEAD_BYTES = 64 * 1024
_HEAD_ROWS = 100
_ROWS = frozenset(  # usual names of the member with the rows
    {
        *("content", "data", "documents", "elements", "entities", "entries", "features", "hits"),
        *(
            "list",
            "objects",
            "payload",
            "records",
            "response",
            "result",
            "results",
            "rows",
            "value",
        ),
        *("values",),
    }
)
_JSON_NAME = re.compile(r'"([^"\\\x00-\x1f]+)"[ \t\r\n]*:')


class Head(NamedTuple):
    """What the beginning of a file tells.

    `names` are in the order of the file; with `has_all`, there are no others. `header_row` is the
    line or row of the header, from 1. `floats` are the columns that a typed format stores as
    floating-point numbers. `member` is the member of a JSON object that has the rows, `array` one
    that may have them.
    """

    names: tuple[str, ...] = ()
    has_all: bool = False
    delimiter: str = ""
    header_row: int = 1
    floats: frozenset[str] = frozenset()
    member: str | None = None
    array: str | None = None


def head_of(source: SourceObject, probe: Dataset, parts: Parts) -> Head:
    """The beginning of the file; empty if it cannot be read, which the reader reports."""
    found = format_of(probe, source.key)
    if found is None:
        return Head()
    try:
        if found.format is SourceFormat.XLSX:
            return _sheet_head(source, probe, parts)
        if found.format is SourceFormat.PARQUET:
            return _parquet_head(source, probe, parts)
        if found.format in {SourceFormat.NDJSON, SourceFormat.JSON}:
            return _json_head(source, probe, parts, is_lines=found.format is SourceFormat.NDJSON)
        return _csv_head(source, probe, parts, is_tsv=found.format is SourceFormat.TSV)
    except RefusedObject:
        return Head()


def _csv_head(source: SourceObject, probe: Dataset, parts: Parts, *, is_tsv: bool) -> Head:
    numbered = [
        (number, line.rstrip("\r\n"))
        for number, line in enumerate(_first_lines(source, probe, parts), 1)
        if line.strip()
    ]
    if not numbered:
        return Head()
    lines = [line for _, line in numbered]
    if is_tsv:
        delimiter, place = "\t", header_after_titles(cells_of(lines, "\t")) or 0
    else:
        delimiter, place = delimiter_and_header(lines)
    header = read_header(lines[place], Layout(probe, (), delimiter))
    names = header.columns if isinstance(header, FileHeader) else ()
    row = numbered[place][0] if place else 1
    return Head(names, has_all=True, delimiter=delimiter, header_row=row)


def _json_head(source: SourceObject, probe: Dataset, parts: Parts, *, is_lines: bool) -> Head:
    """The names in the first objects, also nested ones, and the member that has the rows.

    That is an array of objects that is called so, or that comes first.
    """
    text = "".join(_first_lines(source, probe, parts))
    head = Head(tuple(dict.fromkeys(_JSON_NAME.findall(text))))
    members = [] if is_lines else members_of(text.encode("utf-8", "surrogatepass"))
    arrays = [one.name for one in members if one.is_array]
    if not arrays:
        return head
    stem = posixpath.basename(source.key).partition(".")[0].casefold()
    called = [one for one in arrays if one.casefold() in {*_ROWS, stem}]
    first = arrays[:1] if members[0].is_array else []
    member = next(iter([*called, *first]), None)
    return head._replace(member=member, array=arrays[0])


def _parquet_head(source: SourceObject, probe: Dataset, parts: Parts) -> Head:
    with spooled(expanded_parts(source, probe, parts())) as content, parquet_file.faults():
        schema = parquet.read_schema(content)
        floats = frozenset(one.name for one in schema if pa.types.is_floating(one.type))
        return Head(tuple(schema.names), floats=floats)


def _sheet_head(source: SourceObject, probe: Dataset, parts: Parts) -> Head:
    sheet = xlsx.open_sheet(expanded_parts(source, probe, parts()), probe.sheet)
    with xlsx.faults():
        first = list(islice(sheet.rows(), _HEAD_ROWS))
    rows = [[text or "" for text in CellTexts(None).texts(row)[0]] for row in first]
    place = header_after_titles(rows) or 0
    names = rows[place] if rows else []
    spelled = tuple(name.strip() for name in names if name.strip())
    return Head(spelled, header_row=place + 1)


def _first_lines(source: SourceObject, probe: Dataset, parts: Parts) -> list[str]:
    """The first whole lines of a text, with their endings."""
    text = _first_text(source, probe, parts)
    lines = decode_lines(text).lines
    if len(text) >= _HEAD_BYTES and len(lines) > 1:
        lines.pop()  # it may be cut
    return lines


def _first_text(source: SourceObject, probe: Dataset, parts: Parts) -> bytes:
    transcoder = Transcoder(content_size(probe, source))
    text = b""
    for part in expanded_parts(source, probe, parts()):
        text += transcoder.transcode(part[:_HEAD_BYTES])
        if len(text) >= _HEAD_BYTES:
            return text
    return text + transcoder.transcode(b"", is_last=True)
