"""Numbers, compared with decimal arithmetic."""

from __future__ import annotations

import math
import re
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etl.model.dataset import Constraints, Field, FieldType
from tests.field_texts import FLOATS, NUMBERS
from tests.field_types import Refused, check, judged, plain_number

# The digits before and after the point that each column type holds.
ROOM = {
    None: (131_072, 16_383),
    "numeric(12,2)": (10, 2),
    "decimal(3, 3)": (0, 3),
    "numeric(38,10)": (28, 10),
    "numeric(50,20)": (30, 20),
    "numeric(100,40)": (60, 40),
    "numeric(5)": (5, 0),
}
SEPARATORS = [(".", ""), (",", "."), (".", ","), (",", "'")]


def number(sql: str | None, point: str = ".", group: str = "", **limits: object) -> Field:
    return Field(
        name="n",
        type=FieldType.NUMBER,
        sql=sql,
        decimal_char=point,
        group_char=group,
        constraints=Constraints(**limits),
    )


@given(st.lists(NUMBERS), st.sampled_from(list(ROOM)), st.sampled_from(SEPARATORS))
@example(["1", "+.5", "5.", "-0", "1.50", "007.10", "1e-2", "0e99999", "1\n"], None, (".", ""))
@example(["1.234,50", "12.34,5", "1234,5", "1234.567", "1,5e3"], "numeric(12,2)", (",", "."))
@example(["99999999990", "1e10", "1e9", "1E99999999999"], "numeric(12,2)", (".", ""))
@example(
    ["35" + "0" * 27, "1" + "0" * 200, "1e-135", "0." + "0" * 48 + "1"], "numeric(38,10)", (".", "")
)
@example(["35" + "0" * 27, "1." + "0" * 200], "numeric(12,2)", (".", ""))
@example(["1e131071", "1e131072", "1e-16383", "1e-16384", "-1e200000"], None, (".", ""))
def test_exact_numbers_are_judged_as_by_the_plain_rule(
    texts: list[str], sql: str | None, separators: tuple[str, str]
):
    for text, (value, codes) in zip(texts, judged(texts, number(sql, *separators)), strict=True):
        expected: Decimal | None = None
        code: frozenset[str] = frozenset()
        try:
            if text:
                expected = plain_number(text, *ROOM[sql], *separators)
        except Refused as refused:
            code = frozenset(refused.args)
        assert (None if value is None else Decimal(str(value))) == expected, text
        # A number beyond the scale and the range may be reported as both.
        assert code <= codes <= (code and {*code, "number-out-of-range"}), text


@given(st.lists(NUMBERS, min_size=1))
def test_equal_numbers_have_equal_texts(texts: list[str]):
    values = check(texts, number(None)).values.to_pylist()
    canonical: dict[Decimal, str] = {}
    for value in values:
        if value is not None:
            assert canonical.setdefault(Decimal(value), value) == value


@given(st.lists(NUMBERS), NUMBERS, st.sampled_from([None, *ROOM]))
@example(["0.1", "0.10000000000000000001", "0.09999999999999999999"], "0.1", None)
@example(["9007199254740993", "9007199254740992"], "9007199254740992", None)
@example(["1e-400", "0", "-1e-400"], "0", None)
@example(["1.23", "1.24"], "1.235", "numeric(12,2)")
@example(["1"], "1e30", "numeric(12,2)")
@example(["1", "-1"], "35" + "0" * 27, "numeric(38,10)")
@example(["1", "-1"], "1" + "0" * 200, "numeric(12,2)")
def test_bounds_are_exact(texts: list[str], bound: str, sql: str | None):
    try:
        limit = plain_number(bound, 400, 400)
    except Refused:
        return
    plain = check(texts, number(sql)).values.to_pylist()
    for limits, is_wrong in (
        ({"minimum": limit}, lambda value: value < limit),
        ({"exclusive_minimum": limit}, lambda value: value <= limit),
        ({"maximum": limit}, lambda value: value > limit),
        ({"exclusive_maximum": limit}, lambda value: value >= limit),
        ({"enum": (limit,)}, lambda value: value != limit),
    ):
        bounded = check(texts, number(sql, **limits)).values.to_pylist()
        expected = [
            None if value is None or is_wrong(Decimal(str(value))) else value for value in plain
        ]
        assert bounded == expected


@given(st.lists(FLOATS), st.sampled_from(["real", "float8"]))
@example(["1.5", "+1.5", "1e5"], "float8")
@example(["0e-400", "-0.000", "4.9e-324", "2e-324"], "float8")
@example(["3.4e38", "3.5e38", "1e-46", "1.4e-45"], "real")
def test_floats_are_the_nearest_ones(texts: list[str], sql: str):
    kind = np.float32 if sql == "real" else np.float64
    field = number(sql)
    for text, (value, codes) in zip(texts, judged(texts, field), strict=True):
        if not text:
            assert (value, codes) == (None, frozenset())
        elif re.fullmatch(r"nan|[+-]?(inf|infinity)", text, re.IGNORECASE | re.ASCII):
            assert codes == frozenset()
            assert math.isnan(value) if "a" in text.lower() else math.isinf(value)
        else:
            _check_finite(text, value, codes, kind)


def _check_finite(text: str, value: object, codes: frozenset[str], kind: type) -> None:
    try:
        exact = plain_number(text, 10**9, 10**9)
    except Refused:
        assert (value, codes) == (None, {"not-a-number"}), text
        return
    with np.errstate(over="ignore"):
        nearest = kind(text)
    if np.isinf(nearest) or (nearest == 0 and exact):
        assert (value, codes) == (None, {"number-out-of-range"}), text
    else:
        assert codes == frozenset(), text
        assert kind(value) == nearest
        assert math.copysign(1, value) == 1 or value < 0


@pytest.mark.parametrize(
    ("limits", "valid"),
    [
        ({"maximum": Decimal("1e39")}, ["1", "0.1", "-inf"]),
        ({"minimum": Decimal("-1e39")}, ["1", "0.1", "inf", "nan"]),
        ({"minimum": Decimal("1e39")}, ["inf", "nan"]),
        ({"maximum": Decimal("-1e39")}, ["-inf"]),
        ({"minimum": Decimal("0.1")}, ["1", "0.1", "inf", "nan"]),
    ],
)
def test_infinite_floats_are_beyond_finite_bounds(limits: dict[str, Decimal], valid: list[str]):
    texts = ["1", "0.1", "inf", "-inf", "nan"]
    accepted = check(texts, number("real", **limits)).values.is_valid().to_pylist()
    assert [text for text, is_kept in zip(texts, accepted, strict=True) if is_kept] == valid


@pytest.mark.parametrize("sql", ["bigint", "numeric"])
def test_bounds_of_integers_may_exceed_their_column(sql: str):
    for limits, is_valid in (({"minimum": 10**30}, False), ({"maximum": 10**30}, True)):
        field = Field(name="n", type=FieldType.INTEGER, sql=sql, constraints=Constraints(**limits))
        assert check(["1", "-1"], field).values.is_valid().to_pylist() == [is_valid] * 2


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        (number(None), "1,5", '"," is the decimal separator'),
        (number(None), "1.234,56", "declare them as groupChar and decimalChar"),
        (number(None), "1 234 567", '" " separates thousands'),
        (number(None), "1.234.567", "as groupChar and another character as decimalChar"),
        (number(None), "1.299.50", '"." separates the decimals, so it occurs only once'),
        (number(None), "1'299,50 Fr.", """"'" separates thousands and "," decimals"""),
        (number(None), "NaN", "need the column type double precision"),
        (number(None), "12 EUR", 'Remove "EUR"'),
        (number(None), "$5", 'Remove "$"'),
        (number(None), "5-", "the sign before its digits"),
        (number(None), "(5)", "the sign before its digits"),
        (number("numeric(12,2)"), "1.255", "2 decimals in its column type numeric(12,2)"),
        (number("numeric(12,2)"), "1e11", "10 digits before the decimal point"),
        (number("real"), "1e39", "out of range"),
        (number(None, minimum=Decimal("0.5")), "0", "at least 0.5"),
    ],
)
def test_hints_name_what_was_expected(field: Field, text: str, words: str):
    (fault,) = check([text], field).faults
    assert words in fault.note(text)


THOUSANDS = (
    ' "." separates thousands: one to three digits come before the first one and exactly three '
    'digits after each. Decimals follow ",".'
)
SWAPPED = ' If "," separates thousands and "." decimals, declare them as groupChar and decimalChar.'


def remove(unit: str) -> str:
    return f' Remove "{unit}": units and currencies do not belong in a number.'


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        ("1.299,50 \u20ac", remove("\u20ac")),
        ("\u20ac\u00a0-1.299,50", remove("\u20ac")),
        ("1.299,5x", remove("x")),
        ("5 Std.", remove("Std.")),
        ("Fr. 5", remove("Fr.")),
        ("5,-", remove("-")),
        ("1.29,5 EUR", THOUSANDS + remove("EUR")),
        ("1.299.50", THOUSANDS),
        ("1299.500", THOUSANDS),
        ("12.34", THOUSANDS),
        ("1.29e5", THOUSANDS),
        ("1.299,5.0", ' "." separates thousands and cannot be among the decimals.'),
        ("1,2,3", ' "," separates the decimals, so it occurs only once.'),
        ("1,299.50", SWAPPED),
        ("a.b", ""),
        ("1.299x5", ""),
        (".", ""),
        ("1" * 1_000_000 + "x", ""),
    ],
)
def test_hints_fit_the_declared_separators(text: str, remark: str):
    (fault,) = check([text], number(None, ",", ".")).faults
    assert fault.note(text) == f"Write n as a number, for example 1.234,5.{remark}"
