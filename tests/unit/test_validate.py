"""Checking rows: what is a user, what is wrong with the others, and words that help."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError, field_validator

from etl.extract import parse
from etl.model import ProblemCode, SourceFile, SourceObject
from etl.validate import Validated, validate

TODAY = date(2026, 3, 1)
EPOCH = date(1970, 1, 1)
TEXT = pd.StringDtype("pyarrow")
COLUMNS = ("user_id", "first_name", "last_name", "birthts")
EARLIEST_MS, AFTER_TODAY_MS = -2_208_988_800_000, 1_772_409_600_000


class User(BaseModel):
    """The rules of a row once more, as a model: the measure of the masks."""

    user_id: str = Field(min_length=1)
    first_name: str = Field(min_length=1)
    last_name: str = Field(min_length=1)
    birthts: str = Field(min_length=1, pattern=r"^[+-]?[0-9]+$")

    @field_validator("birthts")
    @classmethod
    def _is_a_birthdate(cls, value: str) -> str:
        day = int(value) // 86_400_000
        if not (date(1900, 1, 1) - EPOCH).days <= day <= (TODAY - EPOCH).days:
            raise ValueError("out of range")
        return value


def frame(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    columns = {name: [row[place] for row in rows] for place, name in enumerate(COLUMNS)}
    texts = {name: pd.array(cells, dtype=TEXT) for name, cells in columns.items()}
    count = len(rows)
    return pd.DataFrame(
        {"key": pd.array(["a.csv"] * count, dtype=TEXT), "line": range(2, count + 2)}
        | texts
        | {"extra": pd.array([None] * count, dtype=TEXT)}
    ).astype({"line": "int64"})


def check(*birthts: str) -> Validated:
    rows = frame(*(("1", "Susan", "Lee", text) for text in birthts))
    return validate(rows, {"a.csv": "etag"}, TODAY)


def test_good_rows_keep_their_cells_and_get_a_number():
    checked = validate(frame(("0001", "Susan", "Lee", "612302400000")), {"a.csv": "e"}, TODAY)
    assert checked.problems == []
    assert checked.rows["user_id"].tolist() == ["0001"]
    assert checked.rows["birthts"].tolist() == [612_302_400_000]
    assert checked.rows["birthts"].dtype == "int64"
    assert list(checked.rows) == ["key", "line", *COLUMNS, "extra"]


def test_no_rows_are_valid():
    checked = validate(parse([]).rows, {}, TODAY)
    assert checked.problems == []
    assert checked.rows["birthts"].dtype == "int64"
    assert checked.rows.empty


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("-0", 0),
        ("+7", 7),
        ("-1", -1),
        ("0" * 5_000 + "12", 12),
        ("-" + "0" * 30 + "5", -5),
        ("+" + "0" * 30, 0),
        (str(EARLIEST_MS), EARLIEST_MS),
        (str(AFTER_TODAY_MS - 1), AFTER_TODAY_MS - 1),
    ],
)
def test_integers_are_read_in_every_spelling(text: str, number: int):
    assert check(text).rows["birthts"].tolist() == [number]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (str(EARLIEST_MS - 1), ProblemCode.BIRTHDATE_OUT_OF_RANGE),
        (str(AFTER_TODAY_MS), ProblemCode.BIRTHDATE_OUT_OF_RANGE),
        ("9223372036854775808", ProblemCode.BIRTHDATE_OUT_OF_RANGE),
        ("9999999999999999999", ProblemCode.BIRTHDATE_OUT_OF_RANGE),
        ("-999999999999999999", ProblemCode.BIRTHDATE_OUT_OF_RANGE),
        ("1" + "0" * 30, ProblemCode.BIRTHDATE_OUT_OF_RANGE),
        ("-" + "9" * 9_000, ProblemCode.BIRTHDATE_OUT_OF_RANGE),
        ("", ProblemCode.MISSING_CELL),
        ("abc", ProblemCode.NOT_AN_INTEGER),
        ("now", ProblemCode.NOT_AN_INTEGER),
        ("0x1f", ProblemCode.NOT_AN_INTEGER),
        ("1_000", ProblemCode.NOT_AN_INTEGER),
        ("1 000", ProblemCode.NOT_AN_INTEGER),
        ("--5", ProblemCode.NOT_AN_INTEGER),
        ("+", ProblemCode.NOT_AN_INTEGER),
        ("5\n", ProblemCode.NOT_AN_INTEGER),
        ("\N{ARABIC-INDIC DIGIT FIVE}", ProblemCode.NOT_AN_INTEGER),
        ("1.5", ProblemCode.NOT_AN_INTEGER),
        ("1e12", ProblemCode.NOT_AN_INTEGER),
        ("1989-05-27", ProblemCode.NOT_AN_INTEGER),
    ],
)
def test_other_birthts_are_refused(text: str, code: ProblemCode):
    checked = check("5", text, "6")
    assert [(p.code, p.line, p.column) for p in checked.problems] == [(code, 3, "birthts")]
    assert checked.problems[0].etag == "etag"
    assert checked.rows["line"].tolist() == [2, 4]
    assert checked.rows.index.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1989-05-27", "looks like a date"),
        ("27.5.1989 20:00", "looks like a date"),
        ("6.12302E+11", "spreadsheet"),
        ("612302400000,0", "looks like a decimal"),
        ("abc", "integer milliseconds since 1970-01-01 UTC"),
        ("2556143999999", "this is 2050-12-31"),
        ("-2208988800001", "this is 1899-12-31"),
        ("612302400000000", "If birthts is in microseconds, divide it by 1,000."),
        ("612302400000000000", "If birthts is in nanoseconds, divide it by 1,000,000."),
        ("400000000000000", "after the year 9999"),
        ("-99999999999999999", "before the year 1"),
        ("1" + "0" * 30, "beyond any calendar"),
    ],
)
def test_notes_say_what_the_value_looks_like(text: str, words: str):
    assert words in check(text).problems[0].note


def test_each_fault_of_a_row_is_one_problem_and_the_row_is_left_out_once():
    rows = frame(("", "", "", ""), ("1", "", "Lee", "x"), ("2", "a", "b", "3"))
    checked = validate(rows, {"a.csv": "e"}, TODAY)
    assert [(p.line, p.column, p.code) for p in checked.problems] == [
        (2, "birthts", "missing-cell"),
        (2, "first_name", "missing-cell"),
        (2, "last_name", "missing-cell"),
        (2, "user_id", "missing-cell"),
        (3, "birthts", "not-an-integer"),
        (3, "first_name", "missing-cell"),
    ]
    assert checked.rows["line"].tolist() == [4]


def test_the_rows_given_are_left_as_they_were():
    rows = frame(("1", "a", "b", "5"), ("2", "a", "b", "x"))
    before = rows.copy(deep=True)
    validate(rows, {"a.csv": "e"}, TODAY)
    pd.testing.assert_frame_equal(rows, before)


def test_a_birthday_today_is_allowed_until_midnight_utc():
    assert len(check(str(AFTER_TODAY_MS - 1)).rows) == 1
    rows = frame(("1", "a", "b", str(AFTER_TODAY_MS)))
    assert len(validate(rows, {"a.csv": "e"}, TODAY + timedelta(days=1)).rows) == 1


NAMES = st.sampled_from(["", "Lee", "é", "0001"])
DIGITS = st.sampled_from(["1", "5", "0", "00", "999", "612302400000", "9" * 18, "+", "-", ".", "x"])
BIRTHTS = st.one_of(
    st.integers().map(str),
    st.integers(EARLIEST_MS - 10, EARLIEST_MS + 10).map(str),
    st.integers(AFTER_TODAY_MS - 10, AFTER_TODAY_MS + 10).map(str),
    st.lists(DIGITS).map("".join),
    st.text(max_size=5).map(str.strip),
)


@given(st.lists(st.tuples(NAMES, NAMES, NAMES, BIRTHTS)))
@example([("1", "a", "b", "1\n")])
def test_masks_judge_as_the_model_does(rows: list[tuple[str, str, str, str]]):
    checked = validate(frame(*rows), {"a.csv": "e"}, TODAY)
    expected = {
        (line, fault["loc"][0])
        for line, row in enumerate(rows, 2)
        for fault in faults(dict(zip(COLUMNS, row, strict=True)))
    }
    good = [row for line, row in enumerate(rows, 2) if line not in {at for at, _ in expected}]
    assert {(p.line, p.column) for p in checked.problems} == expected
    assert len(checked.problems) == len(expected)
    assert checked.rows["birthts"].tolist() == [int(row[3]) for row in good]
    assert checked.rows["user_id"].tolist() == [row[0] for row in good]


def faults(row: dict[str, str]) -> list:
    try:
        User(**row)
    except ValidationError as error:
        return error.errors()
    return []


def test_a_file_goes_from_bytes_to_users_and_problems():
    content = b"first_name, last_name, birthts\nSusan, Lee, 612302400000\n, Lee, 1989-05-27\n"
    source = SourceObject("a/0001.csv", "e", len(content), datetime(2026, 1, 1, tzinfo=UTC))
    extract = parse([SourceFile(source, content)])
    checked = validate(extract.rows, {"a/0001.csv": "e"}, TODAY)
    assert checked.rows["user_id"].tolist() == ["0001"]
    assert checked.rows["birthts"].tolist() == [612_302_400_000]
    assert [(p.line, p.column, p.value) for p in checked.problems] == [
        (3, "birthts", "1989-05-27"),
        (3, "first_name", ""),
    ]
