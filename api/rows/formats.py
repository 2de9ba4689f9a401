"""The response formats of GET /data: how to choose one, and how to encode COPY output in it.

PostgreSQL writes the JSON. COPY does not escape it a second time, because the quote and
delimiter below are control characters, which JSON never contains. JSON contains no newline
either, so each line is one user.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_options_header

from api.http.errors import NotAcceptable
from api.rows.fields import ID, json_object, json_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_JSON_LINES = r"FORMAT csv, ENCODING 'UTF8', QUOTE e'\x01', DELIMITER e'\x02', ESCAPE e'\x01'"
_CSV = "FORMAT csv, ENCODING 'UTF8', HEADER"
_CSV_ROW = re.compile(rb'(?:[^"\n]+|"[^"]*")*\n')


@dataclass(frozen=True, slots=True)
class Format:
    """One format: the columns and options of COPY, and how to encode its output.

    `expressions` returns the SQL of a row's columns. `cut` takes the complete COPY output and
    a limit; it returns where that many rows end and the last user_id, or None on the last page.
    """

    name: str
    mimetype: str
    copy_options: str
    expressions: Callable[[Sequence[str]], list[str]]
    cut: Callable[[bytes, int], tuple[int, str | None]]
    encode: Callable[[Iterator[bytes], Sequence[str]], Iterable[bytes]]
    is_compressed: bool = False


# -- selection


def choose(name: str | None, accept: MIMEAccept) -> Format:
    """The format with the given name, otherwise the one that Accept prefers; JSON by default.

    Raises:  NotAcceptable when the header allows none.
    """
    if name is not None:
        return FORMATS[name]
    if not accept:
        return FORMATS["json"]
    ranges = MIMEAccept([(_without_utf8(one), quality) for one, quality in accept])
    best = max(FORMATS.values(), key=lambda kind: ranges.quality(kind.mimetype))
    if not ranges.quality(best.mimetype):
        raise NotAcceptable([kind.mimetype for kind in FORMATS.values()])
    return best


def _without_utf8(media_range: str) -> str:
    """The media range without `charset=utf-8`, which all text formats use anyway."""
    mimetype, parameters = parse_options_header(media_range)
    is_utf8 = {name: value.lower() for name, value in parameters.items()} == {"charset": "utf-8"}
    return mimetype if is_utf8 else media_range


# -- JSON


def _member(columns: Sequence[str]) -> list[str]:
    return [f"{json_value(ID)} || {json_object(columns[1:], before=':', after=',')}"]


def _line(columns: Sequence[str]) -> list[str]:
    return [json_object(columns)]


def _enclose(chunks: Iterator[bytes], _columns: Sequence[str]) -> Iterator[bytes]:
    """Encode one JSON object from its members, each of which ends with a comma and a newline."""
    buffered = b"{"
    for chunk in chunks:
        if len(chunk) > len(",\n"):
            yield buffered
            buffered = chunk
        else:
            buffered += chunk
    yield buffered.removesuffix(b",\n") + b"}\n"


def _unchanged(chunks: Iterator[bytes], _columns: Sequence[str]) -> Iterator[bytes]:
    return chunks


def _cut_members(text: bytes, limit: int) -> tuple[int, str | None]:
    end, last = _cut_lines(text, limit)
    return end, last and json.JSONDecoder().raw_decode(last)[0]


def _cut_objects(text: bytes, limit: int) -> tuple[int, str | None]:
    end, last = _cut_lines(text, limit)
    return end, last and json.loads(last)[ID]


def _cut_lines(text: bytes, limit: int) -> tuple[int, str | None]:
    """Drop the last line if there are more lines than the limit."""
    if text.count(b"\n") <= limit:
        return len(text), None
    end = text.rindex(b"\n", 0, -1)
    return end + 1, text[text.rfind(b"\n", 0, end) + 1 : end].decode()


# -- CSV, and the columnar formats encoded from it


def _cells(columns: Sequence[str]) -> list[str]:
    return [f"chosen.{name}" for name in columns]


def _cut_rows(text: bytes, limit: int) -> tuple[int, str | None]:
    rows = [match.span() for match in _CSV_ROW.finditer(text)]
    if len(rows) <= 1 + limit:  # one is the header
        return len(text), None
    start, end = rows[limit]
    return end, next(csv.reader(io.StringIO(text[start:end].decode(), newline="")))[0]


def _to_parquet(chunks: Iterator[bytes], columns: Sequence[str]) -> Iterator[bytes]:
    from api.rows import columnar

    return columnar.parquet(chunks, columns)


def _to_arrow(chunks: Iterator[bytes], columns: Sequence[str]) -> Iterator[bytes]:
    from api.rows import columnar

    return columnar.arrow_stream(chunks, columns)


FORMATS = {
    kind.name: kind
    for kind in (
        Format("json", "application/json", _JSON_LINES, _member, _cut_members, _enclose),
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
}
