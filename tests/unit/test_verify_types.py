"""The verifier's rules for the values of each field type."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model.dataset import Constraints, Dataset, Field, FieldType, Moment
from etl.model.values import ProblemCode
from etl.verify.cells import CellReader
from etl.verify.documents import JsonValue, read_document, stored_document
from etl.verify.patterns import whole_match

TODAY = date(2024, 2, 29)
ORDERS = Dataset(name="orders", table="orders", fields=(), include=("**",), primary_key=("id",))


def cell(text: str | None, kind: FieldType, **rules: Any) -> object:  # noqa: ANN401
    """The value of a cell, or the codes of its faults; its warnings follow the value."""
    dataset = ORDERS
    missing = rules.pop("of_dataset", None)
    if missing is not None:
        dataset = Dataset(name="o", table="o", fields=(), include=("**",), missing_values=missing)
    names = {name: rules.pop(name) for name in list(rules) if name in Constraints.__slots__}
    field = Field(name="x", type=kind, constraints=Constraints(**names), **rules)
    warnings: list[ProblemCode] = []
    value, codes = CellReader(field, dataset, TODAY).read(text, warnings)
    if codes:
        return [code.value for code in codes]
    return (value, *(code.value for code in warnings)) if warnings else value


GERMAN = {"decimal_char": ",", "group_char": "."}
PRICE = {"sql": "numeric(12,2)"}
DOUBLE = {"sql": "double precision"}


@pytest.mark.parametrize(
    ("text", "rules", "value"),
    [
        ("0", {}, 0),
        ("-7", {}, -7),
        ("+007", {}, 7),
        ("9223372036854775807", {}, 2**63 - 1),
        ("9223372036854775808", {}, ["number-out-of-range"]),
        ("-9223372036854775808", {}, -(2**63)),
        ("32768", {"sql": "smallint"}, ["number-out-of-range"]),
        ("-2147483649", {"sql": "integer"}, ["number-out-of-range"]),
        ("9" * 30, {"sql": "numeric(30)"}, int("9" * 30)),
        ("9" * 31, {"sql": "numeric(30)"}, ["number-out-of-range"]),
        ("1000.0", {}, 1000),
        ("1,000.0", {"group_char": ","}, 1000),
        ("1.00", {}, ["not-an-integer"]),
        ("1.000", {}, ["not-an-integer"]),
        (".0", {}, ["not-an-integer"]),
        ("1.0", {"group_char": "."}, ["not-an-integer"]),
        ("1e3", {}, ["not-an-integer"]),
        ("\u0661", {}, ["not-an-integer"]),
        ("1\n", {}, ["not-an-integer"]),
        ("1_000", {}, ["not-an-integer"]),
        ("", {}, None),
        (" 1", {"trim": False}, ["not-an-integer"]),
        ("1.234.567", {"group_char": "."}, 1234567),
        ("1.23", {"group_char": "."}, ["not-an-integer"]),
        ("1.2345", {"group_char": "."}, ["not-an-integer"]),
        (".123", {"group_char": "."}, ["not-an-integer"]),
        ("1..234", {"group_char": "."}, ["not-an-integer"]),
    ],
)
def test_integers_are_exact(text: str, rules: dict[str, Any], value: object):
    assert cell(text, FieldType.INTEGER, **rules) == value


@pytest.mark.parametrize(
    ("text", "rules", "value"),
    [
        ("1.50", {}, Decimal("1.5")),
        ("-.5", {}, Decimal("-0.5")),
        ("5.", {}, Decimal(5)),
        (".", {}, ["not-a-number"]),
        ("+1e3", {}, Decimal(1000)),
        ("1E-3", {}, Decimal("0.001")),
        ("1e", {}, ["not-a-number"]),
        ("1,5", {}, ["not-a-number"]),
        ("1.234,56", GERMAN, Decimal("1234.56")),
        ("1.234.567", GERMAN, Decimal(1234567)),
        ("12.34", GERMAN, ["not-a-number"]),
        ("1234,5", GERMAN, Decimal("1234.5")),
        ("1.234,567.8", GERMAN, ["not-a-number"]),
        ("12.50", PRICE, Decimal("12.5")),
        ("12.500", PRICE, Decimal("12.5")),
        ("12.505", PRICE, ["too-many-decimals"]),
        ("1e-3", PRICE, ["too-many-decimals"]),
        ("9999999999.99", PRICE, Decimal("9999999999.99")),
        ("10000000000", PRICE, ["number-out-of-range"]),
        ("0e99", PRICE, 0),
        ("1e131072", {}, ["number-out-of-range"]),
        ("1e-16384", {}, ["too-many-decimals"]),
        ("1e999999999999999999999", {}, ["number-out-of-range"]),
        ("1e-999999999999999999999", {}, ["too-many-decimals"]),
        ("NaN", {}, ["not-a-number"]),
        ("inf", PRICE, ["not-a-number"]),
        ("-INF", DOUBLE, -math.inf),
        ("0.1", DOUBLE, 0.1),
        ("1e400", DOUBLE, ["number-out-of-range"]),
        ("1e-400", DOUBLE, ["number-out-of-range"]),
        ("12345678901.123", PRICE, ["too-many-decimals", "number-out-of-range"]),
        ("0.1", {"sql": "real"}, 0.10000000149011612),
        ("1e39", {"sql": "real"}, ["number-out-of-range"]),
    ],
)  # fmt: skip
def test_numbers_are_never_rounded(text: str, rules: dict[str, Any], value: object):
    assert cell(text, FieldType.NUMBER, **rules) == value


def test_nan_is_only_in_double_precision():
    value = cell("NaN", FieldType.NUMBER, **DOUBLE)
    assert isinstance(value, float)
    assert math.isnan(value)


@given(number=st.decimals(allow_nan=False, allow_infinity=False, places=2), is_german=st.booleans())
def test_a_number_written_with_groups_is_the_number(number: Decimal, *, is_german: bool):
    english = f"{number:,.2f}"
    swapped = english.translate(str.maketrans(",.", ".,"))
    rules = GERMAN if is_german else {"group_char": ","}
    assert cell(swapped if is_german else english, FieldType.NUMBER, **rules) == number


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("0", False), ("yes", ["not-a-boolean"]), ("", None)]
)
def test_booleans_are_the_declared_texts(text: str, value: object):
    assert cell(text, FieldType.BOOLEAN) == value
    rules = {"true_values": ("ja",), "false_values": ("nein",)}
    assert cell("ja", FieldType.BOOLEAN, **rules) is True
    assert cell("true", FieldType.BOOLEAN, **rules) == ["not-a-boolean"]


@pytest.mark.parametrize(
    ("text", "rules", "value"),
    [
        ("2024-02-29", {}, date(2024, 2, 29)),
        ("2023-02-29", {}, ["not-a-date"]),
        ("0000-01-01", {}, ["not-a-date"]),
        ("2024-2-9", {}, ["not-a-date"]),
        ("20240229", {}, ["not-a-date"]),
        ("2024-02-29T00:00", {}, ["not-a-date"]),
        ("29.02.2024", {"format": "%d.%m.%Y"}, date(2024, 2, 29)),
        ("30.02.2024", {"format": "%d.%m.%Y"}, ["not-a-date"]),
        ("29.02.24", {"format": "%d.%m.%y"}, date(2024, 2, 29)),
        ("28.02.69", {"format": "%d.%m.%y"}, date(1969, 2, 28)),
        ("1 Feb 2024", {"format": "%d %b %Y"}, date(2024, 2, 1)),
        ("May 3, 2024", {"format": "%B %d, %Y"}, date(2024, 5, 3)),
        ("2024-060", {"format": "%Y-%j"}, date(2024, 2, 29)),
        ("2023-366", {"format": "%Y-%j"}, ["not-a-date"]),
    ],
)
def test_dates_are_in_iso_8601_or_their_format(text: str, rules: dict[str, Any], value: object):
    assert cell(text, FieldType.DATE, **rules) == value


@pytest.mark.parametrize(
    ("text", "rules", "value"),
    [
        ("10:20:30", {}, time(10, 20, 30)),
        ("10:20:30.5", {}, time(10, 20, 30, 500_000)),
        ("24:00:00", {}, ["not-a-time"]),
        ("10:20:60", {}, ["not-a-time"]),
        ("10:20:30Z", {}, ["not-a-time"]),
        ("12:05 AM", {"format": "%I:%M %p"}, time(0, 5)),
        ("12:05 pm", {"format": "%I:%M %p"}, time(12, 5)),
        ("13:05 pm", {"format": "%I:%M %p"}, ["not-a-time"]),
    ],
)
def test_times_have_no_offset(text: str, rules: dict[str, Any], value: object):
    assert cell(text, FieldType.TIME, **rules) == value


BERLIN = {"timezone": "Europe/Berlin"}
GERMAN_TIME = {"format": "%d.%m.%Y %H:%M:%S", **BERLIN}


@pytest.mark.parametrize(
    ("text", "rules", "value"),
    [
        ("2024-05-03T10:00:00Z", {}, datetime(2024, 5, 3, 10, tzinfo=UTC)),
        ("2024-05-03 10:00:00.25", {}, datetime(2024, 5, 3, 10, 0, 0, 250_000, UTC)),
        ("2024-05-03T10:00:00+05:30", {}, datetime(2024, 5, 3, 4, 30, tzinfo=UTC)),
        ("2024-05-03T10:00:00+02:00", BERLIN, datetime(2024, 5, 3, 8, tzinfo=UTC)),
        ("2024-05-03T10:00:00", BERLIN, datetime(2024, 5, 3, 8, tzinfo=UTC)),
        ("2024-05-03", BERLIN, datetime(2024, 5, 2, 22, tzinfo=UTC)),
        ("2024-05-03T10:00:00.1234567", {}, ["not-a-datetime"]),
        ("2024-05-03T25:00:00", {}, ["not-a-datetime"]),
        ("2024-05-03T10:00:00+25:00", {}, ["not-a-datetime"]),
        ("0001-01-01T00:00:00+10:00", {}, ["not-a-datetime"]),
        ("03.05.2024 10:00:00", GERMAN_TIME, datetime(2024, 5, 3, 8, tzinfo=UTC)),
        ("31.03.2024 02:30:00", GERMAN_TIME, ["nonexistent-time"]),
        ("31.03.2024 01:59:59", GERMAN_TIME, datetime(2024, 3, 31, 0, 59, 59, tzinfo=UTC)),
        ("31.03.2024 03:00:00", GERMAN_TIME, datetime(2024, 3, 31, 1, tzinfo=UTC)),
        ("27.10.2024 02:30:00", GERMAN_TIME,
         (datetime(2024, 10, 27, 0, 30, tzinfo=UTC), "ambiguous-time")),
        ("27.10.2024 03:00:00", GERMAN_TIME, datetime(2024, 10, 27, 2, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_datetimes_are_instants(text: str, rules: dict[str, Any], value: object):
    assert cell(text, FieldType.DATETIME, **rules) == value


@pytest.mark.parametrize(
    ("text", "value"), [("2024", 2024), ("0033", 33), ("24", ["not-a-year"]), ("x", ["not-a-year"])]
)
def test_years_have_four_digits(text: str, value: object):
    assert cell(text, FieldType.YEAR) == value


@pytest.mark.parametrize(
    ("kind", "text", "codes"),
    [
        (FieldType.OBJECT, "[]", ["not-json"]),
        (FieldType.ARRAY, "{}", ["not-json"]),
        (FieldType.OBJECT, "{'a': 1}", ["not-json"]),
        (FieldType.ANY, "NaN", ["not-json"]),
        (FieldType.ANY, '{"a": 1, "a": 2}', ["not-json"]),
        (FieldType.ANY, '"\\u0000"', ["not-json"]),
        (FieldType.ANY, '"\\ud800"', ["not-json"]),
        (FieldType.ANY, "1e999999", ["not-json"]),
        (FieldType.ANY, "[" * 5_000 + "]" * 5_000, ["not-json"]),
    ],
)
def test_what_jsonb_cannot_hold_is_not_json(kind: FieldType, text: str, codes: list[str]):
    assert cell(text, kind) == codes


@pytest.mark.parametrize(
    ("one", "other", "are_equal"),
    [
        ('{"a": 1, "b": [2]}', '{"b": [2.0], "a": 1e0}', True),
        ("[true]", "[1]", False),
        ("[null]", "[false]", False),
        ("[1, 2]", "[2, 1]", False),
        ('["1"]', "[1]", False),
        ("[0.1]", "[0.1000000000000000000001]", False),
        ("[]", "{}", False),
    ],
)
def test_documents_are_equal_as_jsonb(one: str, other: str, *, are_equal: bool):
    assert (read_document(one, FieldType.ANY) == stored_document(other)) == are_equal
    assert isinstance(stored_document(other), JsonValue)


@pytest.mark.parametrize(
    ("kind", "text", "rules", "codes"),
    [
        (FieldType.STRING, "", {"required": True}, ["missing-cell"]),
        (FieldType.STRING, "n/a", {"required": True, "missing_values": ("n/a",)}, ["missing-cell"]),
        (FieldType.INTEGER, "4", {"minimum": 5}, ["below-minimum"]),
        (FieldType.INTEGER, "5", {"exclusive_minimum": 5}, ["below-minimum"]),
        (FieldType.INTEGER, "6", {"maximum": 5}, ["above-maximum"]),
        (FieldType.INTEGER, "5", {"exclusive_maximum": 5}, ["above-maximum"]),
        (FieldType.NUMBER, "NaN", {**DOUBLE, "maximum": Decimal(5)}, ["above-maximum"]),
        (FieldType.DATE, "1999-12-31", {"minimum": date(2000, 1, 1)}, ["below-minimum"]),
        (FieldType.STRING, "a", {"min_length": 2}, ["too-short"]),
        (FieldType.STRING, "\U0001f600" * 3, {"max_length": 2}, ["too-long"]),
        (FieldType.ARRAY, "[1, 2, 3]", {"max_length": 2}, ["too-long"]),
        (FieldType.STRING, "abcd", {"sql": "varchar(3)"}, ["too-long"]),
        (FieldType.STRING, "xa", {"pattern": "a|b"}, ["pattern-mismatch"]),
        (FieldType.STRING, "c", {"enum": ("a", "b")}, ["not-in-enum"]),
        (FieldType.NUMBER, "1.50", {"enum": (Decimal("1.5"),)}, None),
        (FieldType.STRING, "xyz", {"max_length": 2, "enum": ("a",)}, ["too-long", "not-in-enum"]),
        (FieldType.EPOCH_MS, "-1", {"minimum": date(1970, 1, 1)}, ["birthdate-out-of-range"]),
        (FieldType.EPOCH_MS, "1709251200000", {"maximum": Moment.TODAY},
         ["birthdate-out-of-range"]),
    ],
)  # fmt: skip
def test_each_broken_constraint_is_a_fault(
    kind: FieldType, text: str, rules: dict[str, Any], codes: list[str] | None
):
    found = cell(text, kind, **rules)
    assert found == codes if codes else not isinstance(found, list)


def test_missing_values_of_a_field_replace_those_of_the_dataset():
    assert cell("NULL", FieldType.STRING, of_dataset=("", "NULL")) is None
    assert cell("NULL", FieldType.STRING, of_dataset=("NULL",), missing_values=("-",)) == "NULL"
    assert cell("", FieldType.STRING, missing_values=("-",)) == ""
    assert cell("", FieldType.INTEGER, missing_values=("-",)) == ["not-an-integer"]
    assert cell(None, FieldType.STRING, missing_values=("-",)) is None


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("[A-Z]{2}-[0-9]{6}", "AB-123456", True),
        ("[A-Z]{2}-[0-9]{6}", "AB-123456\n", False),
        ("a$", "a\n", False),
        ("a$", "a", True),
        (r"\d", "\u0661", False),
        (r"\s", "\v", False),
        (r"[\s]", "\v", False),
        (r"\S", "\v", True),
        (r"\w+", "\u00e9", False),
        (r"\pL+", "\u00e9a", True),
        (r"\p{Greek}", "\u03b1", True),
        ("[[:alpha:]]+", "ab", True),
        ("[[:alpha:]]+", "a:", False),
        ("a{,2}", "a{,2}", True),
        ("a{,2}", "aa", False),
        (r"\Qa.b\E", "a.b", True),
        ("(?i)\u212a", "k", True),
        (".", "\n", False),
        ("[$]", "$", True),
        (r"\$", "$", True),
    ],
)
def test_patterns_are_re2_and_match_the_whole_text(pattern: str, text: str, *, matches: bool):
    assert whole_match(pattern)(text) == matches
