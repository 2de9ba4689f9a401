"""NDJSON and JSON files: their rows, columns and problems, and the memory that they need."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model.dataset import Constraints, Dataset, Field, FieldType, UnknownColumns
from etl.model.errors import RefusedObject
from etl.model.values import Problem, ProblemCode, Severity
from etl.read.formats import read_files, read_object
from etl.read.json.objects import MOST_OBJECT_BYTES
from tests.json_sources import (
    Reading,
    dataset_of,
    extracts_of,
    parts_of,
    reading_of,
    source_file,
)

ITEMS = dataset_of(
    Field(name="sku", aliases=("Article No", "Größe")),
    Field(name="count", type=FieldType.INTEGER),
    Field(name="weight", type=FieldType.NUMBER),
    Field(name="is_new", type=FieldType.BOOLEAN, true_values=("yes", "1"), false_values=("no",)),
    Field(name="made", type=FieldType.YEAR),
    Field(name="tags", type=FieldType.ARRAY),
    Field(name="any", type=FieldType.ANY),
    Field(name="price", type=FieldType.NUMBER, sql="numeric(9,2)", decimal_char=","),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=5,
)  # fmt: skip


def read(content: str | bytes, dataset: Dataset = ITEMS, key: str = "a.ndjson") -> Reading:
    return reading_of(source_file(content, key), dataset, is_fast=True)


def row_of(members: str, dataset: Dataset = ITEMS) -> dict[str, object]:
    """The one row of a file with one object, without the columns of its place."""
    found = read(members, dataset)
    assert found.problems == []
    (row,) = found.rows
    return {name: one for name, one in row.items() if not name.startswith("_source")}


def problem_of(content: str | bytes, dataset: Dataset = ITEMS, key: str = "a.ndjson") -> Problem:
    """The one error, or the one warning if there is no error."""
    problems = read(content, dataset, key).problems
    errors = [one for one in problems if one.severity is Severity.ERROR]
    (problem,) = errors or problems
    return problem


def without_nulls(members: dict[str, Any]) -> dict[str, Any]:
    """The members that are not missing, and their strings without surrounding space."""
    stripped = {name: one.strip() if isinstance(one, str) else one for name, one in members.items()}
    return {name: one for name, one in stripped.items() if one is not None and one != ""}


@given(
    st.lists(st.dictionaries(st.sampled_from(["sku", "any", "x", "y"]), VALUES), max_size=4),
    st.sampled_from([None, 1]),
    st.booleans(),
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
)
def test_values_are_those_that_the_json_module_reads(
    objects: list[dict[str, Any]],
    indent: int | None,
    is_ascii: bool,  # noqa: FBT001 - from Hypothesis
    sizes: list[int],
):
    dataset = dataset_of(Field(name="any", type=FieldType.ANY), Field(name="never"))
    lines = "\n".join(json.dumps(one, ensure_ascii=is_ascii) for one in objects)
    array = json.dumps(objects, indent=indent, ensure_ascii=is_ascii)
    for key, text in (("a.ndjson", lines), ("a.json", array)):
        found = reading_of(source_file(text, key), dataset, sizes, is_fast=False)
        if not any("any" in one for one in objects):
            continue  # refused
        rows = []
        for row in found.rows:
            members = json.loads(str(row.get("_extra", "{}")))
            rows.append(members | ({"any": json.loads(str(row["any"]))} if "any" in row else {}))
        assert rows == [without_nulls(one) for one in objects]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('"count": 1e3', {"count": 1000}),
        ('"count": 12.50e1', {"count": 125}),
        ('"count": -0.0', {"count": 0}),
        ('"count": "12"', {"count": 12}),
        ('"made": 2.026E3', {"made": 2026}),
        ('"weight": 12345678901234567890.5', {"weight": "12345678901234567890.5"}),
        ('"weight": 0.10', {"weight": "0.1"}),
        ('"weight": 1e-3', {"weight": "0.001"}),
        ('"price": 7.50', {"price": "7.5"}),
        ('"price": "7,50"', {"price": "7.5"}),
        ('"sku": 7.50', {"sku": "7.50"}),
        ('"sku": true', {"sku": "true"}),
        ('"sku": [1, {"a": 2.50}]', {"sku": '[1, {"a": 2.50}]'}),
        ('"is_new": true', {"is_new": True}),
        ('"is_new": false', {"is_new": False}),
        ('"is_new": 1', {"is_new": True}),
        ('"tags": "[1, 2]"', {"tags": "[1, 2]"}),
        ('"any": "red"', {"any": '"red"'}),
        ('"any": ""', {}),
        ('"any": 1.50', {"any": "1.50"}),
        ('"count": null', {}),
    ],
)  # fmt: skip
def test_a_value_becomes_that_of_its_field(written: str, expected: dict[str, object]):
    assert row_of(f'{{"sku": "a", {written}}}' if "sku" not in written else f"{{{written}}}") == (
        {"sku": "a"} | expected
    )


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ('"count": 1.5', "not-an-integer"),
        ('"count": 1e400', "number-out-of-range"),
        ('"count": 1e4000', "not-an-integer"),
        ('"count": 9223372036854775808', "number-out-of-range"),
        ('"count": [1]', "not-an-integer"),
        ('"count": true', "not-an-integer"),
        ('"weight": "x"', "not-a-number"),
        ('"weight": 1e200000', "number-out-of-range"),
        ('"price": 1.234', "too-many-decimals"),
        ('"is_new": "true"', "not-a-boolean"),
        ('"tags": {}', "not-json"),
        ('"any": {"a": 1, "a": 2}', "not-json"),
        ('"x": 1e200000', "not-json"),
        (r'"x": {"a": "\u0000"}', "not-json"),
        (r'"x\u0000": 1', "nul-byte"),
    ],
)
def test_a_value_that_its_field_does_not_take_is_a_problem(written: str, code: str):
    found = problem_of(f'{{"sku": "a", {written}}}')
    assert (found.code, found.line) == (code, 1)
    assert found.column is not None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{", "ends within the object"),
        ('{"sku": "a', "ends within the object"),
        ('{"sku": "a"', "ends within the object"),
        ('{"sku": "a"} x', "after the object, from character 14"),
        ("{'sku': 1}", "double quotes"),
        ('{"sku": None}', "null in lower case"),
        ('{"sku": 1,}', "no comma before"),
        ('{"sku": -Infinity}', "-Infinity is not a number of JSON"),
        ("null", "is null"),
        ("1", "is a number"),
        ('"a"', "is a string"),
        ("false", "is false"),
        ("[1]", "is an array"),
        ('{"a":' * 300 + "1" + "}" * 300, "deeper than 200"),
        ("{" * 100_000, "deeper than 200"),
        ('{"a":"' + r"\"" * 100_000 + "[" * 300, "ends within the object"),
    ],
)
def test_a_line_that_is_no_object_is_a_problem_and_says_why(line: str, expected: str):
    content = f'{{"sku": "a"}}\r\n{line}\r{{"sku": "b"}}'
    found = read(content)
    assert [row["_source_line"] for row in found.rows] == [1, 3]
    (problem,) = found.problems
    assert (problem.code, problem.line, problem.column) == ("not-json", 2, None)
    assert expected in problem.note
    assert problem.value is not None
    assert line.startswith(problem.value.rstrip("…"))


def test_many_members_are_a_problem_of_the_row():
    members = ", ".join(f'"m{place}": 1' for place in range(1_001))
    assert problem_of(f'{{"sku": 1}}\n{{"sku": 2, {members}}}').code == "too-many-columns"


@pytest.mark.parametrize(
    ("members", "column"),
    [
        ('"sku": 1, "sku": 1', "sku"),
        ('" SKU": 1, "Article no ": 2', "sku"),
        ('"GRÖSSE": 1, "größe": 2', "sku"),
        ('"sku": 1, "x": 1, " x": 2', "x"),
        ('"x": 1, "x": 2', "x"),
    ],
)
def test_two_members_for_one_column_are_a_problem_of_the_row(members: str, column: str):
    found = problem_of(f'{{"sku": 1}}\n{{{members}}}')
    assert (found.code, found.line, found.column) == ("duplicate-column", 2, column)


def test_added_columns_are_named_in_lower_case_and_two_of_one_name_are_a_problem():
    dataset = dataset_of(Field(name="sku"), unknown_columns=UnknownColumns.ADD)
    found = read('{"sku": 1, " New": 1.50}\n{"sku": 2, "new": {"a": 1}}', dataset)
    assert [row["new"] for row in found.rows] == ["1.50", '{"a": 1}']
    assert found.added == {"new"}
    assert problem_of('{"sku": 1, "New": 1, "new": 2}', dataset).code == "duplicate-column"


def test_columns_that_cannot_be_added_stay_in_extra_with_a_warning():
    dataset = dataset_of(Field(name="sku"), unknown_columns=UnknownColumns.ADD)
    found = read('{"sku": 1, "_x": 1, "": true, "ctid": "c"}', dataset)
    assert found.rows[0]["_extra"] == '{"": true, "_x": 1, "ctid": "c"}'
    (problem,) = found.problems
    assert (problem.code, problem.severity) == ("column-kept-in-extra", Severity.WARNING)


def test_unknown_members_refuse_the_object_from_the_first_one():
    dataset = dataset_of(Field(name="sku"), unknown_columns=UnknownColumns.REFUSE)
    found = read('{"sku": 1}\n{"sku": 2, "x": 1, "y": 2}', dataset)
    assert found.rows == []
    assert [(one.code, one.value) for one in found.problems] == [("unknown-column", "x")]


def test_a_declared_column_that_never_occurs_is_a_warning_if_others_do():
    absent = problem_of('{"sku": 1, "cuont": 2}\n{"sku": 2, "cuont": null}')
    assert (absent.code, absent.severity) == ("declared-column-absent", Severity.WARNING)
    assert "count" in absent.note
    assert "cuont" in absent.note
    assert read('{"sku": 1}').problems == []
    everything = ", ".join(f'"{one.name}": null' for one in ITEMS.fields)
    assert read(f'{{"sku": 1, "x": 1}}\n{{{everything}}}').problems == []


def test_an_object_without_any_declared_column_is_refused():
    problem = problem_of('{"a": 1}\n{"b": 2}')
    assert problem.code == "missing-column"
    assert "sku (aliases: Article No, Größe)" in problem.note
    assert "a, b" in problem.note
    assert problem_of("{}").code == "missing-column"


def test_an_array_within_an_object_is_named():
    problem = problem_of('{"meta": {}, "data": [{"sku": 1}]}', key="a.json")
    assert problem.code == "missing-column"
    assert 'dialect = { property = "data" }' in problem.note


def test_missing_members_of_required_fields_are_missing_cells():
    dataset = dataset_of(Field(name="sku", constraints=Constraints(required=True)), Field(name="b"))
    found = read('{"sku": 1}\n{"b": 1}\n{"sku": null}\n{"sku": ""}\n{}', dataset)
    assert [(one.line, one.column) for one in found.problems] == [
        (line, "sku") for line in (2, 3, 4, 5)
    ]
    assert {one.code for one in found.problems} == {"missing-cell"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("key", ["a.ndjson", "a.json"])
def test_other_encodings_of_unicode_are_read(encoding: str, key: str):
    line = '{"sku": "é€"}'
    found = read(line.encode(encoding), key=key)
    assert [row["sku"] for row in found.rows] == ["é€"]


def test_a_line_that_is_not_utf8_is_a_problem_and_a_mark_at_the_start_of_a_line_is_dropped():
    found = read(b'{"sku": "\xe9"}\n\xef\xbb\xbf{"sku": "b"}\n{"sku": "\xed\xa0\x80"}')
    assert [row["sku"] for row in found.rows] == ["b"]
    assert [(one.code, one.line) for one in found.problems] == [
        ("undecodable", 1),
        ("undecodable", 3),
    ]
    assert found.problems[0].value == r'{"sku": "\xe9"}'


@pytest.mark.parametrize("name", ["sku", "x", "tags"])
@pytest.mark.parametrize("half", [r"\ud800", r"\udc00", r"\ud83dx", r"\udE00\ud83D"])
def test_half_of_a_surrogate_pair_is_a_problem_of_its_member(name: str, half: str):
    found = problem_of(f'{{"sku": "a"}}\n{{"{name}": ["{half}"]}}')
    assert (found.code, found.line, found.column) == ("undecodable", 2, name)
    assert row_of(r'{"sku": "\ud83d\ude00 \\ud800"}') == {"sku": r"😀 \ud800"}


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "empty-file"),
        (" \n\t", "empty-file"),
        ("\ufeff", "empty-file"),
        ("[]", "no-rows"),
        (" [ \n ] ", "no-rows"),
    ],
)
def test_a_file_without_rows_has_one_problem(content: str, code: str):
    found = problem_of(content, key="a.json")
    assert found.code == code
    assert "header" not in found.note


def test_elements_are_numbered_and_a_faulty_one_does_not_hide_others():
    elements = [
        '{"sku": "a, ]} \\"{["}', "5", '{"sku": [{"b": "]"}]}', "", '{"sku": 1 "b"}', "[]",
        '{"sku": "d"}',
    ]  # fmt: skip
    content = " [" + " ,\n ".join(elements) + "]\n"
    for size in range(1, 9):
        found = reading_of(source_file(content, "a.json"), ITEMS, [size], is_fast=True)
        assert [row["_source_line"] for row in found.rows] == [1, 3, 7]
        assert [(one.code, one.line) for one in found.problems] == [
            ("not-json", line) for line in (2, 4, 5, 6)
        ]
        assert found.counts == (7, 4)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('[{"sku": 1}, {"sku": 2', "within row 2"),
        ('[{"sku": 1}, {"sku": 2}', "within row 2"),
        ('[{"sku": 1},', "after row 1"),
        ('[{"sku": 1}, {"sku": "2}]', "within row 2"),
        ("[", "after row 0"),
        ('{"sku": 1', "within row 1"),
        ('[{"sku": 1}] [', "more than one JSON value"),
        ('[{"sku": 1}]]', "the array ends after row 1"),
        ('{"sku": 1}\n{"sku": 2}', ".ndjson"),
        ('[{"sku": 1}}', "closed by a brace after row 0"),
        ("5", "neither a JSON array of objects nor"),
        ("nonsense", "neither a JSON array of objects nor"),
    ],
)
def test_a_document_without_its_end_or_with_more_is_refused(content: str, expected: str):
    for size in (1, 5, 100):
        found = reading_of(source_file(content, "a.json"), ITEMS, [size], is_fast=True)
        assert found.rows == []
        (problem,) = found.problems
        assert (problem.code, problem.line) == ("not-json", None)
        assert expected in problem.note


def test_a_refused_file_does_not_disturb_others_that_are_read_with_it():
    files = [
        source_file(content, f"{place}.json")
        for place, content in enumerate(['{"sku": 1}', '[{"sku": 2}', "[]", '[{"sku": 3}]'])
    ]
    extracts = read_files(files, ITEMS)
    rows = [row["sku"] for one in extracts for row in one.rows.to_pylist()]
    assert sorted(rows) == ["1", "3"]
    problems = {problem.key: problem.code for one in extracts for problem in one.problems}
    assert problems == {"1.json": "not-json", "2.json": "no-rows"}
    assert sum(len(one.rows_read) for one in extracts) == len(files)


def batched(lines: list[bytes], size: int) -> Iterator[list[bytes]]:
    return (lines[start : start + size] for start in range(0, len(lines), size))


def endless(begin: bytes, middle: bytes, end: bytes) -> Iterator[bytes]:
    """A value of 64 MB, in parts of 1 MB."""
    yield begin
    for _ in range(64):
        yield middle * ((1 << 20) // len(middle))
    yield end


@pytest.mark.parametrize("middle", [b"x", b"\\\\", b" "], ids=repr)
@pytest.mark.parametrize(("key", "begin", "end"), [
    ("a.ndjson", b'{"sku": 1}\n{"sku": "', b'"}\r\n{"sku": 2}'),
    ("a.json", b'[{"sku": 1}, {"sku": "', b'"}, {"sku": 2}]'),
])  # fmt: skip
def test_a_huge_row_needs_little_memory_and_is_a_problem(
    key: str, begin: bytes, end: bytes, middle: bytes
):
    source = source_file(b"", key).source
    tracemalloc.start()
    try:
        found = list(read_object(source, ITEMS, None, endless(begin, middle, end)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 48 << 20
    assert [row["sku"] for one in found for row in one.rows.to_pylist()] == ["1", "2"]
    (problem,) = [problem for one in found for problem in one.problems]
    assert (problem.code, problem.line, problem.column) == ("cell-too-long", 2, None)


def test_a_huge_single_object_is_refused():
    source = source_file(b"", "a.json").source
    with pytest.raises(RefusedObject) as raised:
        list(read_object(source, ITEMS, None, endless(b'{"data": ["', b"x", b'"]}')))
    assert raised.value.problem_code is ProblemCode.CELL_TOO_LONG


def test_a_row_may_have_as_many_bytes_as_the_limit_and_no_more():
    for more, lines in ((0, [1, 2]), (1, [1])):
        content = b'{"sku": 1}\n{"any": 2' + b" " * (MOST_OBJECT_BYTES - 10 + more) + b"}\r\n"
        for sizes in (None, [1 << 20], [(1 << 20) + 1]):
            found = reading_of(source_file(content), ITEMS, sizes, is_fast=True)
            assert [row["_source_line"] for row in found.rows] == lines


def test_names_that_differ_in_every_row_need_little_memory():
    dataset = dataset_of(Field(name="sku"))
    lines = [f'{{"sku": 1, "{place:0>1000}": 1}}\n'.encode() for place in range(8_000)]
    source = source_file(b"").source
    tracemalloc.start()
    try:
        for extract in read_object(source, dataset, None, map(b"".join, batched(lines, 500))):
            assert not extract.problems or extract.problems[0].code == "declared-column-absent"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 << 20


def test_many_short_elements_are_read_a_few_at_a_time():
    dataset = dataset_of(Field(name="sku"))
    content = b'[{"sku": 1}' + b",{}" * 120_000 + b"]"
    found = list(read_object(source_file(b"", "a.json").source, dataset, None, [content]))
    rows = [one.rows_read["a.json"] for one in found]
    assert sum(rows) == 120_001
    assert max(rows) < 50_000


def test_many_faulty_rows_need_little_memory():
    dataset = dataset_of(Field(name="sku"))
    content = b'[{"sku": 1}' + b"," * 40_000 + b"]"
    tracemalloc.start()
    try:
        (found,) = read_files([source_file(content, "a.json")], dataset)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.rows_rejected == {"a.json": 40_000}
    assert peak < 24 << 20


@pytest.mark.parametrize("number", ["7.125", "-7.120", "1234.500"])
def test_decimals_are_no_group_of_an_integer_whose_groups_have_points(number: str):
    dataset = dataset_of(Field(name="count", type=FieldType.INTEGER, group_char="."))
    assert problem_of(f'{{"count": {number}}}', dataset).code == "not-an-integer"
    assert row_of('{"count": "7.125"}', dataset) == {"count": 7125}
    assert row_of('{"count": 7.000}', dataset) == {"count": 7}


def test_parts_may_be_empty():
    file = source_file('{"sku": 1}\n')
    assert parts_of(file.content, [4]) != [b""]
    found = list(read_object(file.source, ITEMS, None, [b"", file.content, b""]))
    assert sum(one.rows_read["a.ndjson"] for one in found) == 1
    assert extracts_of(source_file(""), ITEMS, [1])[0].problems[0].code == "empty-file"
