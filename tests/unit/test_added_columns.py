"""`unknown_columns = "add"` in each format: names of new columns, JSON texts of nested values."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from pyarrow import parquet

from etl.model.dataset import Dataset, Field, UnknownColumns
from etl.model.values import ProblemCode, SourceObject
from etl.read.formats import read_object
from etl.read.rows.extract import Extract, joined
from etl.read.rows.layout import MOST_ADDED, AddedColumns
from tests.described_files import workbook

ITEMS = Dataset(
    name="items",
    table="items",
    include=("**",),
    fields=(Field(name="id"),),
    unknown_columns=UnknownColumns.ADD,
)
FORMATS = ["csv", "ndjson", "json", "parquet", "xlsx"]
LONG = "q" * 64


def read(format_: str, row: dict[str, object], added: AddedColumns | None = None) -> Extract:
    """The Extract of a file of this format with one row."""
    content = written(format_, row)
    source = SourceObject(f"a.{format_}", "", len(content), datetime(2026, 1, 1, tzinfo=UTC))
    return joined(list(read_object(source, ITEMS, added, [content])))


def written(format_: str, row: dict[str, object]) -> bytes:
    if format_ == "csv":
        return "\n".join(",".join(map(str, line)) for line in (row, row.values())).encode()
    if format_ == "parquet":
        content = io.BytesIO()
        parquet.write_table(pa.Table.from_pylist([row]), content)
        return content.getvalue()
    if format_ == "xlsx":
        return workbook([[*row], [*row.values()]])
    return json.dumps([row] if format_ == "json" else row).encode()


@pytest.mark.parametrize("format_", FORMATS)
def test_names_are_trimmed_and_in_lower_case_or_their_cells_stay_in_extra(format_: str):
    row: dict[str, object] = {"id": "a", " Big X ": "b", "_z": "c", "xmin": "d", LONG: "e"}
    found = read(format_, row)
    assert found.added == ("big x",)
    (cells,) = found.rows.select(["id", "big x"]).to_pylist()
    assert cells == {"id": "a", "big x": "b"}
    assert json.loads(found.rows["_extra"][0].as_py()) == {"_z": "c", "xmin": "d", LONG: "e"}
    assert [one.code for one in found.problems] == [ProblemCode.COLUMN_KEPT_IN_EXTRA]


@pytest.mark.parametrize("format_", FORMATS)
def test_a_table_gets_no_more_columns_than_it_may_have(format_: str):
    taken = [f"c{number}" for number in range(MOST_ADDED - 1)]
    found = read(format_, {"id": "a", "x": "b", "y": "c", "c1": "d"}, AddedColumns(taken))
    assert set(found.added) == {"x", "c1"}
    assert json.loads(found.rows["_extra"][0].as_py()) == {"y": "c"}
    assert [one.code for one in found.problems] == [ProblemCode.COLUMN_KEPT_IN_EXTRA]


@pytest.mark.parametrize("format_", ["ndjson", "json", "parquet"])
def test_nested_values_are_json_texts(format_: str):
    row = {"id": "a", "list": [1, 2], "object": {"a": "é", "b": [True, None]}, "flag": True}
    (cells,) = read(format_, row).rows.select(["list", "object", "flag"]).to_pylist()
    assert cells == {
        "list": "[1, 2]",
        "object": '{"a": "é", "b": [true, null]}',
        "flag": "true",
    }


@pytest.mark.parametrize("format_", FORMATS)
def test_blank_and_missing_cells_are_null(format_: str):
    found = read(format_, {"id": "a", "x": "", "y": "b"})
    assert found.rows.select(["y"]).to_pylist() == [{"y": "b"}]
    values = found.rows["x"].to_pylist() if "x" in found.rows.column_names else [None]
    assert values == [None]
