"""The response formats of rows: how to choose one, and how to encode COPY output in it.

PostgreSQL writes the JSON. COPY does not escape it a second time, because the quote and
delimiter below are control characters, which JSON never contains. JSON contains no newline
either, so each line is one row.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_options_header

from api.http.errors import NotAcceptable
from api.rows.columns import concatenated, json_object, sql_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from api.rows.columns import Column
    from api.rows.query import RowQuery

_JSON_LINES = r"FORMAT csv, ENCODING 'UTF8', QUOTE e'\x01', DELIMITER e'\x02', ESCAPE e'\x01'"
_CSV = "FORMAT csv, ENCODING 'UTF8', HEADER"
_CSV_ROW = re.compile(rb'(?:[^"\n]+|"[^"]*")*\n')
_CSV_CELL = re.compile(rb'(?:[^",\n]+|"[^"]*")*,')
_CURSOR = re.compile(rb"\x02[^\n]*")

Cursor = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Format:
    """One format: the columns and options of COPY, and how to encode its output.

    `expressions` returns the SQL of a row's columns, for a server with json_scalar() or not. `cut`
    takes the complete COPY output of a page with one row more than its limit; it returns the output
    of the page and the values that identify its last row, or None on the last page.
    """

    name: str
    mimetype: str
    copy_options: str
    expressions: Callable[[RowQuery, bool], list[str]]
    cut: Callable[[bytes, RowQuery], tuple[bytes, Cursor | None]]
    encode: Callable[[Iterator[bytes], Sequence[Column]], Iterable[bytes]]
    is_compressed: bool = False


# -- selection


def choose(
    name: str | None, accept: MIMEAccept, formats: Mapping[str, Format] | None = None
) -> Format:
    """The format with the given name, otherwise the one that Accept prefers; JSON by default.

    Raises:  NotAcceptable when the header allows none.
    """
    formats = formats or FORMATS
    if name is not None:
        return formats[name]
    if not accept:
        return formats["json"]
    ranges = MIMEAccept([(_without_utf8(one), quality) for one, quality in accept])
    best = max(formats.values(), key=lambda kind: ranges.quality(kind.mimetype))
    if not ranges.quality(best.mimetype):
        raise NotAcceptable([kind.mimetype for kind in formats.values()])
    return best


def _without_utf8(media_range: str) -> str:
    """The media range without `charset=utf-8`, which all text formats use anyway."""
    mimetype, parameters = parse_options_header(media_range)
    is_utf8 = {name: value.lower() for name, value in parameters.items()} == {"charset": "utf-8"}
    return mimetype if is_utf8 else media_range


# -- JSON


def _member(query: RowQuery, has_json_scalar: bool) -> list[str]:  # noqa: FBT001
    """A member of an object, whose name is the first column."""
    name, *columns = query.columns
    text = json_object(tuple(columns), ":", ",", has_json_scalar=has_json_scalar)
    return [concatenated([name.json(has_json_scalar=has_json_scalar), *text])]


def _line(query: RowQuery, has_json_scalar: bool, after: str = "") -> list[str]:  # noqa: FBT001
    """An object, and in a column of its own an array of what identifies the row."""
    text = json_object(query.columns, "", after, has_json_scalar=has_json_scalar)
    line = [concatenated(text)]
    if not query.has_cursor:
        return line
    values = [one.json(has_json_scalar=has_json_scalar) for one in query.cursor]
    parts = [part for value in values for part in (sql_text(","), value)][1:]
    return [*line, concatenated([sql_text("["), *parts, sql_text("]")])]


def _enclose(
    chunks: Iterator[bytes], _columns: Sequence[Column], brackets: bytes
) -> Iterator[bytes]:
    """Enclose members or elements, each of which ends with a comma and a newline."""
    buffered = brackets[:1]
    for chunk in chunks:
        if len(chunk) > len(",\n"):
            yield buffered
            buffered = chunk
        else:
            buffered += chunk
    yield buffered.removesuffix(b",\n") + brackets[1:] + b"\n"


def _unchanged(chunks: Iterator[bytes], _columns: Sequence[Column]) -> Iterator[bytes]:
    return chunks


def _cut_members(text: bytes, query: RowQuery) -> tuple[bytes, Cursor | None]:
    page, last = _cut_lines(text, query)
    return page, None if last is None else (json.JSONDecoder().raw_decode(last)[0],)


def _cut_objects(text: bytes, query: RowQuery) -> tuple[bytes, Cursor | None]:
    page, last = _cut_lines(text, query)
    if query.has_cursor:
        found = None if last is None else json.loads(last.partition("\2")[2], parse_float=Decimal)
        return _CURSOR.sub(b"", page), found and tuple(map(_plain, found))
    if last is None:
        return page, None
    row = json.loads(last.rstrip(","), parse_float=Decimal)
    return page, tuple(_plain(row[name]) for name in query.shape.identity)


def _plain(value: Any) -> str:  # noqa: ANN401 - any JSON scalar
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _cut_lines(text: bytes, query: RowQuery) -> tuple[bytes, str | None]:
    """Drop the last line if there are more lines than the limit."""
    if text.count(b"\n") <= (query.limit or 0):
        return text, None
    end = text.rindex(b"\n", 0, -1)
    return text[: end + 1], text[text.rfind(b"\n", 0, end) + 1 : end].decode()


# -- CSV, and the columnar formats encoded from it


def _cells(query: RowQuery, _has_json_scalar: bool) -> list[str]:  # noqa: FBT001
    return [one.cell for one in (*query.cursor, *query.columns)]


def _cut_rows(text: bytes, query: RowQuery) -> tuple[bytes, Cursor | None]:
    rows = [match.span() for match in _CSV_ROW.finditer(text)]
    limit, last = query.limit or 0, None
    if len(rows) > 1 + limit:  # one is the header
        start, end = rows[limit]
        cells = next(csv.reader(io.StringIO(text[start:end].decode(), newline="")))
        names = [one.name for one in (*query.cursor, *query.columns)]
        last = tuple(cells[names.index(name)] for name in query.shape.identity)
        text, rows = text[:end], rows[: 1 + limit]
    if not query.has_cursor:
        return text, last
    return b"".join(text[_start_of_fields(text, start, query) : end] for start, end in rows), last


def _start_of_fields(text: bytes, start: int, query: RowQuery) -> int:
    """Where the cells of a row begin that are part of the response."""
    for _ in query.cursor:
        match = _CSV_CELL.match(text, start)
        start = start if match is None else match.end()
    return start


def _to_parquet(chunks: Iterator[bytes], columns: Sequence[Column]) -> Iterator[bytes]:
    from api.rows import columnar

    return columnar.parquet(chunks, columns)


def _to_arrow(chunks: Iterator[bytes], columns: Sequence[Column]) -> Iterator[bytes]:
    from api.rows import columnar

    return columnar.arrow_stream(chunks, columns)


_JSON = "application/json"
_OBJECT = Format(
    "json", _JSON, _JSON_LINES, _member, _cut_members, partial(_enclose, brackets=b"{}")
)
_ARRAY = Format(
    "json",
    _JSON,
    _JSON_LINES,
    partial(_line, after=","),
    _cut_objects,
    partial(_enclose, brackets=b"[]"),
)
_OTHERS = (
    Format("ndjson", "application/x-ndjson", _JSON_LINES, _line, _cut_objects, _unchanged),
    Format("csv", "text/csv", _CSV, _cells, _cut_rows, _unchanged),
    Format(
        "parquet",
        "application/vnd.apache.parquet",
        _CSV,
        _cells,
        _cut_rows,
        _to_parquet,
        is_compressed=True,
    ),
    Format("arrow", "application/vnd.apache.arrow.stream", _CSV, _cells, _cut_rows, _to_arrow),
)

# JSON is an object with a member per user, or an array of rows.
FORMATS = {kind.name: kind for kind in (_OBJECT, *_OTHERS)}
ROW_FORMATS = {kind.name: kind for kind in (_ARRAY, *_OTHERS)}
