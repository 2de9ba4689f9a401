"""Parquet files: the same rows as the same values in CSV, and refusals of all that is damaged."""

from __future__ import annotations

import base64
import io
import json
import tempfile
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.model.dataset import Constraints, Dataset, Field, FieldType, UnknownColumns
from etl.model.errors import RefusedObject, TemporaryFileFailed
from etl.model.values import SourceFile, SourceObject
from etl.read import parquet, spool
from etl.read.csv import parse
from etl.read.parquet import plan, reader
from etl.read.parquet.columns import to_cells
from etl.read.rows.extract import Extract, joined
from etl.read.validate import validate
from tests.dataset_outcomes import expected_of, found_of
from tests.field_types import TODAY
from tests.typed_cells import FIELDS, TYPES, alike, cells, expected_text

SENSOR = Field(name="sensor", constraints=Constraints(required=True))


def source(content: bytes, key: str = "a/1.parquet") -> SourceObject:
    return SourceObject(key, "etag", len(content), datetime(2026, 3, 1, tzinfo=UTC))


def dataset(*fields: Field, **options: Any) -> Dataset:  # noqa: ANN401
    return Dataset(name="d", table="d", include=("**",), fields=fields, **options)


def written(table: pa.Table, **options: Any) -> bytes:  # noqa: ANN401
    content = io.BytesIO()
    pq.write_table(table, content, **options)
    return content.getvalue()


def extracts(content: bytes, of: Dataset) -> list[Extract]:
    parts = [content[start : start + 1000] for start in range(0, len(content), 1000)]
    return list(parquet.read(source(content), of, None, parts))


def read(content: bytes, of: Dataset) -> Extract:
    return joined(extracts(content, of))


def refusal(content: bytes, of: Dataset) -> RefusedObject:
    with pytest.raises(RefusedObject) as raised:
        extracts(content, of)
    return raised.value


def judged(extract: Extract, of: Dataset, first_line: int) -> tuple[list[Any], set[Any]]:
    """The values of each good row, and the line, column and code of each problem."""
    found = validate(extract.rows, of, dict.fromkeys(extract.rows_read, "etag"), TODAY)
    names = ["_source_line", *of.field_names]
    rows = [
        [row["_source_line"] - first_line, *(alike(row[one.name], one) for one in of.fields)]
        for row in found.rows.select(names).to_pylist()
    ]
    problems = [one for one in (*extract.problems, *found.problems) if one.line is not None]
    return rows, {(one.line - first_line, one.column, one.code) for one in problems if one.line}


def test_a_file_without_columns_is_refused():
    no_columns = written(pa.table({"x": [1]}).select([]))
    hint = refusal(no_columns, dataset(SENSOR)).message
    assert hint.startswith("The header lacks sensor; it has no columns. ")
    hint = refusal(no_columns, dataset(Field(name="a"))).message
    assert hint.startswith("The header has no column that d declares: a. It has no columns. ")


OPTIONS = st.fixed_dictionaries({
    "compression": st.sampled_from(["none", "snappy", "gzip", "zstd", "lz4", "brotli"]),
    "use_dictionary": st.booleans(),
    "data_page_version": st.sampled_from(["1.0", "2.0"]),
    "row_group_size": st.integers(1, 30),
    "data_page_size": st.sampled_from([1, 1 << 20]),
    "store_schema": st.booleans(),
    "write_page_checksum": st.booleans(),
})  # fmt: skip
STORED = [one for one in TYPES if not (pa.types.is_decimal(one) and one.scale < 0)]
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)


@st.composite
def columns(draw: st.DrawFn, rows: int) -> tuple[pa.Array, Field]:
    """A column with nulls, and a field that takes it."""
    if draw(st.booleans()):
        values = draw(st.lists(TEXTS | st.none(), min_size=rows, max_size=rows))
        some = st.sampled_from(
            [
                pa.string(),
                pa.large_string(),
                pa.string_view(),
                pa.binary(),
                pa.dictionary(pa.int32(), pa.string()),
            ]
        )
        array = pa.array(values, pa.string()).cast(draw(some))
        return array, draw(st.sampled_from(FIELDS))
    array = draw(st.sampled_from(STORED).flatmap(cells))
    places = st.integers(0, len(array) - 1) if len(array) else st.none()
    chosen = draw(st.lists(places | st.none(), min_size=rows, max_size=rows))
    is_id = pa.types.is_floating(array.type)  # NaN is not an id, though it has a text
    fields = [one for one in FIELDS if not (is_id and one.type is FieldType.STRING)]
    return array.take(pa.array(chosen, pa.int64())), draw(st.sampled_from(fields))


@settings(max_examples=settings().max_examples // 2)
@given(st.data())
def test_files_are_read_as_the_same_values_in_csv(data: st.DataObject):
    rows = data.draw(st.integers(1, 30))
    found = data.draw(st.lists(columns(rows), min_size=1, max_size=4))
    fields = tuple(
        Field(**{name: getattr(one, name) for name in one.__slots__} | {"name": f"f{place}"})
        for place, (_, one) in enumerate(found)
    )
    arrays = {f"f{place}": array for place, (array, _) in enumerate(found)}
    options = data.draw(OPTIONS)
    if any(pa.types.is_duration(array.type) for array in arrays.values()):
        options["store_schema"] = True  # or they are integers
    if not options["store_schema"]:  # Parquet has no such types
        arrays = {
            name: array.cast(pa.string()) if pa.types.is_dictionary(array.type) else array
            for name, array in arrays.items()
        }
    content = written(pa.table({**arrays, "z": ["x"] * rows}), **options)
    of = dataset(*fields)
    lines = [",".join([*arrays, "z"])]
    for row in range(rows):
        texts = [
            _csv_cell(array, row, one) for array, one in zip(arrays.values(), fields, strict=True)
        ]
        lines.append(",".join([*texts, "x"]))
    csv = "\n".join(lines).encode()
    by_text = parse([SourceFile(source(csv), csv)], of, None)
    assert judged(read(content, of), of, 1) == judged(by_text, of, 2)


def _csv_cell(array: pa.Array, row: int, field: Field) -> str:
    if not array[row].is_valid:
        return ""
    value = (
        array[row].as_py() if _is_text(array.type) else expected_text(array.slice(row, 1), 0, field)
    )
    text = value.decode() if isinstance(value, bytes) else value
    return '"' + text.replace('"', '""') + '"'


def _is_text(type_: pa.DataType) -> bool:
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(one(type_) for one in (*kinds, pa.types.is_binary, pa.types.is_dictionary))


LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=4)
)  # fmt: skip


def _nested(type_: pa.DataType) -> st.SearchStrategy[Any]:
    """Values of a nested type."""
    if pa.types.is_struct(type_):
        members = {field.name: _nested(field.type) for field in type_.fields}
        return st.none() | st.fixed_dictionaries(members)
    if pa.types.is_map(type_):
        keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
        return st.none() | st.dictionaries(keys, _nested(type_.item_type), max_size=3)
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return st.none() | st.lists(_nested(type_.value_type), max_size=3)
    if pa.types.is_string(type_):
        return st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
    return (
        st.none() | {"int64": st.integers(-(2**63), 2**63 - 1), "bool": st.booleans()}[str(type_)]
    )


NESTED = [
    pa.list_(pa.int64()),
    pa.large_list(pa.list_(pa.string())),
    pa.struct([("long name", pa.string()), ("é", pa.int64()), ('"', pa.list_(pa.bool_()))]),
    pa.map_(pa.string(), pa.struct([("a", pa.int64())])),
    pa.list_(pa.map_(pa.string(), pa.list_(pa.string()))),
]


@pytest.mark.parametrize("type_", NESTED, ids=str)
@settings(max_examples=settings().max_examples // 5)
@given(st.data())
def test_nested_values_are_json_with_their_types(type_: pa.DataType, data: st.DataObject):
    values = data.draw(st.lists(_nested(type_), max_size=8))
    start = data.draw(st.integers(0, len(values)))
    pairs = [list(value.items()) if isinstance(value, dict) else value for value in values]
    array = pa.array(pairs if pa.types.is_map(type_) else values, type_)
    found = to_cells(array.slice(start))
    assert found.is_json
    assert [None if one is None else json.loads(one) for one in found.values.to_pylist()] == values[
        start:
    ]


def test_undeclared_columns_stay_json_values_in_extra():
    table = pa.table({
        "sensor": ["a", "b"],
        "n": [5, None],
        "x": pa.array([1.5, float("nan")]),
        "y": pa.array([float("-inf"), float("inf")], pa.float32()),
        "tags": [["q"], None],
        "at": pa.array([0, 1], pa.timestamp("s", "UTC")),
        "s": [' "', ""],
    })  # fmt: skip
    extra = read(written(table), dataset(SENSOR)).rows["_extra"].to_pylist()
    assert [json.loads(one) for one in extra] == [
        {"n": 5, "x": 1.5, "y": "-Infinity", "tags": ["q"], "at": "1970-01-01T00:00:00Z", "s": '"'},
        {"x": "NaN", "y": "Infinity", "at": "1970-01-01T00:00:01Z"},
    ]


def test_nul_within_json_of_extra_is_a_problem_of_the_row():
    table = pa.table({"sensor": ["a", "b", "c"], "tags": [["\0"], ["\\u0000"], ["ok"]]})
    found = read(written(table), dataset(SENSOR))
    assert [(one.line, one.code) for one in found.problems if one.line] == [(1, "nul-byte")]
    assert found.rows["_source_line"].to_pylist() == [2, 3]
    declared = dataset(SENSOR, Field(name="tags"))
    assert len(read(written(table), declared).rows) == 3


MAP = pa.map_(pa.string(), pa.int64())
TWICE = [[("k", 1), ("k", 2)], [("k", 1), ("l", 1)], None]


@pytest.mark.parametrize("declared", [(), (Field(name="m", type=FieldType.ANY),)])
@pytest.mark.parametrize(
    "column",
    [
        pa.array(TWICE, MAP),
        pa.array([one and [one, []] for one in TWICE], pa.list_(MAP)),
        pa.array([{"a": one} for one in TWICE], pa.struct([("a", MAP)])),
        pa.array([[(1.0, 1), (1.0, 2)], [(1.0, 1)], []], pa.map_(pa.float64(), pa.int64())),
    ],
    ids=lambda column: str(column.type),
)
def test_key_of_a_map_twice_is_a_problem_of_the_row(column: pa.Array, declared: tuple[Field, ...]):
    content = written(pa.table({"sensor": ["a", "b", "c"], "m": column}))
    of = dataset(SENSOR, *declared, refuse_object_above=Fraction(1))
    found = read(content, of)
    rows, problems = judged(found, of, 0)
    assert problems == {(1, "m", "not-json")}
    assert [row[0] for row in rows] == [2, 3]
    assert found_of(of, "a.parquet", content) == expected_of(of, "a.parquet", content)


def test_name_in_a_struct_twice_is_a_problem_of_the_row():
    column = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    found = read(written(pa.table({"sensor": ["a"], "m": column})), dataset(SENSOR))
    assert [(one.line, one.column, one.code) for one in found.problems if one.line] == [
        (1, "m", "not-json")
    ]


def test_key_of_a_map_twice_stays_in_a_text():
    table = pa.table({"sensor": ["a"], "m": pa.array(TWICE[:1], MAP)})
    for of in (
        dataset(SENSOR, Field(name="m")),
        dataset(SENSOR, unknown_columns=UnknownColumns.ADD),
    ):
        assert read(written(table), of).rows["m"].to_pylist() == ['{"k": 1, "k": 2}']


def test_index_of_pandas_is_ignored_unless_it_has_a_name():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"sensor": ["a", "b"]}, index=[5, 7])
    plain, named = io.BytesIO(), io.BytesIO()
    frame.to_parquet(plain)
    frame.rename_axis("number").to_parquet(named)
    strict = dataset(SENSOR, unknown_columns=UnknownColumns.REFUSE)
    assert len(read(plain.getvalue(), strict).rows) == 2
    assert refusal(named.getvalue(), strict).problem_code == "unknown-column"
    column = dataset(SENSOR, Field(name="__index_level_0__", type=FieldType.INTEGER))
    assert read(plain.getvalue(), column).rows["__index_level_0__"].to_pylist() == [5, 7]


def test_uuids_are_texts():
    some = [uuid.uuid4() for _ in range(3)]
    raw = [one.bytes for one in some]
    table = pa.table({"sensor": pa.array(raw, pa.uuid()), "key": pa.array(raw, pa.binary(16))})
    of = dataset(SENSOR, Field(name="key", sql="uuid"))
    for content in (written(table), written(table, store_schema=False)):
        rows = read(content, of).rows
        assert rows["sensor"].to_pylist() == rows["key"].to_pylist() == list(map(str, some))


def test_times_of_96_bits_keep_far_years_and_are_never_rounded():
    far = datetime(9999, 12, 31)  # noqa: DTZ001
    of = dataset(Field(name="at", type=FieldType.DATETIME, sql="timestamp"))
    table = pa.table({"at": pa.array([far, None, datetime(2026, 3, 1)])})  # noqa: DTZ001
    found = read(written(table, use_deprecated_int96_timestamps=True), of)
    assert found.rows["at"].to_pylist() == table["at"].to_pylist()
    fine = pa.table({"at": pa.array([1_001, None, 2_000], pa.timestamp("ns"))})
    found = read(written(fine, use_deprecated_int96_timestamps=True), of)
    assert [(one.line, one.code, one.value) for one in found.problems] == [
        (1, "not-a-datetime", "1970-01-01T00:00:00.000001")
    ]
    assert found.rows["_source_line"].to_pylist() == [2, 3]


def test_texts_that_are_not_utf_8_are_problems_of_their_rows():
    bad = pa.array([b"ok", b"\xff\xfe", None, "é".encode()])
    as_text = pa.array([b"ok", b"\xff\xfe", None, "é".encode()]).view(pa.string())
    for column in (bad, as_text):
        found = read(written(pa.table({"sensor": column})), dataset(Field(name="sensor")))
        (problem,) = found.problems
        assert (problem.line, problem.code, problem.value) == (2, "undecodable", "\\xfffe")
        assert found.rows["sensor"].to_pylist() == ["ok", None, "é"]
        assert (found.rows_read, found.rows_rejected) == ({"a/1.parquet": 4}, {"a/1.parquet": 1})


def test_small_batches_make_the_same_rows(monkeypatch: pytest.MonkeyPatch):
    count = 500
    table = pa.table({
        "sensor": [f"s{place % 7}" * (place % 50) or None for place in range(count)],
        "kind": pa.array(["a", "b"] * (count // 2)).dictionary_encode(),
        "tags": [[f"t{place}"] * (place % 4) for place in range(count)],
    })  # fmt: skip
    of = dataset(Field(name="sensor"), Field(name="kind"), Field(name="tags", type=FieldType.ARRAY))
    content = written(table, row_group_size=70)
    expected = read(content, of).rows.to_pylist()
    assert [row["tags"] for row in expected[:2]] == ["[]", '["t1"]']
    for limit in ("_TEXT_BYTES", "_LONG_TEXT_BYTES", "MOST_CELLS"):
        monkeypatch.setattr(plan, limit, 100)
    monkeypatch.setattr(reader, "BLOCK_BYTES", 1000)
    found = extracts(content, of)
    assert len(found) > 10
    assert joined(found).rows.to_pylist() == expected


# -- files that are refused


def _copies(text: str, count: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([text]))


def _lists(rows: int, values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(
        pa.array(np.linspace(0, len(values), rows + 1).astype(np.int32)), values
    )


BOMBS: dict[str, Callable[[], pa.Table]] = {
    "rows": lambda: pa.table({"sensor": pa.nulls(3_000_000, pa.int8())}),
    "texts": lambda: pa.table({"sensor": _copies("x" * 100_000, 2_000)}),
    "nested texts": lambda: pa.table({
        "sensor": pa.nulls(100), "t": _lists(100, _copies("x" * 100_000, 5_000))
    }),
    "lists": lambda: pa.table({
        "sensor": ["a"], "n": _lists(1, pa.array(np.zeros(20_000_000, np.int8)))
    }),
    "pages": lambda: pa.table({
        "sensor": pa.Array.from_buffers(
            pa.binary(64), 2_000_000, [None, pa.py_buffer(bytes(128_000_000))]
        )
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_small_files_that_stand_for_much_data_are_refused(name: str):
    content = written(
        BOMBS[name](), compression="zstd", data_page_size=1 << 30, use_dictionary=name != "pages",
        dictionary_pagesize_limit=1 << 30, row_group_size=1 << 30, write_batch_size=1 << 30,
    )  # fmt: skip
    refused = refusal(content, dataset(Field(name="sensor")))
    assert refused.problem_code == "archive-too-large"
    assert "smaller row groups" in refused.message


def test_texts_that_are_too_long_are_never_expanded():
    table = pa.table({"sensor": _copies("x" * (7 << 20), 10_000)})
    content = written(table, compression="zstd", dictionary_pagesize_limit=1 << 30)
    found = read(content, dataset(Field(name="sensor")))
    assert found.rows_rejected == found.rows_read == {"a/1.parquet": 10_000}
    assert {one.code for one in found.problems} == {"cell-too-long"}


def test_types_that_have_no_text_are_refused_by_name():
    ree = pa.RunEndEncodedArray.from_arrays(pa.array([1]), pa.array([1]))
    assert not parquet.opening.is_readable(ree.type)
    assert parquet.opening.is_readable(
        pa.list_(pa.map_(pa.string(), pa.struct([("a", pa.uuid())])))
    )
    assert not parquet.opening.is_readable(pa.list_(ree.type))


def test_full_disk_is_no_fault_of_the_file(monkeypatch: pytest.MonkeyPatch):
    content = written(pa.table({"sensor": ["a"]}))
    monkeypatch.setattr(spool, "MEMORY_BYTES", 10)
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with pytest.raises(TemporaryFileFailed):
        extracts(content, dataset(SENSOR))


# -- damaged files


def expect_rows_or_a_refusal(content: bytes, of: Dataset) -> None:
    try:
        found = extracts(content, of)
    except RefusedObject:
        return
    for one in found:
        checked = validate(one.rows, of, dict.fromkeys(one.rows_read, "etag"), date(2026, 3, 1))
        for column in checked.rows.columns:
            column.validate(full=True)
        rejected = sum(one.rows_rejected.values()) + sum(checked.rows_rejected.values())
        assert sum(one.rows_read.values()) == len(checked.rows) + rejected


def test_no_byte_of_a_footer_can_end_the_process():
    """Arrow's metadata do, with wrong statistics of sizes."""
    table = pa.table({"sensor": ["a", None], "tags": [["x"], []]})
    content = written(table, write_page_index=True, store_schema=False)
    of = dataset(Field(name="sensor"))
    for place in range(len(content) - int.from_bytes(content[-8:-4], "little"), len(content)):
        for change in (1, 0xFF):
            changed = bytes([(content[place] + change) % 256])
            expect_rows_or_a_refusal(content[:place] + changed + content[place + 1 :], of)


def test_every_file_that_is_cut_short_is_refused():
    content = written(pa.table({"sensor": ["a", "b"] * 30, "tags": [["x"] * 9, []] * 30}))
    for end in range(0, len(content), 97):
        assert refusal(content[:end], dataset(SENSOR)).problem_code in {
            "corrupt-archive",
            "empty-file",
        }


def test_the_type_of_a_column_is_shown_without_control_characters():
    times = pa.array([0], pa.timestamp("us", "Europe/Berlin\x1b[2J"))
    of = dataset(Field(name="at", type=FieldType.TIME))
    first = extracts(written(pa.table({"at": times})), of)[0]
    found = validate(first.rows, of, dict.fromkeys(first.rows_read, ""), TODAY)
    assert found.problems[0].note.isprintable()
    assert "Berlin\\x1b[2J" in found.problems[0].note


def test_a_page_that_claims_to_be_longer_than_the_file_is_refused():
    """Arrow would allocate what its header says."""
    content = written(pa.table({"sensor": ["a", "b"]}), compression="none")
    head = b"PAR1\x15\x04\x15\x14\x15\x14"  # a dictionary of 10 bytes, as stored too
    assert content.startswith(head)
    longer = head[:-1] + b"\x9e\x95\xb6\xef\x0e" + content[len(head) :]  # of 2 GB
    found = refusal(longer, dataset(SENSOR))
    assert found.problem_code == "corrupt-archive"
    assert "a page does not end within the file" in found.message


def test_half_floats_that_are_signaling_nan_are_no_integers():
    bits = np.array([0x7C01, 0x4500], np.uint16)
    content = written(pa.table({"sensor": ["a", "b"], "n": pa.array(bits.view(np.float16))}))
    of = dataset(SENSOR, Field(name="n", type=FieldType.INTEGER))
    first = extracts(content, of)[0]
    found = validate(first.rows, of, dict.fromkeys(first.rows_read, ""), TODAY)
    assert [(one.line, one.code) for one in found.problems] == [(1, "not-an-integer")]


def test_a_time_zone_that_is_no_text_is_damage():
    content = written(pa.table({"at": pa.array([0], pa.timestamp("us", "Europe/Berlin"))}))
    schema = base64.b64decode(
        pq.ParquetFile(io.BytesIO(content)).metadata.metadata[b"ARROW:schema"]
    )
    broken = base64.b64encode(schema.replace(b"Europe/Berlin", b"Europe/\x87erlin"))
    changed = content.replace(base64.b64encode(schema), broken)
    assert changed != content
    found = refusal(changed, dataset(Field(name="at", type=FieldType.DATETIME)))
    assert found.problem_code == "corrupt-archive"
