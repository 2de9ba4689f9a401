"""Files whose few bytes stand for many cells or elements are read a few rows at a time."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model.dataset import Dataset, Field, FieldType, UnknownColumns
from etl.model.errors import RefusedObject
from etl.model.values import Change, ChangeKind, SourceFile, SourceObject
from etl.read.csv import parse
from etl.read.formats import read_object
from etl.read.json.objects import RowFault, Text, is_surely_no_json, parse_object
from etl.read.pieces import MOST_CELLS
from etl.read.rows.collect import MOST_PROBLEMS
from etl.read.rows.extract import Extract
from etl.read.types.column import spread
from etl.read.validate import Validated, validate
from etl.sync import grouping
from etl.sync.batch import Fetched
from etl.sync.reading import BucketReading

WIDTH = 300
ROWS = 6_000


def dataset(*fields: Field, unknown: UnknownColumns = UnknownColumns.EXTRA) -> Dataset:
    return Dataset(
        name="items", table="items", include=("**",), fields=fields, unknown_columns=unknown
    )


def source_file(key: str, content: bytes) -> SourceFile:
    found = SourceObject(key, "etag", len(content), datetime(2026, 1, 1, tzinfo=UTC))
    return SourceFile(found, content)


def read(key: str, content: bytes, of: Dataset) -> list[Extract]:
    """The rows of a file that comes in two parts."""
    middle = len(content) // 2
    parts = [content[:middle], content[middle:]]
    return list(read_object(source_file(key, content).source, of, None, parts))


def parquet(table: pa.Table) -> bytes:
    content = io.BytesIO()
    pq.write_table(table, content)
    return content.getvalue()


def most_cells(found: list[Extract]) -> int:
    return max(one.rows.num_rows * one.rows.num_columns for one in found)


NARROW: dict[str, Callable[[], bytes]] = {
    "a.ndjson": lambda: b'{"c0":"x"}\n' * ROWS,
    "a.json": lambda: b"[" + b",".join([b'{"c0":"x"}'] * ROWS) + b"]",
    "a.csv": lambda: b"c0,other\n" + b"x,y\n" * ROWS,
    "a.parquet": lambda: parquet(pa.table({"c0": ["x"] * ROWS})),
}


@pytest.mark.parametrize("key", NARROW)
def test_columns_that_a_file_lacks_count_as_well(key: str):
    of = dataset(*(Field(name=f"c{place}") for place in range(WIDTH)))
    found = read(key, NARROW[key](), of)
    assert sum(one.rows_read[key] for one in found) == ROWS
    assert most_cells(found) < 1.1 * MOST_CELLS


def test_columns_that_objects_add_count_as_soon_as_they_come():
    of = dataset(Field(name="sensor"), unknown=UnknownColumns.ADD)
    lines = [f'{{"sensor": "a", "m{number % 199}": {number}}}\n' for number in range(20_000)]
    found = read("a.ndjson", "".join(lines).encode(), of)
    assert sum(one.rows.num_rows for one in found) == len(lines)
    assert {name for one in found for name in one.added} == {f"m{place}" for place in range(199)}
    assert most_cells(found) < 1.1 * MOST_CELLS


def test_columns_that_a_header_adds_count_for_short_rows():
    of = dataset(Field(name="sensor"), unknown=UnknownColumns.ADD)
    header = ",".join(["sensor", *(f"m{place}" for place in range(199))])
    found = read("a.csv", f"{header}\n".encode() + b"a\n" * 20_000, of)
    assert sum(one.rows.num_rows for one in found) == 20_000
    assert most_cells(found) < 1.1 * MOST_CELLS


def test_short_rows_need_no_memory_for_the_columns_that_they_lack():
    of = dataset(Field(name="sensor"))
    header = ",".join(["sensor", *(f"m{place}" for place in range(999))])
    file = source_file("a.csv", f"{header}\n".encode() + b"a\n" * 5_000)
    tracemalloc.start()
    try:
        found = parse([file], of)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.rows.num_rows == 5_000
    assert peak < 8 << 20


@given(st.lists(st.lists(st.sampled_from(["", "x", '"y"']), min_size=1, max_size=9), max_size=9))
def test_cells_that_a_row_lacks_are_as_good_as_blank_ones(rows: list[list[str]]):
    of = dataset(Field(name="sensor"))
    header = ["sensor", *"bcdefghi"]
    short, padded = (
        source_file("a.csv", "".join(f"{','.join(row)}\n" for row in [header, *written]).encode())
        for written in (rows, [[*row, *[""] * (9 - len(row))] for row in rows])
    )
    found, expected = parse([short], of), parse([padded], of)
    assert found.rows.to_pylist() == expected.rows.to_pylist()
    assert found.rows_read == expected.rows_read


def test_a_short_header_again_is_skipped_if_it_lacks_only_nameless_columns():
    of = dataset(Field(name="sensor"))
    for header, count in (("sensor,b,,", 1), ("sensor,b,c,", 2)):
        found = parse([source_file("a.csv", f"{header}\nsensor,b\na,b\n".encode())], of)
        assert found.rows.num_rows == count


# -- lists and dictionaries of Parquet


LISTS = dataset(Field(name="v", type=FieldType.ARRAY))


def lists(ends: list[int]) -> bytes:
    values = pa.array(np.arange(ends[-1]) % 1_000)
    return parquet(pa.table({"v": pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values)}))


def test_long_lists_are_read_a_few_at_a_time():
    found = read("a.parquet", lists([5_000 * number for number in range(501)]), LISTS)
    assert sum(one.rows.num_rows for one in found) == 500
    assert max(one.rows.num_rows for one in found) * 5_000 < MOST_CELLS


def test_a_list_with_all_elements_is_too_long_and_is_not_expanded():
    found = read("a.parquet", lists([*[0] * 50, *[1_000_000] * 50]), LISTS)
    assert sum(one.rows.num_rows for one in found) == 98
    assert [(one.code, one.line) for each in found for one in each.problems] == [
        ("cell-too-long", 50)
    ]


def coded(codes: list[int], *texts: str) -> bytes:
    return parquet(pa.table({"v": pa.DictionaryArray.from_arrays(pa.array(codes), [*texts])}))


def test_a_dictionary_that_fills_memory_is_refused():
    with pytest.raises(RefusedObject, match="texts of a dictionary have 9,437,1"):
        read("a.parquet", coded([0, 1, 1], "x" * (9 << 20), "y"), dataset(Field(name="v")))


def test_one_long_text_among_many_short_ones_needs_memory_only_once():
    codes = [1] * 200_000
    codes[7] = 0
    found = read("a.parquet", coded(codes, "x" * 1_000_000, "y"), dataset(Field(name="v")))
    assert sum(one.rows.num_rows for one in found) == len(codes)
    assert found[0].rows["v"][7].as_py() == "x" * 1_000_000


# -- one long text in a column of missing values


@given(st.lists(st.sampled_from([None, "", "a", "é\0", "x" * 50, "absent"])))
def test_texts_are_spread_over_the_rows_that_have_them(cells: list[str | None]):
    where = np.array([cell != "absent" for cell in cells], np.bool_)
    texts = pa.array([cell for cell in cells if cell != "absent"], pa.large_string())
    found = spread(texts, where)
    found.validate(full=True)
    assert found.to_pylist() == [None if cell == "absent" else cell for cell in cells]


@pytest.mark.parametrize("missing", ["", None])
def test_one_long_text_among_missing_cells_needs_memory_only_once(missing: str | None):
    cells = [missing] * 300_000
    cells[5] = "x" * 1_000_000
    found = checked(
        pa.table({"_source_key": ["k"] * len(cells), "v": pa.array(cells, pa.large_string())})
    )
    assert found.rows["v"].null_count == len(cells) - 1
    assert found.rows["v"][5].as_py() == cells[5]


def checked(rows: pa.Table) -> Validated:
    return validate(rows, dataset(Field(name="v")), {"k": "etag"}, date(2026, 1, 1))


# -- lines that are no objects


@given(st.binary(max_size=6) | st.sampled_from([b" {}", b"\t[", b"{", b"", b"\0{}", b"\x0b{}"]))
def test_what_is_surely_no_json_object_has_that_fault(content: bytes):
    text = Text(1, content)
    if is_surely_no_json(text):
        with pytest.raises(RowFault) as raised:
            parse_object(text)
        assert raised.value.code == "not-json"


@pytest.mark.parametrize("key", ["a.ndjson", "a.json"])
def test_rows_that_are_no_objects_are_counted_after_the_first_thousand(key: str):
    bad = ["1", '"é"', "null", "[]"] * 1_000
    rows = ['{"sensor": "a"}', *bad, '{"sensor": "b"}']
    content = "\n".join(rows) if key == "a.ndjson" else f"[{','.join(rows)}]"
    found = read(key, content.encode(), dataset(Field(name="sensor")))
    assert [row["sensor"] for one in found for row in one.rows.to_pylist()] == ["a", "b"]
    assert sum(one.rows_read[key] for one in found) == len(rows)
    assert sum(one.rows_rejected.get(key, 0) for one in found) == len(bad)
    assert {problem.code for one in found for problem in one.problems} == {"not-json"}
    assert max(len(one.problems) for one in found) == MOST_PROBLEMS
    more = sum(one.more[key]["not-json"] for one in found if one.more)
    assert sum(len(one.problems) for one in found) + more == len(bad)


# -- small files


def test_small_files_with_many_rows_are_read_in_groups(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(grouping, "MOST_CELLS", 100)
    of = dataset(Field(name="sensor"), Field(name="v"))
    reading = BucketReading.of((of,), "bucket", date(2026, 1, 1))
    sizes = {"1": 5, "2": 40, "3": 15, "4": 30, "5": 80, "6": 5}  # lines, of 2 cells
    files = [source_file(f"{name}.ndjson", b"{}\n" * size) for name, size in sizes.items()]
    changes = [Change(ChangeKind.ADDED, file.source) for file in files]
    removed = Change(ChangeKind.REMOVED, source_file("7.ndjson", b"").source)
    fetched = Fetched([*changes, removed], {file.source.key: file for file in files})
    found = grouping.grouped(fetched, reading)
    keys = [[change.source.key[0] for change in one.changes] for one in found.together]
    assert keys == [["1", "2"], ["3", "4"], ["6", "7"]]
    assert [change.source.key for change, _ in found.alone] == ["5.ndjson"]
