"""JSON files whose rows are in a member of an object: `dialect.property`."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model.dataset import Constraints, Dialect, Field, FieldType
from etl.model.errors import RefusedObject
from etl.model.values import ProblemCode, Severity
from etl.read.formats import read_object
from etl.read.json.members import MOST_HEAD_BYTES, MemberCutter
from etl.read.rows.layout import AddedColumns
from tests.json_sources import dataset_of, reading_of, readings_together, source_file

PLAIN = dataset_of(
    Field(name="sku", constraints=Constraints(required=True)),
    Field(name="count", type=FieldType.INTEGER),
)
ITEMS = replace(PLAIN, dialect=Dialect(member="data"))
ROWS = '[{"sku": "a", "count": 1}, {"sku": null}, 5, {"sku": "]}", "count": 2}]'
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
OTHERS = st.dictionaries(st.text(max_size=5).filter(lambda one: one != "data"), VALUES, max_size=3)


@given(
    OTHERS,
    OTHERS,
    st.sampled_from([None, 1]),
    st.sampled_from(["data", "", 'a "b"', "é\\", "x" * 100]),
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    st.booleans(),
)
def test_rows_are_those_of_the_array_alone(  # noqa: PLR0913, PLR0917 - from Hypothesis
    before: dict[str, Any],
    after: dict[str, Any],
    indent: int | None,
    name: str,
    sizes: list[int],
    is_fast: bool,  # noqa: FBT001
):
    named = {**before, name: json.loads(ROWS)}
    content = named | {key: one for key, one in after.items() if key not in named}
    text = json.dumps(content, indent=indent)
    dataset = replace(PLAIN, dialect=Dialect(member=name))
    expected = reading_of(source_file(ROWS, "a.json"), PLAIN, is_fast=False)
    assert [one.line for one in expected.problems] == [2, 3]
    found = reading_of(source_file(text, "a.json"), dataset, sizes, is_fast=is_fast)
    assert found == expected
    assert reading_of(source_file(text, "a.json"), dataset, is_fast=is_fast) == expected


@pytest.mark.parametrize(
    ("content", "said", "value"),
    [
        ('{"Data": [], "b": 1}', 'no member "data". Its members are "Data", "b". Name the', None),
        ("{}", "no member", None),
        (json.dumps(dict.fromkeys("abcdef")), '"d", "e", and others. Name', None),
        ('{"data": {"a": 1}}', "is an object, but must be the array", '{"a": 1}'),
        ('{"data": null, "b": 1}', "is null", "null"),
        ('{"data": "x"}', "is a string", '"x"'),
        ('{"data": -1}', "is a number", "-1"),
        ('{"data": [], "data": []}', "two members", "[]"),
        ('{"data": [{"sku": "a"}], "d\\u0061ta": 1}', "two members", "1"),
        ('[{"sku": "a"}]', "Remove property", '[{"sku": "a"}]'),
        ("12", "not a JSON object", "12"),
        ('{"data": [], 5}', "no name or no value", "5"),
        ('{"data": [],}', "no name or no value", None),
        ('{"a":, "data": []}', "no name or no value", '"a":'),
        (r'{"\x": 1, "data": []}', "not a string of JSON", r'"\x": 1'),
        ('{"data": [] 1}', "more after the array", "1"),
        ('{"data": [{"sku": "a"}}}', "closed by a brace", '{"sku": "a"}}'),
        ('{"data": []]', "closed by a bracket", None),
        ('{"data": []} {}', "more than one JSON value", "{}"),
        ('{"data": [{"sku": "a"}], "b": "', "ends after row 1", None),
        ('{"data": [{"sku": "a"}, {"sk', "ends within row 2", '{"sk'),
        ('{"meta": {"data": [', "ends before the rows", None),
        (f'{{"{"x" * MOST_HEAD_BYTES}": 1, "data": []}}', "no name or no value", None),
    ],
)
def test_other_files_are_refused_with_what_to_do(content: str, said: str, value: str | None):
    for sizes in (None, [1], [3, 7], [5000]):
        if sizes is not None and len(content) > MOST_HEAD_BYTES > 100 * sizes[0]:
            continue
        found = reading_of(source_file(content, "a.json"), ITEMS, sizes, is_fast=True)
        (problem,) = (one for one in found.problems if one.severity is Severity.ERROR)
        assert (problem.code, problem.line) == (ProblemCode.NOT_JSON, None)
        assert said in problem.note
        assert value is None or sizes is not None or problem.value == value
        assert found.rows == []


def test_an_array_without_elements_and_an_empty_file_are_told_apart():
    for content, code in (('{"data": [ ]}', "no-rows"), (" \n", "empty-file")):
        (problem,) = reading_of(source_file(content, "a.json"), ITEMS, is_fast=True).problems
        assert problem.code == code


def test_small_files_are_read_together_as_alone():
    contents = ['{"data": [{"sku": "a"}]}', '{"n": 1, "data": [{"sku": "b"}, {"sku": "c"}]}', "{}"]
    files = [source_file(one, f"{n}.json") for n, one in enumerate(contents * 3)]
    alone = [reading_of(one, ITEMS, is_fast=False) for one in files]
    assert readings_together(files, ITEMS) == alone
    assert [len(one.rows) for one in alone] == [1, 2, 0] * 3


def test_lines_are_read_as_without_property():
    file = source_file('{"sku": "a"}\n{"sku": "b", "data": [{"sku": "c"}]}', "a.ndjson")
    assert reading_of(file, ITEMS, is_fast=True) == reading_of(file, PLAIN, is_fast=True)


def test_other_members_of_any_size_need_little_memory():
    def parts() -> Iterator[bytes]:
        yield b'{"text": "'
        for _ in range(60):
            yield b"x" * 500_000
        yield b'", "array": ['
        for _ in range(20):
            yield b'{"a": "]"},' * 20_000
        yield b'1], "data": [{"sku": "a", "count": 1}], "end": ['
        for _ in range(20):
            yield b'"}",' * 50_000
        yield b"1]}"

    source = source_file("x", "a.json").source
    tracemalloc.start()
    try:
        extracts = list(read_object(source, ITEMS, AddedColumns(), parts()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(len(one.rows) for one in extracts) == 1
    assert peak < 12 << 20


def test_a_refusal_follows_the_elements_before_it():
    cutter = MemberCutter("data")
    elements = cutter.take(b'{"data": [1, 2], "data": 3}')
    assert [one.content.strip() for one in elements.texts()] == [b"1", b"2"]
    with pytest.raises(RefusedObject, match="two members"):
        cutter.finish()
