"""Files of a few rows in every format and compression, written without the readers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum, auto
from itertools import zip_longest

import pyarrow as pa
import pyarrow.parquet as pq

from etl.model.formats import Compression
from tests.compressed import compressed
from tests.workbooks import workbook

Cells = Sequence[str]
Table = tuple[Cells, Sequence[Cells]]  # header and rows


class Form(Enum):
    """How the cells of a file are written."""

    TEXT = auto()  # each as a text
    TYPED = auto()  # numbers and nulls as such, in the formats that have them
    CUT = auto()  # as texts, in a file that lacks its second half


def _delimited(delimiter: str) -> Callable[[Cells, Sequence[Cells], bool], bytes]:
    def write(header: Cells, rows: Sequence[Cells], _is_typed: bool) -> bytes:  # noqa: FBT001
        buffer = io.StringIO(newline="")
        csv.writer(buffer, delimiter=delimiter, lineterminator="\n").writerows([header, *rows])
        return buffer.getvalue().encode()

    return write


def _ndjson(header: Cells, rows: Sequence[Cells], is_typed: bool) -> bytes:  # noqa: FBT001
    return "".join(f"{one}\n" for one in _objects(header, rows, is_typed)).encode()


def _json(header: Cells, rows: Sequence[Cells], is_typed: bool) -> bytes:  # noqa: FBT001
    return f"[{','.join(_objects(header, rows, is_typed))}]".encode()


def _objects(header: Cells, rows: Sequence[Cells], is_typed: bool) -> list[str]:  # noqa: FBT001
    """A short row is an object without its last members."""
    read = _value if is_typed else str
    return [json.dumps(dict(zip(header, map(read, row), strict=False))) for row in rows]


def _parquet(header: Cells, rows: Sequence[Cells], is_typed: bool) -> bytes:  # noqa: FBT001
    """A short row lacks the values of its last columns; a column with a text is one of texts."""
    columns = list(zip_longest(*(row[: len(header)] for row in rows)))
    columns += [(None,) * len(rows)] * (len(header) - len(columns))
    arrays = [pa.array(column, pa.string()) for column in columns]
    if is_typed:
        arrays = [_typed_column(column) for column in columns]
    sink = io.BytesIO()
    pq.write_table(pa.table(arrays, names=list(header)), sink)
    return sink.getvalue()


def _typed_column(column: Sequence[str | None]) -> pa.Array:
    values = [None if cell is None else _value(cell) for cell in column]
    has_text = any(isinstance(one, str) for one in values)
    return pa.array(column, pa.string()) if has_text else pa.array(values, from_pandas=True)


def _xlsx(header: Cells, rows: Sequence[Cells], is_typed: bool) -> bytes:  # noqa: FBT001
    read = _value if is_typed else str
    return workbook([header, *(list(map(read, row)) for row in rows)])


def _value(cell: str) -> str | float | None:
    for read in (int, float):
        with suppress(ValueError):
            return read(cell)
    return cell or None


_WRITERS = {
    "csv": _delimited(","),
    "tsv": _delimited("\t"),
    "ndjson": _ndjson,
    "jsonl": _ndjson,
    "json": _json,
    "parquet": _parquet,
    "xlsx": _xlsx,
}
COMPRESSIONS = ("", *(f".{one}" for one in Compression))
PLAIN_ENDINGS = (".csv", ".tsv")  # of the files that presets read
ENDINGS = tuple(f".{name}{packed}" for name in _WRITERS for packed in COMPRESSIONS)


def patterns(folder: str) -> tuple[str, ...]:
    """Patterns of the files in a folder, in every format and compression."""
    names = ",".join(_WRITERS)
    packed = ",".join(Compression)
    return f"{folder}/*.{{{names}}}", f"{folder}/*.{{{names}}}.{{{packed}}}"


def ending_of(key: str) -> str:
    """What of the key tells the format and the compression."""
    return next(one for one in ENDINGS if key.endswith(one))


def encoded(key: str, header: Cells, rows: Sequence[Cells], form: Form = Form.TEXT) -> bytes:
    """The content of a file, in the format and compression of its key."""
    _, name, *packed = ending_of(key).split(".")
    content = _WRITERS[name](header, rows, form is Form.TYPED)
    if packed:
        content = compressed(content, Compression(packed[0]))
    return content[: len(content) // 2] if form is Form.CUT else content
