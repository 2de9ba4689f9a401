"""Every path of the reader of NDJSON and JSON gives the same rows and problems."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.model.dataset import Constraints, Dataset, Field, FieldType, Moment, UnknownColumns
from tests.json_sources import dataset_of, reading_of, readings_together, source_file

REQUIRED = Constraints(required=True)
FIELDS = (
    Field(name="s", constraints=REQUIRED),
    Field(name="i", type=FieldType.INTEGER, aliases=("No",)),
    Field(name="h", type=FieldType.INTEGER, sql="smallint", missing_values=("-1", "")),
    Field(name="w", type=FieldType.INTEGER, sql="numeric"),
    Field(name="d", type=FieldType.NUMBER, sql="double precision"),
    Field(name="r", type=FieldType.NUMBER, sql="real", decimal_char=","),
    Field(name="n", type=FieldType.NUMBER, constraints=Constraints(minimum=Decimal(-5))),
    Field(name="p", type=FieldType.NUMBER, sql="numeric(6,2)"),
    Field(name="q", type=FieldType.NUMBER, sql="numeric(6,2)", decimal_char=",", group_char="."),
    Field(name="b", type=FieldType.BOOLEAN, true_values=("yes",), false_values=("no",)),
    Field(name="t", type=FieldType.DATETIME),
    Field(name="y", type=FieldType.YEAR),
    Field(name="e", type=FieldType.EPOCH_MS, constraints=Constraints(maximum=Moment.TODAY)),
    Field(name="m", type=FieldType.EPOCH_MS, constraints=Constraints(maximum=date(2000, 1, 1))),
    Field(name="o", type=FieldType.OBJECT),
    Field(name="a", type=FieldType.ANY),
    Field(name="u", trim=False),
)
DATASETS = [
    dataset_of(*FIELDS, unknown_columns=UnknownColumns.ADD),
    dataset_of(*FIELDS, unknown_columns=UnknownColumns.EXTRA, missing_values=("", "7", "yes")),
    dataset_of(*FIELDS[:3], unknown_columns=UnknownColumns.REFUSE),
    dataset_of(*FIELDS[1:3], path_columns="{x}.{y}"),
]

ODD_NUMBERS = """
    -0 -0.0 0.00 1e3 1E+2 1e-400 1e400 1.10 2026 0e5 -1.5e-9 -1 7 1234.56 9999.99 99999.99
    123456789012345678 0.1000000000000000055 1e39 1e-46 16777217 9007199254740993 1e22 1e35
    9223372036854775807 9223372036854775808 1111111111111111111111111111111111111111 5e-324
    111111111111111111111111111111111111111.5 0.00000000000000000000000000000000000000000001
"""
NUMBERS = st.one_of(
    st.integers(-10, 10).map(str),
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str),
    st.sampled_from(ODD_NUMBERS.split()),
)
ODD_STRINGS = r"""
    "" "7" "1.5" "1,5" "1.234,5" "yes" "\u0000" "\ud800" "\udc00" "\ud83d\ude00" "\\ud800" "}\n{"
    "5." "NaN" "e-" "{}" "true" "+5" ".5" "1e2" "inf" "é" "2026-01-01T00:00:00Z" "2026-01-01" "\/"
"""
STRINGS = st.one_of(
    st.text(max_size=5).map(json.dumps),
    st.sampled_from([*ODD_STRINGS.split(), '" x "', '" 1.5"']),
)
VALUES = st.one_of(
    NUMBERS,
    STRINGS,
    st.sampled_from(["null", "true", "false", "NaN", "-Infinity", "[]", "{}", '{"k":[1,null]}']),
    st.sampled_from(['{"k":1,"k":2}', "[" * 250 + "]" * 250, "01", "+1", ".5", "5.", "nul", "'x'"]),
)
NAMES = st.sampled_from(
    [one.name for one in FIELDS] + ["S", " s", "No", "no", r"\u0073", "x", "X", "", "_z", "zz"]
)
OBJECTS = st.lists(st.tuples(NAMES, VALUES), max_size=4).map(
    lambda pairs: "{" + ",".join(f'"{name}":{value}' for name, value in pairs) + "}"
)
TYPED = st.fixed_dictionaries(
    {"s": STRINGS},
    optional={
        "i": st.integers(-(2**63), 2**63).map(str),
        "d": NUMBERS,
        "r": NUMBERS,
        "n": NUMBERS,
        "p": NUMBERS,
        "b": st.sampled_from(["true", "false", "null"]),
        "y": NUMBERS,
        "m": NUMBERS,
        "h": NUMBERS,
        "w": NUMBERS,
        "x": STRINGS,
    },
).map(lambda members: "{" + ",".join(f'"{name}":{one}' for name, one in members.items()) + "}")
ODD = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", " ", "{", "}", "[", "]", "{}{}", '{"s":"a"} ', "\ufeff{}", "//", "{},"]),
    st.text(alphabet='{}[]",:\\\n\r 0e-s', max_size=12),
)
LINES = st.one_of(OBJECTS, TYPED, ODD)
ENDS = st.sampled_from(["\n", "\r\n", "\r", "\n\n", " \n"])


def assert_same_readings(content: bytes, dataset: Dataset, key: str, sizes: list[int]) -> None:
    file = source_file(content, key)
    exact = reading_of(file, dataset, is_fast=False)
    assert reading_of(file, dataset, is_fast=True) == exact
    assert reading_of(file, dataset, sizes, is_fast=True) == exact
    assert reading_of(file, dataset, sizes, is_fast=False) == exact


SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=3)


@given(
    st.lists(st.tuples(LINES, ENDS), max_size=6), st.sampled_from(DATASETS), SIZES, st.booleans()
)
def check_lines(
    written: list[tuple[str, str]],
    dataset: Dataset,
    sizes: list[int],
    is_utf16: bool,  # noqa: FBT001 - Hypothesis
) -> None:
    text = "".join(line + end for line, end in written)
    content = text.encode("utf-16" if is_utf16 else "utf-8", "surrogatepass")
    assert_same_readings(content, dataset, "a.ndjson", sizes)


@given(st.lists(TYPED, max_size=8), st.sampled_from(DATASETS), SIZES)
def check_typed_lines(written: list[str], dataset: Dataset, sizes: list[int]) -> None:
    assert_same_readings("\n".join(written).encode(), dataset, "a.ndjson", sizes)


@given(
    st.lists(LINES, max_size=6),
    st.sampled_from(["", " ", "\n\t"]),
    st.sampled_from(DATASETS),
    SIZES,
)
def check_elements(written: list[str], space: str, dataset: Dataset, sizes: list[int]) -> None:
    text = f"{space}[{space}" + f"{space},{space}".join(written) + f"{space}]{space}"
    assert_same_readings(text.encode("utf-8", "surrogatepass"), dataset, "a.json", sizes)


@given(st.binary(max_size=60) | ODD.map(str.encode), st.sampled_from(DATASETS), SIZES)
def check_bytes(content: bytes, dataset: Dataset, sizes: list[int]) -> None:
    assert_same_readings(content, dataset, "a.json", sizes)
    assert_same_readings(content, dataset, "a.ndjson", sizes)


WHOLE_FILES = st.one_of(
    st.lists(LINES, max_size=3).map(lambda some: ("ndjson", "\n".join(some))),
    st.lists(LINES, max_size=3).map(lambda some: ("json", f"[{','.join(some)}]")),
    st.tuples(st.just("json"), LINES),
    st.lists(TYPED, max_size=3).map(lambda some: ("ndjson", "\n".join(some))),
    st.lists(TYPED, max_size=3).map(lambda some: ("json", f" [{' ,'.join(some)}]")),
    st.tuples(st.just("json"), TYPED),
)


PLAIN = st.fixed_dictionaries(
    {},
    optional={
        "s": st.sampled_from(['"a"', '" b "', "null", '""', r'"\u00e9"']),
        "i": st.integers(-9, 9).map(str),
        "d": st.sampled_from(["1.5", "0", "-1e3", "null"]),
        "u": st.just('"x"'),
    },
).map(lambda members: "{" + ", ".join(f'"{name}": {one}' for name, one in members.items()) + "}")
PLAIN_FILES = st.one_of(
    st.lists(PLAIN, min_size=1, max_size=3).map(lambda some: ("ndjson", "\r\n".join(some))),
    st.lists(PLAIN, min_size=1, max_size=3).map(lambda some: ("json", f"[{', '.join(some)}]")),
    st.tuples(st.just("json"), PLAIN),
)


@given(
    st.lists(WHOLE_FILES, max_size=8) | st.lists(PLAIN_FILES, min_size=2, max_size=8),
    st.sampled_from(DATASETS),
)
def check_small_files(written: list[tuple[str, str]], dataset: Dataset) -> None:
    dataset = replace(dataset, prefer="s", unknown_columns=UnknownColumns.EXTRA)
    files = [
        source_file(text.encode("utf-8", "surrogatepass"), f"{place}.{kind}")
        for place, (kind, text) in enumerate(written)
    ]
    alone = [reading_of(file, dataset, is_fast=False) for file in files]
    assert readings_together(files, dataset) == alone


CHECKS = (check_small_files, check_lines, check_typed_lines, check_elements, check_bytes)


@pytest.mark.parametrize("check", CHECKS)
def test_all_paths_and_cuts_agree(check: Callable[[], None]):
    settings(max_examples=40)(check)()


@pytest.mark.long
@pytest.mark.parametrize("check", CHECKS)
def test_all_paths_and_cuts_agree_on_many_files(check: Callable[[], None]):
    settings(max_examples=2_000)(check)()
