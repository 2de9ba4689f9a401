"""`datasets describe`: the printed declaration is valid, and the files have no errors with it."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from etl.model.dataset import Dataset, FieldType
from etl.model.errors import ConfigurationError
from tests.described_files import (
    described,
    errors_of,
    fields,
    workbook,
)


@dataclass(frozen=True)
class Kind:
    """Texts of one kind, and the type that they must get; None if that depends on the texts."""

    texts: st.SearchStrategy[str]
    type: FieldType | None = None


DAYS = st.dates(date(1950, 1, 1), date(2049, 12, 31))
MOMENTS = st.datetimes(datetime(1950, 1, 1), datetime(2049, 12, 31))  # noqa: DTZ001
CENTS = st.integers(-(10**9), 10**9)
EVIL = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8)


def german(cents: int) -> str:
    return f"{cents / 100:,.2f}".translate(str.maketrans(",.", ".,"))


KINDS = {
    "amount": Kind(CENTS.map(german), FieldType.NUMBER),
    "price": Kind(CENTS.map(lambda cents: f"{cents / 100:.2f}"), FieldType.NUMBER),
    "float": Kind(st.floats(allow_infinity=False).map(repr)),
    "float_id": Kind(st.integers(0, 10**9).map(lambda one: f"{one}.0"), FieldType.INTEGER),
    "whole": Kind(st.integers(-(2**63), 2**63 - 1).map(str)),
    "zip": Kind(st.integers(0, 9999).map(lambda one: f"0{one:04}"), FieldType.STRING),
    "day": Kind(DAYS.map(date.isoformat), FieldType.DATE),
    "tag": Kind(DAYS.map(lambda one: one.strftime("%d.%m.%Y")), FieldType.DATE),
    "us_date": Kind(DAYS.map(lambda one: one.strftime("%m/%d/%Y")), FieldType.DATE),
    "moment": Kind(MOMENTS.map(lambda one: f"{one.isoformat()}+02:00"), FieldType.DATETIME),
    "local": Kind(MOMENTS.map(lambda one: one.strftime("%d.%m.%Y %H:%M")), FieldType.DATETIME),
    "created": Kind(
        st.integers(0, 10**8).map(lambda one: str((1_600_000_000 + one) * 1000)),
        FieldType.EPOCH_MS,
    ),
    "time": Kind(st.times().map(lambda one: one.isoformat("minutes")), FieldType.TIME),
    "flag": Kind(st.sampled_from(["ja", "nein", "Ja"]), FieldType.BOOLEAN),
    "json": Kind(st.sampled_from(['{"a": 1}', "{}", '{"b": [null, "x,;"]}']), FieldType.OBJECT),
    "year": Kind(st.integers(1900, 2100).map(str), FieldType.YEAR),
    "odd": Kind(EVIL),
    "mix": Kind(st.one_of(EVIL, CENTS.map(german), DAYS.map(date.isoformat))),
    "enum": Kind(st.sampled_from(["new", "paid", "sent"]), FieldType.STRING),
}
BLANKS = st.sampled_from(["", "", "", "NULL", " "])
HEADERS = st.one_of(
    EVIL.filter(lambda text: text.strip() and "\ufeff" not in text and len(text.splitlines()) == 1),
    st.sampled_from(["Order No", "_id", "Größe", "xmin", "a" * 70, "1", "Unnamed: 0", "SELECT"]),
)


@dataclass(frozen=True)
class Table:
    """Generated columns: their headers, kinds, and texts row by row."""

    headers: list[str]
    kinds: list[str | None]
    rows: list[list[str]]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=5, unique=True))
    odd = draw(st.lists(HEADERS, max_size=2, unique_by=lambda one: one.strip()))
    odd = [one for one in odd if one.strip().casefold() not in kinds]
    count = draw(st.integers(1, 6))
    columns = [
        draw(
            st.lists(
                st.one_of(KINDS[kind].texts, KINDS[kind].texts, BLANKS),
                min_size=count,
                max_size=count,
            )
        )
        for kind in (*kinds, *["odd"] * len(odd))
    ]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return Table([*kinds, *odd], [*kinds, *[None] * len(odd)], rows)


def as_csv(table: Table, delimiter: str, ending: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ending)
    writer.writerow(table.headers)
    writer.writerows(table.rows)
    return text.getvalue().encode()


@settings(max_examples=30)
@given(tables(), st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n"]))
def test_generated_csv_files_have_no_errors_with_their_description(
    table: Table, delimiter: str, ending: str
):
    check_law(table, {"generated.csv": as_csv(table, delimiter, ending)})


@settings(max_examples=20)
@given(tables(), st.data())
def test_generated_json_files_have_no_errors_with_their_description(
    table: Table, data: st.DataObject
):
    key, content = as_json(table, data.draw)
    check_law(table, {key: content})


@pytest.mark.long
@settings(max_examples=3_000)
@given(tables(), st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n"]), st.data())
def test_many_generated_files_have_no_errors(
    table: Table, delimiter: str, ending: str, data: st.DataObject
):
    check_law(table, {"generated.csv": as_csv(table, delimiter, ending)})
    key, content = as_json(table, data.draw)
    check_law(table, {key: content})


def as_json(table: Table, draw: Callable[[st.SearchStrategy[str]], str]) -> tuple[str, bytes]:
    """The table as NDJSON or as an array, also compressed; numbers and booleans are JSON's own."""
    rows = [
        {
            header: _json_value(cell)
            for header, cell in zip(table.headers, row, strict=True)
            if cell.strip()
        }
        for row in table.rows
    ]
    key = draw(st.sampled_from(["x.ndjson", "x.json", "x.jsonl.gz", "x.json.bz2"]))
    texts = [json.dumps(row, ensure_ascii=False) for row in rows]
    text = f"[{','.join(texts)}]" if ".json" in key and ".jsonl" not in key else "\n".join(texts)
    content = text.encode()
    if key.endswith(".gz"):
        return key, gzip.compress(content)
    return key, bz2.compress(content) if key.endswith(".bz2") else content


ARROW = {
    "whole": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "float": (pa.float64(), st.floats()),
    "float_id": (pa.float64(), st.integers(0, 10**9).map(float)),
    "single": (pa.float32(), st.floats(width=32)),
    "text": (pa.string(), EVIL),
    "utc": (pa.timestamp("us", "UTC"), MOMENTS),
    "local": (pa.timestamp("ms"), MOMENTS.map(lambda one: one.replace(microsecond=0))),
    "day": (pa.date32(), DAYS),
    "flag": (pa.bool_(), st.booleans()),
    "price": (pa.decimal128(12, 2), st.decimals(-1000, 1000, places=2)),
    "list": (pa.list_(pa.int32()), st.lists(st.integers(0, 9), max_size=2)),
    "struct": (pa.struct({"a": pa.string()}), st.fixed_dictionaries({"a": EVIL})),
    "kind": (pa.dictionary(pa.int8(), pa.string()), st.sampled_from(["a", "b"])),
}
ARROW_TYPES = {
    "float_id": FieldType.INTEGER,
    "whole": FieldType.INTEGER,
    "utc": FieldType.DATETIME,
    "local": FieldType.DATETIME,
    "day": FieldType.DATE,
    "flag": FieldType.BOOLEAN,
    "price": FieldType.NUMBER,
    "list": FieldType.ARRAY,
    "struct": FieldType.OBJECT,
}


@settings(max_examples=25)
@given(st.lists(st.sampled_from(sorted(ARROW)), min_size=1, unique=True), st.data())
def test_parquet_files_have_no_errors_with_their_description(names: list[str], data: st.DataObject):
    count = data.draw(st.integers(1, 4))
    columns = {}
    for name in names:
        type_, values = ARROW[name]
        cells = st.lists(st.none() | values, min_size=count, max_size=count)
        columns[name] = pa.array(data.draw(cells), type_)
    content = io.BytesIO()
    parquet.write_table(pa.table(columns), content)
    files = {"x.parquet": content.getvalue()}
    found = described(files)
    assert errors_of(found, files) == []
    for name, type_ in ARROW_TYPES.items():
        if name in columns and columns[name].null_count < count:
            assert fields(found)[name] in {type_, FieldType.STRING if name == "whole" else type_}


SHEET = {
    "text": EVIL,
    "whole": st.integers(-(10**14), 10**14),
    "float": st.floats(-1e9, 1e9),
    "flag": st.booleans(),
    "day": DAYS,
    "moment": MOMENTS.map(lambda one: one.replace(microsecond=0)),
    "time": st.times().map(lambda one: one.replace(microsecond=0)),
    "zip": KINDS["zip"].texts,
    "amount": KINDS["amount"].texts,
}


@settings(max_examples=25)
@given(
    st.lists(st.sampled_from(sorted(SHEET)), min_size=2, unique=True),
    st.sampled_from([[], [["A title"]], [["A title"], []]]),
    st.data(),
)
def test_workbooks_have_no_errors_with_their_description(
    names: list[str], titles: list[list[object]], data: st.DataObject
):
    rows = [
        [data.draw(st.none() | SHEET[name]) for name in names]
        for _ in range(data.draw(st.integers(1, 4)))
    ]
    rows = [[_storable(cell) for cell in row] for row in rows]
    files = {"x.xlsx": workbook([*titles, [*names], *rows])}
    assume(any(cell is not None and str(cell).strip() for row in rows for cell in row))
    found = described(files)
    assert errors_of(found, files) == []


def _storable(cell: object) -> object:
    """The cell, if a workbook can hold it: no control characters, and no formula."""
    if isinstance(cell, str):
        text = "".join(one for one in cell if one.isprintable())
        return None if text.startswith("=") else text
    return cell


CONTENTS = st.one_of(
    st.binary(max_size=60),
    st.text('a;,\n"{}[]:1 ', max_size=40).map(str.encode),
    st.sampled_from([b"PAR1", b"PK\x03\x04", b"\x1f\x8b", b"[{", b"{}\n", b"\xff\xfea\0"]),
)
KEYS = st.sampled_from(
    [
        "a.csv",
        "a.tsv",
        "a.ndjson",
        "a.json",
        "a.parquet",
        "a.xlsx",
        "a.csv.gz",
        "a.json.zip",
        "a",
        "",
    ]
)


@settings(max_examples=100)
@given(st.dictionaries(KEYS, CONTENTS, min_size=1, max_size=2))
def test_any_content_is_described_or_refused(files: dict[str, bytes]):
    with suppress(ConfigurationError):
        errors_of(described(files), files)


def _json_value(cell: str) -> object:
    """The cell as a number or a document, if it is one of JSON."""
    try:
        value = json.loads(cell, parse_constant=str)
    except ValueError:
        return cell
    return cell if isinstance(value, str) or value is None else value


def check_law(table: Table, files: dict[str, bytes]) -> None:
    """The files of a table have no errors with their description, which has the right types."""
    if all(not cell.strip() for row in table.rows for cell in row):
        with pytest.raises(ConfigurationError, match="no rows"):
            described(files)
        return
    found = described(files)
    assert errors_of(found, files) == []
    check_types(found.dataset, table)


def check_types(dataset: Dataset, table: Table) -> None:
    """Each column of a certain kind has its type."""
    for place, kind in enumerate(table.kinds):
        values = {row[place] for row in table.rows} - {"", " ", "NULL"}
        if kind is not None and values and KINDS[kind].type is not None:
            assert dataset.field(kind).type is KINDS[kind].type, (kind, values)
