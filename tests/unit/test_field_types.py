"""Columns of text, whole numbers, booleans and years, missing values and constraints."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etl.model.dataset import Constraints, Field, FieldType
from etl.model.types import TYPE_TRAITS
from etl.read.types import pattern_error
from tests.field_texts import INTEGERS
from tests.field_types import Refused, check, judged, plain_integer

SQL_LIMITS = {"smallint": 2**15, "int4": 2**31, None: 2**63}


@given(st.lists(INTEGERS), st.sampled_from(list(SQL_LIMITS)), st.sampled_from(["", ",", "."]))
@example(["1", "+5", "007", "-0", "0x1f", "5\n", "\N{ARABIC-INDIC DIGIT FIVE}"], None, "")
@example(["0" * 5_000 + "12", "9" * 9_000], "smallint", "")
@example(["1000.0", "-7.0", "0.0", "", "9223372036854775807.0"], None, "")
@example(["+7.0", "1,000.0", "1.00", "1.000", ".0", "-.0", "5.0.0", "1,0", "7.0\n"], None, "")
@example(["1,000.0", "1.0", "1.000"], None, ",")
@example(["1.0", "1.000", "1.000.0"], None, ".")
def test_integers_are_judged_as_by_the_plain_rule(texts: list[str], sql: str | None, group: str):
    field = Field(name="n", type=FieldType.INTEGER, sql=sql, group_char=group)
    for text, (value, codes) in zip(texts, judged(texts, field), strict=True):
        expected: tuple[object, frozenset[str]] = (None, frozenset())
        try:
            if text:
                expected = plain_integer(text, SQL_LIMITS[sql], group), frozenset()
        except Refused as refused:
            expected = None, frozenset(refused.args)
        assert (value, codes) == expected, text


def test_integers_beyond_bigint_fit_numeric():
    field = Field(name="n", type=FieldType.INTEGER, sql="numeric")
    texts = ["9" * 40, "-0", "+7", "007", "10.0", "1e3", "1.00"]
    expected = ["9" * 40, "0", "7", "7", "10", None, None]
    assert [value for value, _ in judged(texts, field)] == expected


@given(st.lists(st.sampled_from(["yes", "no", "YES", "", "1", "x", "0", "é"])))
def test_booleans_are_the_declared_texts(texts: list[str]):
    field = Field(
        name="b", type=FieldType.BOOLEAN, true_values=("yes", "1"), false_values=("no", "é")
    )
    expected = {"yes": True, "1": True, "no": False, "é": False}
    for text, (value, codes) in zip(texts, judged(texts, field), strict=True):
        assert value is expected.get(text)
        assert codes == (frozenset() if not text or text in expected else {"not-a-boolean"})


@given(
    st.lists(st.one_of(st.integers(0, 10_500).map(str), st.integers(0, 9999).map("{:04}".format)))
)
def test_years_have_four_digits(texts: list[str]):
    field = Field(name="y", type=FieldType.YEAR, sql="smallint")
    for text, (value, codes) in zip(texts, judged(texts, field), strict=True):
        is_year = re.fullmatch("[0-9]{4}", text) is not None and text != "0000"
        assert value == (int(text) if is_year else None)
        assert codes == (frozenset() if is_year else {"not-a-year"})


@given(st.lists(st.text(max_size=4)), st.integers(0, 4), st.integers(0, 4))
def test_lengths_count_characters(texts: list[str], least: int, most: int):
    limits = Constraints(min_length=least, max_length=most)
    for text, (value, codes) in zip(
        texts, judged(texts, Field(name="t", constraints=limits), ()), strict=True
    ):
        expected = {
            code
            for code, is_wrong in (
                ("nul-byte", "\0" in text),
                ("too-short", "\0" not in text and len(text) < least),
                ("too-long", "\0" not in text and len(text) > most),
            )
            if is_wrong
        }
        assert codes == expected
        assert value == (None if expected else text)


PATTERNS = ["[A-Z]{2}-[0-9]+", "a|ab", "(?i)x.z", "é+", "a$", "^a", r"\d\w\s?", "(a)(b)?", ""]


@given(
    st.sampled_from(PATTERNS),
    st.lists(st.one_of(st.text("aAbBxXzZ-12é\n \u0663", max_size=5), st.sampled_from(["AB-12"]))),
)
@example("a$", ["a", "a\n"])
def test_patterns_match_the_whole_value(pattern: str, texts: list[str]):
    field = Field(name="t", constraints=Constraints(pattern=pattern))
    for text, (value, codes) in zip(texts, judged(texts, field, ()), strict=True):
        # Unlike `re`, RE2 has no match of `$` before a line break at the end.
        is_match = re.fullmatch(pattern.replace("$", r"\Z"), text, re.ASCII) is not None
        assert codes == (frozenset() if is_match else {"pattern-mismatch"}), text
        assert value == (text if is_match else None)


@pytest.mark.parametrize("pattern", [*PATTERNS, r"\d{3}", "[^,]*"])
def test_valid_patterns_have_no_error(pattern: str):
    assert pattern_error(pattern) is None


@pytest.mark.parametrize(
    "pattern", ["a)|(b", "(", r"(a)\1", "(?=a)", r"\z", "[[:alpha:]]", "a{2000}"]
)
def test_patterns_of_only_one_engine_have_an_error(pattern: str):
    assert pattern_error(pattern)


def test_missing_values_are_null_and_only_faulty_if_required():
    texts = ["", "NULL", "n/a", "5"]
    optional = Field(name="n", type=FieldType.INTEGER)
    assert [value for value, _ in judged(texts, optional, ("", "NULL", "n/a"))] == [None] * 3 + [5]
    own = Field(
        name="n",
        type=FieldType.INTEGER,
        missing_values=("NULL",),
        constraints=Constraints(required=True),
    )
    assert [codes for _, codes in judged(texts, own)] == [
        {"not-an-integer"},
        {"missing-cell"},
        {"not-an-integer"},
        frozenset(),
    ]


def test_bounds_are_checked_for_valid_values_only():
    limits = Constraints(minimum=3, exclusive_maximum=10, enum=(2, 5, 10))
    field = Field(name="n", type=FieldType.INTEGER, constraints=limits)
    texts = ["x", "", "2", "3", "5", "10", "11"]
    assert [codes for _, codes in judged(texts, field)] == [
        {"not-an-integer"},
        frozenset(),
        {"below-minimum"},
        {"not-in-enum"},
        frozenset(),
        {"above-maximum"},
        {"above-maximum", "not-in-enum"},
    ]


def test_value_below_both_minimums_has_one_problem():
    limits = Constraints(minimum=3, exclusive_minimum=5)
    field = Field(name="n", type=FieldType.INTEGER, constraints=limits)
    faults = check(["2", "4", "6"], field).faults
    assert [(fault.code, fault.rows.tolist()) for fault in faults] == [
        ("below-minimum", [True, False, False]),
        ("below-minimum", [False, True, False]),
    ]


@pytest.mark.parametrize(
    ("sql", "good", "bad", "code"),
    [
        ("varchar(3)", ["", "abc", "ééé", "😀😀😀"], ["abcd", "éééé"], "too-long"),
        ("character(2)", ["a", "ab"], ["abc"], "too-long"),
        ("char", ["a"], ["ab"], "too-long"),
        (
            "uuid",
            ["5f0c8a52-3d1e-4b7a-9c66-0d2f1e8b7a10", "5F0C8A52-3D1E-4B7A-9C66-0D2F1E8B7A10"],
            ["5f0c8a52-3d1e-4b7a-9c66-0d2f1e8b7a1", "5f0c8a52-3d1e-4b7a-9c66-0d2f1e8b7a10\n", "x"],
            "pattern-mismatch",
        ),
    ],
)
def test_texts_fit_their_column_type(sql: str, good: list[str], bad: list[str], code: str):
    found = judged(good + bad, Field(name="t", sql=sql), ())
    assert found == [(text, frozenset()) for text in good] + [(None, {code})] * len(bad)


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        (Field(name="n", type=FieldType.INTEGER), "7.00", "Remove the decimals"),
        (Field(name="n", type=FieldType.INTEGER), "7.000", '"." separates thousands'),
        (Field(name="n", type=FieldType.INTEGER), "1,234", '"," separates thousands'),
        (Field(name="n", type=FieldType.INTEGER), "3.5", "declare a number"),
        (Field(name="n", type=FieldType.INTEGER), "1E+5", "shortened by a spreadsheet"),
        (Field(name="n", type=FieldType.INTEGER, sql="smallint"), "40000", "-32768 and 32767"),
        (Field(name="b", type=FieldType.BOOLEAN), "yes", "add it to trueValues"),
        (Field(name="b", type=FieldType.BOOLEAN), "fALSE", "Write false: letter case matters"),
        (Field(name="y", type=FieldType.YEAR), "24", "leave the century open"),
        (Field(name="y", type=FieldType.YEAR), "1.1.2024", "more than a year"),
        (Field(name="s", constraints=Constraints(enum=("new", "paid"))), "Paid", "Write paid"),
        (
            Field(name="s", constraints=Constraints(enum=("new", "paid"))),
            "payd",
            "Is paid intended",
        ),
        (Field(name="s", constraints=Constraints(pattern="[A-Z]{2}")), "ab", "letter case"),
        (Field(name="s", constraints=Constraints(pattern="[A-Z]{2}")), "xAB", "only a part"),
        (Field(name="s", constraints=Constraints(pattern="[A-Z]{2}")), " AB", "remove the space"),
        (Field(name="s", constraints=Constraints(required=True)), "", "Fill in s; it is required"),
    ],
)
def test_hints_name_what_was_expected(field: Field, text: str, words: str):
    (fault,) = check([text], field).faults
    assert words in fault.note(text)


@pytest.mark.parametrize("type_", list(FieldType))
def test_a_column_without_rows_is_checked(type_: FieldType):
    for chunks in ([], None):
        texts = [] if chunks is None else chunks
        checked = check(texts, Field(name="x", type=type_, sql=TYPE_TRAITS[type_].sql[-1]))
        assert len(checked.values) == 0
        assert checked.faults == ()


@pytest.mark.parametrize("type_", list(FieldType))
def test_a_column_of_missing_values_is_null(type_: FieldType):
    checked = check(["", "", ""], Field(name="x", type=type_))
    assert checked.values.to_pylist() == [None] * 3
    assert checked.faults == ()
