"""Strategies: datasets with any declaration, and files of them in any format."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st
from openpyxl import Workbook

from etl.model.dataset import (
    Constraints,
    Dataset,
    Dialect,
    Field,
    FieldType,
    ShortRows,
    UnknownColumns,
)

GERMAN: dict[str, Any] = {"decimal_char": ",", "group_char": "."}
BERLIN: dict[str, Any] = {"timezone": "Europe/Berlin"}
TYPED = [
    Field(name="f", aliases=("Eff", "F two")),
    Field(name="f", constraints=Constraints(required=True, max_length=3, pattern="[a-z]+")),
    Field(name="f", trim=False),
    Field(name="f", sql="varchar(2)", missing_values=("-", "NULL")),
    Field(name="f", constraints=Constraints(enum=("a", "b"), min_length=1)),
    Field(name="f", type=FieldType.INTEGER, constraints=Constraints(minimum=0, maximum=99)),
    Field(name="f", type=FieldType.INTEGER, sql="smallint", group_char="."),
    Field(name="f", type=FieldType.NUMBER, sql="numeric(6,2)"),
    Field(name="f", type=FieldType.NUMBER, **GERMAN),
    Field(
        name="f",
        type=FieldType.NUMBER,
        sql="double precision",
        constraints=Constraints(exclusive_minimum=Decimal(0)),
    ),
    Field(name="f", type=FieldType.NUMBER, sql="real"),
    Field(name="f", type=FieldType.BOOLEAN, true_values=("ja",), false_values=("nein", "0")),
    Field(name="f", type=FieldType.DATE, constraints=Constraints(minimum=date(2000, 1, 1))),
    Field(name="f", type=FieldType.DATE, format="%d.%m.%Y"),
    Field(name="f", type=FieldType.TIME),
    Field(name="f", type=FieldType.DATETIME, **BERLIN),
    Field(name="f", type=FieldType.DATETIME, format="%d.%m.%Y %H:%M:%S", **BERLIN),
    Field(name="f", type=FieldType.YEAR),
    Field(name="f", type=FieldType.OBJECT),
    Field(name="f", type=FieldType.ANY, constraints=Constraints(required=True)),
    Field(name="f", type=FieldType.EPOCH_MS),
]
TEXTS = [
    *("", " ", "a", "b", "abc", "abcd", "A", "-", "NULL", "\u00e9", " a ", "a,b"),
    *("a;b", '"', "x\ny"),
    *("0", "7", "-7", "99", "100", "32768", "1.5", "1,5", "1.234", "1.234,5", "1.23", "12.50"),
    *("12.505", "99999.99", "1e3", "1e400", "NaN", "inf", "0.1", "ja", "nein", "true"),
    *("2024-02-29", "2023-02-29", "1999-12-31", "29.02.2024", "9.2.2024", "30.02.2024"),
    *("10:20", "10:20:30.5", "24:00", "2024-03-31T02:30", "2024-10-27T02:30:00"),
    "2024-05-03T10:00Z",
    *("31.03.2024 02:30:00", "27.10.2024 02:30:00", "3.5.2024 1:2:3", "2024", "0000", "24"),
    *("{}", '{"a": [1]}', '{"a":1,"a":2}', "[1]", "null", "x" * 10_001, "\0", "612302400000"),
]  # fmt: skip
TEXTS_OF_KEYS = ["1", "2", "k", "", " 1 ", "x" * 1_025]


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    """A dataset with up to three fields of any type, and any rules for its files."""
    chosen = draw(st.lists(st.sampled_from(TYPED), min_size=1, max_size=3))
    fields = [replace(one, name=f"f{n}") for n, one in enumerate(chosen)]
    if len(fields) > 1:
        fields[1:] = [replace(one, aliases=()) for one in fields[1:]]
    has_key = draw(st.booleans())
    key = [Field(name="id")] if has_key else []
    place = draw(st.integers(0, len(fields)))
    return Dataset(
        name="some",
        table="some",
        include=("**",),
        fields=(*fields[:place], *key, *fields[place:]),
        primary_key=("id",) if has_key else (),
        prefer=draw(st.sampled_from([None, "f0"])) if has_key else None,
        missing_values=draw(st.sampled_from([("",), ("", "NULL"), ("-",)])),
        unknown_columns=draw(st.sampled_from(UnknownColumns)),
        short_rows=draw(st.sampled_from(ShortRows)),
        refuse_object_above=Fraction(draw(st.sampled_from(["1", "1", "1/2", "0"]))),
        dialect=draw(
            st.sampled_from(
                [Dialect(), Dialect(delimiter=";", quote_char="'"), Dialect(member="data")]
            )
        ),
        path_columns=draw(st.sampled_from([None, None, "in/{site}/*", "*/{f0}/**"])),
    )


@st.composite
def csv_files(draw: st.DrawFn, dataset: Dataset) -> bytes:
    """A file with most columns of the dataset and some others, in any order."""
    delimiter = dataset.dialect.delimiter or draw(st.sampled_from(",;\t|"))
    quote = dataset.dialect.quote_char
    columns = list(dataset.field_names)
    if draw(st.booleans()):
        columns += draw(
            st.lists(st.sampled_from(["City", "city", "", "_x", "site", "x" * 64]), max_size=2)
        )
    if draw(st.integers(0, 4)) == 0:
        columns.pop(draw(st.integers(0, len(columns) - 1)))
    columns = draw(st.permutations(columns))
    heads = draw(st.sampled_from([columns, columns, [one.upper() for one in columns]]))
    lines = [heads, *draw(st.lists(rows(columns, heads), max_size=6))]
    written = (delimiter.join(_written(cell, delimiter, quote) for cell in line) for line in lines)
    return draw(st.sampled_from(["\n", "\r\n"])).join(written).encode()


@st.composite
def rows(draw: st.DrawFn, columns: list[str], heads: list[str]) -> list[str]:
    if draw(st.integers(0, 15)) == 0:
        return heads
    texts = st.sampled_from(TEXTS)
    cells = [draw(st.sampled_from(TEXTS_OF_KEYS) if name == "id" else texts) for name in columns]
    cut = draw(st.sampled_from([0, 0, 0, 0, 1, 2, -1]))
    return [*cells, "x"] if cut < 0 else cells[: max(1, len(cells) - cut)]


def _written(cell: str, delimiter: str, quote: str) -> str:
    if any(sign in cell for sign in (delimiter, quote, "\n")):
        return f"{quote}{cell.replace(quote, quote * 2)}{quote}"
    return cell


OTHER_NAMES = ["City", "city", " City", "", "_x", "site", "x" * 64, "tableoid"]
VALUES = [
    *map(json.dumps, TEXTS),
    *("null", "true", "false", "0", "-0", "1", "7", "-7", "99", "100", "32768", "1.5", "-0.0"),
    *("1.0", "7.00", "1e3", "15e-1", "1E400", "1e-7", "12345678901234567890", "9007199254740993"),
    *("0.1", "99999.99", "1.234", "2024", "2024.0", "612302400000", "6.123024e11", "1e999999999"),
    *("{}", "[]", '{"a": [1, 1.10, null]}', '["a", true]', '{"a":1,"a":2}', '[{"b": 1, "b": 1}]'),
    *(r'"\u0000"', r'["\u0000"]', r'"\ud83d\ude00"', r'"\ud800"', r'{"\udc00": 1}', '"\ufeff"'),
    *("NaN", "-Infinity", "[" * 199 + "]" * 199, "[" * 200 + "]" * 200),
    *("9" * 400, "0." + "1" * 400, '" 7 "', '"1\\n2"', "1" * 2_700),
]
LINES = [
    *(b"", b" ", b"\t\x0b", b"{}", b"[]", b"[{}]", b"{", b"}", b"1", b"null", b'"a"', b"NaN"),
    *(b'{"f0": 1}{"f0": 2}', b'{"f0": 1, "F0": 2}', b'{"f0": 1, "f0": 2}', b'{"f0": 1,}'),
    *(b'{"City": 1, "city": 2}', b'{"f0": "\xe9"}', b'\xef\xbb\xbf{"f0": "a"}', b"\xef\xbb\xbf"),
    *(b"{'f0': 1}", b'{"f0": 01}', b'{"f0": .5}', b'{"f0": "a\tb"}', b'{"f0": "\x00"}'),
    *(b'{"\\u0000": 1}', b'{"\\ud800": 1}', b'{"f0": "a",\r"id": "1"}', b'{"id": "1"} x', b"\\]"),
]


@st.composite
def json_objects(draw: st.DrawFn, dataset: Dataset) -> bytes:
    """A row: an object with most columns of the dataset and some others, or something else."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from(LINES))
    names = [*dataset.field_names]
    if draw(st.booleans()):
        names += draw(st.lists(st.sampled_from(OTHER_NAMES), max_size=2))
    if draw(st.integers(0, 4)) == 0:
        names.pop(draw(st.integers(0, len(names) - 1)))
    written = st.sampled_from(VALUES)
    members = [
        f"{json.dumps(draw(_cased(name)))}: "
        f"{json.dumps(draw(st.sampled_from(TEXTS_OF_KEYS))) if name == 'id' else draw(written)}"
        for name in names
    ]
    return f"{{{', '.join(members)}}}".encode()


def _cased(name: str) -> st.SearchStrategy[str]:
    return st.sampled_from([name, name, name, name.upper(), f" {name}"])


@st.composite
def ndjson_files(draw: st.DrawFn, dataset: Dataset) -> bytes:
    """A file with objects on most lines."""
    lines = draw(st.lists(json_objects(dataset), max_size=6))
    content = draw(st.sampled_from([b"\n", b"\r\n"])).join(lines)
    return _encoded(draw, content + draw(st.sampled_from([b"", b"\n"])))


@st.composite
def json_files(draw: st.DrawFn, dataset: Dataset) -> bytes:
    """An array of objects, also in a member, one object, or something that is neither."""
    member = dataset.dialect.member
    elements = draw(st.lists(json_objects(dataset), max_size=6))
    array = b"[" + b",\n".join(elements) + b"]"
    content = draw(
        st.sampled_from([array, array, array, array + b"x", array[:-1], b"".join(elements)])
    )
    if member is not None and draw(st.integers(0, 9)):
        content = draw(_objects_around(content))
    return _encoded(draw, content)


OTHER_MEMBERS = [
    *(b'"next": null', b'"meta": {"data": [{}], "n": [1, "]"]}', b'"data": null', b'"a": "\\"}"'),
    *(
        b'"a": [}',
        b'"a": 1 2',
        b'"a"',
        b'"a":',
        b"",
        b"a: 1",
        b'"\\x": 1',
        b'"\xe9": 1',
        b'"a": \\"',
    ),
    *(b'"a": \\]', b'"data": [{"f0": "z"}]', b"'a': 1", b'"\\ud800": {}', b'"a": 1]'),
]
NAMES_OF_MEMBER = [b'"data"', b'"data"', b'"data" ', b'"d\\u0061ta"', b'"Data"', b"data"]


@st.composite
def _objects_around(draw: st.DrawFn, array: bytes) -> bytes:
    """An object with the array in its member, and others around it."""
    others = st.lists(st.sampled_from(OTHER_MEMBERS[:2] * 4 + OTHER_MEMBERS), max_size=2)
    rows = draw(st.sampled_from(NAMES_OF_MEMBER)) + b":" + array
    end = draw(st.sampled_from([b"}", b"}", b"}", b"} ", b"}x", b"", b"]"]))
    return b"{" + b", ".join([*draw(others), rows, *draw(others)]) + end


def _encoded(draw: st.DrawFn, content: bytes) -> bytes:
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16"]))
    try:
        return content if encoding == "utf-8" else content.decode().encode(encoding)
    except UnicodeDecodeError:
        return content


def _column(type_: pa.DataType, *values: object) -> tuple[pa.DataType, list[object]]:
    return type_, [None, *values]


_INSTANTS = [0, 1, -1, 1_711_848_600, 1_729_989_000, 1_577_836_800, 86_400, 10**15]
_FLOATS = [
    0.0,
    -0.0,
    1.0,
    1e10,
    612302400000.0,
    7.5,
    0.1,
    1e-7,
    1e-6,
    1.25e-5,
    2024.0,
    1e14,
    2.0**53 - 1,
    2.0**53,
]
_FLOATS += [1e16, 1e22, 1.5e300, 5e-324, 12.505, 99999.99, *map(float, ("nan", "inf", "-inf"))]
_DECIMALS = [
    Decimal(one).scaleb(-3) for one in (0, 1, -7_000, 1_234, 12_500, 99_999_990, 10**15, 10**30)
]
_BYTES = [one.encode("utf-8", "replace") for one in TEXTS] + [
    b"\xff",
    b"\x00a",
    b"0123456789abcdef",
]
ARROW_COLUMNS = [
    _column(pa.string(), *TEXTS),
    _column(pa.string(), *TEXTS),
    _column(pa.large_string(), *TEXTS),
    _column(pa.dictionary(pa.int32(), pa.string()), "a", "b", " a ", "7"),
    _column(pa.binary(), *_BYTES),
    _column(pa.binary(16), b"0123456789abcdef", b"\xff" * 16),
    _column(pa.bool_(), *(True, False)),
    _column(pa.int8(), 0, 1, 7, -7, 99, 100),
    _column(pa.int64(), 0, 1, 2024, 32768, 2**53 + 1, -(2**63), 612302400000),
    _column(pa.uint64(), 0, 99, 2**63, 2**64 - 1),
    _column(pa.float64(), *_FLOATS),
    _column(pa.float32(), *(one for one in _FLOATS if not 1e38 < one < 1e301)),
    _column(pa.float16(), 0.0, 1.0, 7.5, 0.1, 2048.0, 2047.0, 65504.0, float("nan")),
    _column(pa.decimal128(38, 3), *_DECIMALS),
    _column(pa.decimal128(5, 0), Decimal(7), Decimal(2024)),
    _column(pa.decimal256(76, 20), Decimal("1e-20"), Decimal("-1.5"), Decimal(7)),
    _column(pa.date32(), date(2024, 2, 29), date(1999, 12, 31), date(1, 1, 1), date(9999, 12, 31)),
    _column(pa.timestamp("s"), *_INSTANTS[:-1]),
    *(_column(pa.timestamp(unit), *_INSTANTS) for unit in ("ms", "us", "ns")),
    _column(pa.timestamp("us"), *(1_000_000 * one for one in _INSTANTS if abs(one) < 10**12)),
    _column(pa.timestamp("us", "UTC"), *(1_000_000 * one for one in _INSTANTS if one < 10**12)),
    _column(pa.timestamp("ms", "Europe/Berlin"), 0, 1, 10**17),
    _column(pa.time32("ms"), 0, 1, 86_399_999),
    _column(pa.time64("ns"), 0, 1, 1_000, 86_399_999_999_000),
    _column(pa.duration("ms"), 0, 1, -1, 86_400_000, 1_500),
    _column(pa.list_(pa.string()), [], ["a", None, '"'], ["\0"]),
    _column(pa.list_(pa.float64()), [1.0, float("nan"), 0.1], [None]),
    _column(pa.struct([("bb", pa.int64()), ("a", pa.date32())]), {"bb": 1, "a": date(2024, 1, 1)}),
    _column(pa.struct([("a", pa.list_(pa.bool_()))]), {"a": [True]}, {"a": None}),
    _column(pa.map_(pa.string(), pa.decimal128(5, 2)), [("k", Decimal("1.50"))], [], [("k", None)]),
    _column(pa.map_(pa.string(), pa.int8()), [("k", 1), ("k", 2)], [("k", 1)], [("k\0", 1)]),
    _column(pa.list_(pa.map_(pa.float32(), pa.null())), [[(1, None), (1, None)]], [[(1, None)]]),
    _column(pa.null()),
]


@st.composite
def parquet_files(draw: st.DrawFn, dataset: Dataset) -> bytes:
    """A file with most columns of the dataset and some others, of any type."""
    names = [*dataset.field_names]
    if draw(st.booleans()):
        names += draw(st.lists(st.sampled_from([*OTHER_NAMES, "__index_level_0__"]), max_size=2))
    if draw(st.integers(0, 4)) == 0:
        names.pop(draw(st.integers(0, len(names) - 1)))
    count = draw(st.integers(0, 5))
    columns = []
    for name in names:
        type_, values = draw(st.sampled_from(ARROW_COLUMNS))
        if name == "id":
            type_, values = pa.string(), TEXTS_OF_KEYS
        column = [draw(st.sampled_from(values)) for _ in range(count)]
        columns.append(pa.array(column, type_))
    cased = [draw(_cased(name)) for name in names]
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, names=cased), sink, row_group_size=draw(st.integers(1, 3)))
    content = sink.getvalue()
    return content[: draw(st.sampled_from([len(content)] * 9 + [len(content) // 2, 3]))]


# Local times have no zone.
# ruff: noqa: DTZ001
CELLS: list[object] = [
    *(None, True, False, 0, 1, 7, -7, 99, 100, 32768, 2024, 7.5, 0.1, 1e-7, 12.505, 99999.99),
    *(2**53, 2**53 + 2, 1.234, 1e22, 0.1 + 0.2, 612302400000, 45_351, 20240229),
    *(one for one in TEXTS if "\0" not in one and not one.startswith("=")),
    *(date(2024, 2, 29), date(1999, 12, 31), datetime(2024, 3, 31, 2, 30), time(10, 20, 30)),
    *(datetime(2024, 10, 27, 2, 30), datetime(2024, 5, 3), timedelta(hours=30), "=1/0", "#N/A"),
]


@st.composite
def xlsx_files(draw: st.DrawFn, dataset: Dataset) -> bytes:
    """A workbook whose first sheet has most columns of the dataset and some others."""
    names = [*dataset.field_names]
    if draw(st.booleans()):
        names += draw(st.lists(st.sampled_from(OTHER_NAMES), max_size=2))
    if draw(st.integers(0, 4)) == 0:
        names.pop(draw(st.integers(0, len(names) - 1)))
    workbook = Workbook()
    sheet = workbook.active
    sheet.append([draw(_cased(name)) for name in names])
    keys = st.sampled_from([*TEXTS_OF_KEYS, 1, 2.5])
    for _ in range(draw(st.integers(0, 5))):
        sheet.append([draw(keys if name == "id" else st.sampled_from(CELLS)) for name in names])
    sink = io.BytesIO()
    workbook.save(sink)
    return sink.getvalue()
