"""Cells that have a type mean what their texts mean, apart from the exceptions listed here."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.model.dataset import Constraints, Field, FieldType
from etl.model.values import Severity
from etl.read.types import CheckedColumn, check_column
from etl.read.types.typed_texts import texts_of
from tests.field_types import TODAY
from tests.typed_cells import (
    DECIMALS,
    FIELDS,
    FLOATS,
    TYPES,
    alike,
    cells,
    expected_text,
    plain_text,
)

COLUMNS = st.sampled_from(TYPES).flatmap(cells)


def check(array: pa.Array, field: Field) -> CheckedColumn:
    return check_column(pa.chunked_array([array]), field, (), TODAY)


def judged(array: pa.Array, field: Field) -> list[tuple[object, frozenset[str]]]:
    """The value and the codes of each cell."""
    checked = check(array, field)
    codes: list[set[str]] = [set() for _ in range(len(array))]
    values = checked.values.to_pylist()
    assert len(values) == len(array)
    for fault in checked.faults:
        assert fault.rows.any()
        for row in np.flatnonzero(fault.rows).tolist():
            codes[row].add(fault.code.value)
            assert fault.note(texts_of(array)[row].as_py())
            assert fault.severity is Severity.WARNING or values[row] is None
    return [
        (alike(value, field), frozenset(found)) for value, found in zip(values, codes, strict=True)
    ]


@pytest.mark.parametrize("type_", TYPES, ids=str)
@settings(max_examples=settings().max_examples // 25)
@given(st.data())
def test_typed_cells_are_judged_as_their_texts(type_: pa.DataType, data: st.DataObject):
    array = data.draw(cells(type_))
    for field in FIELDS:
        expect_alike(array, field)


def expect_alike(array: pa.Array, field: Field) -> None:
    texts = [expected_text(array, row, field) for row in range(len(array))]
    found = judged(array, field)
    by_text = judged(pa.array(texts, pa.large_string()), field)
    is_id = field.type is FieldType.STRING and pa.types.is_floating(array.type)
    for place, pair in enumerate(zip(found, by_text, strict=True)):
        if is_id and not math.isfinite(array[place].as_py()):
            assert "not-a-number" in found[place][1]
        else:
            assert pair[0] == pair[1], texts[place]


@given(COLUMNS)
def test_texts_are_those_of_python(array: pa.Array):
    texts = texts_of(array).to_pylist()
    for row, text in enumerate(texts):
        plain = plain_text(array, row)
        assert plain is None or text == plain
        if pa.types.is_decimal(array.type):
            assert Decimal(text) == array[row].as_py()
        if pa.types.is_floating(array.type):
            kind = array.type.to_pandas_dtype()
            assert np.array_equal(kind(text), array[row].as_py(), equal_nan=True)
            is_finite = math.isfinite(kind(text))
            assert not is_finite or len(text) <= len(str(kind(text))) + len("e+15")


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_floats_that_are_no_number_are_spelled_as_postgresql_does(kind: str):
    special = np.array([np.inf, -np.inf, np.nan], np.dtype(kind))
    assert texts_of(pa.array(special)).to_pylist() == ["Infinity", "-Infinity", "NaN"]


def test_large_floats_have_no_exponent_where_whole_numbers_are_exact():
    floats = [1e10, -12345678901.0, 12345678901.5, 2.0**53 - 1, 1e16, 0.1, -0.0]
    texts = [
        "10000000000",
        "-12345678901",
        "12345678901.5",
        "9007199254740991",
        "1e+16",
        "0.1",
        "0",
    ]
    assert texts_of(pa.array(floats)).to_pylist() == texts


@given(COLUMNS)
def test_nulls_have_no_text(array: pa.Array):
    places = pa.array(
        [place if place % 2 == 0 else None for place in range(len(array))], pa.int64()
    )
    with_nulls = array.take(places)
    whole = texts_of(array).to_pylist()
    for place, text in enumerate(texts_of(with_nulls).to_pylist()):
        assert text == (whole[place] if place % 2 == 0 else None)


@pytest.mark.parametrize("type_", [*FLOATS, *DECIMALS[2:], pa.int64()], ids=str)
def test_options_of_texts_do_not_change_typed_cells(type_: pa.DataType):
    plain = Field(name="x", type=FieldType.NUMBER, sql="numeric(12,2)")
    german = replace(plain, decimal_char=",", group_char=".", missing_values=("1", "1.5"))
    array = pa.array([Decimal(100), Decimal(1500)]).cast(pa.float64()).cast(type_)
    assert judged(array, german) == judged(array, plain)


def test_typed_dates_do_not_depend_on_the_format():
    field = Field(name="d", type=FieldType.DATE, format="%d.%m.%Y")
    assert judged(pa.array([date(2026, 3, 1)]), field) == [(date(2026, 3, 1), frozenset())]


@pytest.mark.parametrize(
    ("array", "field", "hint"),
    [
        (pa.array([1000.5]), Field(name="n", type=FieldType.INTEGER), "is a decimal number"),
        (pa.array([2.0**53]), Field(name="n", type=FieldType.INTEGER), "9,007,199,254,740,992 on"),
        (
            pa.array([float("nan")]),
            Field(name="n", type=FieldType.INTEGER),
            "Write null in place of NaN.",
        ),
        (pa.array([float("nan")]), Field(name="t"), "Write null in place of NaN and infinity."),
        (
            pa.array([float("nan")]),
            Field(name="x", type=FieldType.NUMBER),
            "need the column type double precision",
        ),
        (
            pa.array([1], pa.timestamp("ns")),
            Field(name="w", type=FieldType.DATETIME),
            "Microseconds (six decimals) are the finest unit",
        ),
        (
            pa.array([43_200], pa.timestamp("s")),
            Field(name="d", type=FieldType.DATE),
            "has a time of day; remove it, or declare a datetime",
        ),
        (
            pa.array([datetime(2026, 3, 1, tzinfo=UTC)]),
            Field(name="d", type=FieldType.DATE),
            "The column has the type timestamp[us, tz=UTC] in the file.",
        ),
        (
            pa.array([1], pa.duration("s")),
            Field(name="x", type=FieldType.NUMBER),
            "The column has the type duration[s] in the file.",
        ),
        (
            pa.array([2**64 - 1], pa.uint64()),
            Field(name="n", type=FieldType.INTEGER),
            "the range of its column type bigint",
        ),
    ],
)
def test_hints_of_typed_cells(array: pa.Array, field: Field, hint: str):
    (fault,) = check(array, field).faults
    assert hint in fault.note(texts_of(array)[0].as_py())


def test_constraints_hold_for_typed_cells():
    field = Field(
        name="n", type=FieldType.INTEGER, constraints=Constraints(minimum=2, enum=(1, 2, 3))
    )
    assert [codes for _, codes in judged(pa.array([1.0, 2.0, 3.0, 4.0]), field)] == [
        {"below-minimum"},
        frozenset(),
        frozenset(),
        {"not-in-enum"},
    ]
    code = Field(name="t", constraints=Constraints(pattern="[0-9]{4}"))
    assert [codes for _, codes in judged(pa.array([1000.0, 999.0]), code)] == [
        frozenset(),
        {"pattern-mismatch"},
    ]


def test_types_that_no_field_takes_are_named():
    array = pa.array([b"x"])
    with pytest.raises(TypeError, match="binary"):
        check(array, Field(name="t"))
