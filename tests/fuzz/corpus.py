"""Datasets, and valid files of them in every format, from which damaged ones are made."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from openpyxl import Workbook

from etl.model.dataset import (
    USERS,
    Dataset,
    Dialect,
    Field,
    FieldType,
    ShortRows,
    UnknownColumns,
)
from tests.any_files import (
    ARROW_COLUMNS,
    CELLS,
    LINES,
    OTHER_NAMES,
    TEXTS,
    TEXTS_OF_KEYS,
    TYPED,
    VALUES,
)
from tests.fuzz.containers import ParquetSample, parts_of, zip_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

_TIME_SAVED = re.compile(rb"[0-9T:-]{19}Z")

_VALID: dict[FieldType, tuple[str, ...]] = {
    FieldType.STRING: ("a", "b", "ab"),
    FieldType.INTEGER: ("0", "7", "99"),
    FieldType.NUMBER: ("7", "12"),
    FieldType.DATE: ("2024-02-29", "2001-01-01"),
    FieldType.TIME: ("10:20", "10:20:30.5"),
    FieldType.DATETIME: ("2024-05-03T10:00", "2024-05-03"),
    FieldType.YEAR: ("2024",),
    FieldType.OBJECT: ("{}", '{"a": [1]}'),
    FieldType.ARRAY: ("[]", '["a"]'),
    FieldType.ANY: ("1", "[1]", "null"),
    FieldType.EPOCH_MS: ("0", "612302400000"),
}
_FORMATTED = {
    "%d.%m.%Y": ("29.02.2024", "01.02.2003"),
    "%d.%m.%Y %H:%M:%S": ("03.05.2024 10:20:30",),
}
_PARQUET_OPTIONS: tuple[dict[str, Any], ...] = (
    {"compression": "none"},
    {"compression": "none", "use_dictionary": False},
    {"compression": "snappy", "row_group_size": 2},
    {"compression": "zstd", "data_page_version": "2.0", "write_page_index": True},
    {"compression": "gzip", "data_page_size": 20},
    {"compression": "none", "store_schema": False, "use_deprecated_int96_timestamps": True},
    {"compression": "lz4", "write_page_checksum": True},
    {"compression": "brotli", "data_page_version": "2.0"},
)


@dataclass(frozen=True)
class Sample:
    """A dataset, and a valid file of it; `parquet` and `parts` are the file in its structure."""

    dataset: Dataset
    content: bytes
    parquet: ParquetSample | None = None
    parts: dict[str, bytes] | None = None


def datasets(rnd: Random, count: int, member: str | None = None) -> list[Dataset]:
    """Datasets with fields of any type, and any rules for their files; the first is `users`."""
    return [USERS, *(_dataset(rnd, member) for _ in range(count - 1))]


def _dataset(rnd: Random, member: str | None) -> Dataset:
    chosen = [replace(one, name=f"f{n}") for n, one in enumerate(rnd.choices(TYPED, k=4))]
    fields = [chosen[0], *(replace(one, aliases=()) for one in chosen[1 : rnd.randint(1, 4)])]
    has_key = rnd.random() < 0.5
    place = rnd.randint(0, len(fields))
    key = [Field(name="id")] if has_key else []
    dialects = (Dialect(), Dialect(), Dialect(delimiter=";", quote_char="'"), Dialect(header_row=2))
    return Dataset(
        name="some",
        table="some",
        include=("**",),
        fields=(*fields[:place], *key, *fields[place:]),
        primary_key=("id",) if has_key else (),
        prefer=rnd.choice((None, "f0")) if has_key else None,
        missing_values=rnd.choice((("",), ("", "NULL"), ("-",))),
        unknown_columns=rnd.choice(tuple(UnknownColumns)),
        short_rows=rnd.choice(tuple(ShortRows)),
        refuse_object_above=Fraction(rnd.choice(("1", "1", "1/2", "0"))),
        dialect=Dialect(member=member) if member is not None else rnd.choice(dialects),
        path_columns=rnd.choice((None, None, "in/{site}/*", "*/{f0}/**")),
    )


def valid_text(one: Field, rnd: Random) -> str:
    """A text that the field reads, as a rule."""
    if one.format in _FORMATTED:
        return rnd.choice(_FORMATTED[one.format])
    if one.type is FieldType.BOOLEAN:
        return rnd.choice((*one.true_values, *one.false_values))
    if one.type is FieldType.NUMBER:
        return rnd.choice((*_VALID[one.type], f"1{one.decimal_char}5"))
    return rnd.choice(_VALID[one.type])


def _text(one: Field, rnd: Random) -> str:
    if rnd.random() < 0.85:
        return f"k{rnd.randrange(30)}" if one.name in {"id", "user_id"} else valid_text(one, rnd)
    return rnd.choice(TEXTS_OF_KEYS if one.name == "id" else TEXTS)


def _columns(dataset: Dataset, rnd: Random) -> list[Field]:
    """The fields of the dataset, and some columns that it does not declare."""
    others = rnd.choice(((), (), OTHER_NAMES))
    found = [
        *dataset.fields,
        *(Field(name=name) for name in rnd.sample(others, min(2, len(others)))),
    ]
    if rnd.random() < 0.3:
        rnd.shuffle(found)
    return found


def csv_of(dataset: Dataset, rnd: Random, delimiter: str | None = None) -> bytes:
    """A file with lines under a header."""
    delimiter = delimiter or dataset.dialect.delimiter or rnd.choice((",", ",", ";", "\t", "|"))
    quote = dataset.dialect.quote_char
    columns = _columns(dataset, rnd)
    rows = [[_text(one, rnd) for one in columns] for _ in range(rnd.randint(1, 8))]
    lines = [["Title"]] * (dataset.dialect.header_row - 1) + [[one.name for one in columns], *rows]

    def written(cell: str) -> str:
        if any(sign in cell for sign in (delimiter, quote, "\n")) or rnd.random() < 0.1:
            return f"{quote}{cell.replace(quote, quote * 2)}{quote}"
        return cell

    end = rnd.choice(("\n", "\n", "\r\n", "\r"))
    return end.join(delimiter.join(map(written, line)) for line in lines).encode()


def _json_value(one: Field, rnd: Random) -> str:
    if rnd.random() < 0.15:
        return rnd.choice(VALUES)
    text = _text(one, rnd)
    plain = {FieldType.INTEGER, FieldType.NUMBER, FieldType.OBJECT, FieldType.ANY, FieldType.YEAR}
    is_plain = one.type in plain and rnd.random() < 0.8 and text.isascii()
    return text if is_plain and "," not in text else json.dumps(text)


def json_rows(dataset: Dataset, rnd: Random) -> list[bytes]:
    """Objects, and now and then something else."""
    rows = []
    for _ in range(rnd.randint(1, 8)):
        if rnd.random() < 0.05:
            rows.append(rnd.choice(LINES))
            continue
        columns = _columns(dataset, rnd)
        pairs = (f"{json.dumps(one.name)}:{_json_value(one, rnd)}" for one in columns)
        rows.append(f"{{{','.join(pairs)}}}".encode())
    return rows


def ndjson_of(dataset: Dataset, rnd: Random) -> bytes:
    """A file with an object on each line."""
    return rnd.choice((b"\n", b"\r\n")).join(json_rows(dataset, rnd))


def json_of(dataset: Dataset, rnd: Random) -> bytes:
    """An array of objects, one object, or an array in a member."""
    rows = json_rows(dataset, rnd)
    array = b"[" + b",\n".join(rows) + b"]"
    if dataset.dialect.member is None:
        return rnd.choice((array, array, rows[0]))
    name = json.dumps(dataset.dialect.member).encode()
    before = rnd.choice((b"", b'"next":null,', b'"meta":{"data":[{}],"n":[1,"]"]},'))
    after = rnd.choice((b"", b',"count":2', b',"a":"\\"}"'))
    return b"{" + before + name + b":" + array + after + b"}"


def parquet_of(dataset: Dataset, rnd: Random) -> bytes:
    """A file whose columns have any type of Arrow."""
    count = rnd.randint(1, 6)
    columns, names = [], []
    for one in _columns(dataset, rnd):
        type_, values = rnd.choice(ARROW_COLUMNS)
        if one.name in {"id", "user_id"}:
            type_, values = pa.string(), [f"k{n}" for n in range(9)]
        columns.append(pa.array([rnd.choice(values) for _ in range(count)], type_))
        names.append(one.name)
    sink = io.BytesIO()
    try:
        pq.write_table(pa.table(columns, names=names), sink, **rnd.choice(_PARQUET_OPTIONS))
    except (pa.ArrowException, OSError, ValueError):  # options that do not fit the types
        return parquet_of(dataset, rnd)
    return sink.getvalue()


def xlsx_of(dataset: Dataset, rnd: Random) -> bytes:
    """A workbook whose first sheet has the rows."""
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    columns = _columns(dataset, rnd)
    for _ in range(dataset.dialect.header_row - 1):
        sheet.append(["Title"])
    sheet.append([one.name for one in columns])
    for _ in range(rnd.randint(1, 6)):
        sheet.append([
            rnd.choice(CELLS) if rnd.random() < 0.4 else _text(one, rnd).replace("\0", "")
            for one in columns
        ])  # fmt: skip
    sink = io.BytesIO()
    book.save(sink)
    parts = parts_of(sink.getvalue())
    parts["docProps/core.xml"] = _TIME_SAVED.sub(
        b"2026-01-02T03:04:05Z", parts["docProps/core.xml"]
    )
    return zip_of(parts, rnd)  # whose records have no times either: a seed makes the same file


def samples(
    of: Callable[[Dataset, Random], bytes], known: Sequence[Dataset], rnd: Random, count: int
) -> list[Sample]:
    """Valid files of the datasets in turn."""
    return [
        Sample(dataset, of(dataset, rnd))
        for dataset in (known[place % len(known)] for place in range(count))
    ]


def with_structure(sample: Sample) -> Sample:
    """The sample of a Parquet file or a workbook with its structure."""
    if sample.content.startswith(b"PAR1"):
        return replace(sample, parquet=ParquetSample.of(sample.content))
    return replace(sample, parts=parts_of(sample.content))
