"""Row validation: users, problems, and helpful hints."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError, field_validator

from etl.model.dataset import USERS
from etl.model.values import ProblemCode, SourceFile, SourceObject
from etl.read.csv import parse
from etl.read.file_rules import unsupported
from etl.read.validate import Validated, validate

TODAY = date(2026, 3, 1)
EPOCH = date(1970, 1, 1)
TEXT = pa.large_string()
COLUMNS = ("user_id", "first_name", "last_name", "birthts")
EARLIEST_MS, AFTER_TODAY_MS = -2_208_988_800_000, 1_772_409_600_000


class User(BaseModel):
    """The rules of a row as a model, with which the column-wise checks are compared."""

    user_id: str = Field(min_length=1)
    first_name: str = Field(min_length=1)
    last_name: str = Field(min_length=1)
    birthts: str = Field(min_length=1)

    @field_validator("birthts")
    @classmethod
    def _is_a_birthdate(cls, value: str) -> str:
        day = plainly(value) // 86_400_000
        if not (date(1900, 1, 1) - EPOCH).days <= day <= (TODAY - EPOCH).days:
            raise ValueError("out of range")
        return value


def plainly(text: str) -> int:
    """The milliseconds of a text, computed with the standard library only."""
    if number := re.fullmatch(r"([+-]?[0-9]+)(\.0+)?", text):
        return int(number[1])
    clock = r"(\d\d:\d\d(?::\d\d)?)(?:(?<=:\d\d:\d\d)\.(\d{1,3})0*)?"
    iso = rf"(\d{{4}}-\d\d-\d\d)(?:[T ]{clock}(Z|[+-].+)?)?"
    found = re.fullmatch(iso, text, re.ASCII)
    if found is None:
        raise ValueError("no date")
    day, clock, fraction, offset = found.groups()
    moment = datetime.fromisoformat(f"{day}T{clock or '00:00'}")
    milliseconds = (moment - datetime(1970, 1, 1)) // timedelta(milliseconds=1)  # noqa: DTZ001
    return milliseconds + int((fraction or "").ljust(3, "0")) - offset_in_ms(offset or "Z")


def offset_in_ms(offset: str) -> int:
    if offset == "Z":
        return 0
    found = re.fullmatch(r"([+-])(\d\d)(?::?([0-5]\d))?", offset, re.ASCII)
    if found is None or int(found[2]) > 23:
        raise ValueError("no offset")
    minutes = int(found[2]) * 60 + int(found[3] or 0)
    return minutes * (60_000 if found[1] == "+" else -60_000)


def table(*rows: tuple[str, str, str, str]) -> pa.Table:
    cells = {name: [row[place] for row in rows] for place, name in enumerate(COLUMNS)}
    count = len(rows)
    return pa.table(
        {"_source_key": pa.array(["a.csv"] * count, TEXT)}
        | {"_source_line": pa.array(range(2, count + 2), pa.int64())}
        | {name: pa.array(texts, TEXT) for name, texts in cells.items()}
        | {"_extra": pa.nulls(count, TEXT)}
    )


def check(*birthts: str) -> Validated:
    rows = table(*(("1", "Susan", "Lee", text) for text in birthts))
    return validate(rows, USERS, {"a.csv": "etag"}, TODAY)


def test_good_rows_keep_their_cells_and_get_a_number():
    checked = validate(
        table(("0001", "Susan", "Lee", "612302400000")), USERS, {"a.csv": "e"}, TODAY
    )
    assert checked.problems == []
    assert checked.rows["user_id"].to_pylist() == ["0001"]
    assert checked.rows["birthts"].to_pylist() == [612_302_400_000]
    assert checked.rows["birthts"].type == pa.int64()
    assert checked.rows.column_names == ["_source_key", "_source_line", *COLUMNS, "_extra"]


def test_no_rows_are_valid():
    checked = validate(parse([], USERS).rows, USERS, {}, TODAY)
    assert checked.problems == []
    assert checked.rows["birthts"].type == pa.int64()
    assert not len(checked.rows)


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
    assert check(text).rows["birthts"].to_pylist() == [number]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("326160000000.0", 326_160_000_000),
        ("-5.000", -5),
        ("+0.0", 0),
        ("00000000000000000000007.00", 7),
        ("1980-05-03", 326_160_000_000),
        ("2000-02-29", 951_782_400_000),
        ("1970-01-01T00:00", 0),
        ("1970-01-01 00:00:01", 1_000),
        ("1970-01-01T00:00:00.5", 500),
        ("1970-01-01T00:00:00.1230000", 123),
        ("1969-12-31T23:59:59.999Z", -1),
        ("1970-01-01T05:30+05:30", 0),
        ("1970-01-01T05:30:00.001+0530", 1),
        ("1969-12-31T19:00-05", 0),
        ("1970-01-01T00:00-00:00", 0),
        ("1899-12-31T23:59-00:01", EARLIEST_MS),
    ],
)
def test_integral_floats_and_dates_of_iso_8601_are_read(text: str, number: int):
    checked = check("5", text)
    assert checked.problems == []
    assert checked.rows["birthts"].to_pylist() == [5, number]
    assert checked.rows["birthts"].type == pa.int64()


NO_NUMBERS = ["1.5", "1e12", "5.", ".0", "5.0e3", "5,0", "1.0.0", "0.00001"]
NO_DATES = [
    *("1980-02-30", "1900-02-29", "1980-04-31", "1980-00-03", "1980-13-03", "1980-05-00"),
    *("0000-01-01", "80-05-03", "1980-5-3", "03.05.1980", "03/05/1980", "1980/05/03", "1980-W18-6"),
    *("1980-124", "19800503T000000", "+1980-05-03", "1980-05-03Z", "1980-05-03T", "1980-05-03 "),
    *("1980-05-03T12", "1980-05-03T24:00", "1980-05-03T25:00", "1980-05-03T23:60"),
    *("1980-05-03T23:59:60", "1980-05-03T00:00:00.", "1980-05-03T00:00:00.1234"),
    *("1980-05-03T00:00:00,5", "1980-05-03T00:00.5", "1980-05-03t00:00", "1980-05-03T00:00z"),
    *("1980-05-03T00:00+5", "1980-05-03T00:00+24:00", "1980-05-03T00:00+05:60"),
    *("1980-05-03  00:00", "1980-05-03T00:00 Z", "1980-05-03T00:00Z ", "1980-05-0\u0663"),
]


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
        *((text, ProblemCode.NOT_AN_INTEGER) for text in NO_NUMBERS + NO_DATES),
        ("1" + "0" * 30 + ".0", ProblemCode.BIRTHDATE_OUT_OF_RANGE),
        ("0001-01-01", ProblemCode.BIRTHDATE_OUT_OF_RANGE),
        ("1899-12-31T23:59:59.999Z", ProblemCode.BIRTHDATE_OUT_OF_RANGE),
        ("1900-01-01T00:00+00:01", ProblemCode.BIRTHDATE_OUT_OF_RANGE),
        ("2026-03-02", ProblemCode.BIRTHDATE_OUT_OF_RANGE),
        ("9999-12-31T23:59-23:59", ProblemCode.BIRTHDATE_OUT_OF_RANGE),
    ],
)
def test_other_birthts_are_refused(text: str, code: ProblemCode):
    checked = check("5", text, "6")
    assert [(p.code, p.line, p.column) for p in checked.problems] == [(code, 3, "birthts")]
    assert checked.problems[0].etag == "etag"
    assert checked.rows["_source_line"].to_pylist() == [2, 4]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1980-02-30", "not a valid ISO 8601 date and time"),
        ("1980-05-03T00:00:00.1234", "more precise than milliseconds"),
        ("03.05.1980", "ambiguous"),
        ("03/05/1980", "ambiguous"),
        ("27.5.1989 20:00", "ambiguous"),
        ("1989/05/27", "is a date in another format"),
        ("2050-12-31T23:00-05:00", "is 2051-01-01"),
        ("0001-01-01T00:00+01:00", "before the year 1"),
        ("6.12302E+11", "spreadsheet"),
        ("612302400000,0", "is a decimal number"),
        ("abc", "integer milliseconds since 1970-01-01 UTC"),
        ("2556143999999", "is 2050-12-31"),
        ("-2208988800001", "is 1899-12-31"),
        ("612302400000000", "If birthts is in microseconds, divide it by 1,000."),
        ("612302400000000000", "If birthts is in nanoseconds, divide it by 1,000,000."),
        ("400000000000000", "after the year 9999"),
        ("-99999999999999999", "before the year 1"),
        ("1" + "0" * 30, "outside the calendar"),
    ],
)
def test_hints_name_the_likely_format_of_the_value(text: str, words: str):
    assert words in check(text).problems[0].note


def test_row_with_several_faults_has_a_problem_for_each():
    rows = table(("", "", "", ""), ("1", "", "Lee", "x"), ("2", "a", "b", "3"))
    checked = validate(rows, USERS, {"a.csv": "e"}, TODAY)
    assert [(p.line, p.column, p.code) for p in checked.problems] == [
        (2, "birthts", "missing-cell"),
        (2, "first_name", "missing-cell"),
        (2, "last_name", "missing-cell"),
        (2, "user_id", "missing-cell"),
        (3, "birthts", "not-an-integer"),
        (3, "first_name", "missing-cell"),
    ]
    assert checked.rows["_source_line"].to_pylist() == [4]


def test_a_birthday_today_is_allowed_until_midnight_utc():
    assert len(check(str(AFTER_TODAY_MS - 1)).rows) == 1
    rows = table(("1", "a", "b", str(AFTER_TODAY_MS)))
    assert len(validate(rows, USERS, {"a.csv": "e"}, TODAY + timedelta(days=1)).rows) == 1


def test_future_birthdate_sets_the_day_of_the_next_read():
    late = ("2050-12-31", str(AFTER_TODAY_MS), "5", "9" * 18)
    rows = table(*(("1", "a", "b", text) for text in late))
    assert validate(rows, USERS, {"a.csv": "e"}, TODAY).reread_on == {"a.csv": date(2026, 3, 2)}


def test_first_faults_are_problems_and_the_rest_counted():
    rows = table(*(("1", "", "b", "x") for _ in range(1_500)), ("1", "a", "b", "5"))
    checked = validate(rows, USERS, {"a.csv": "e"}, TODAY)
    assert checked.more == {"a.csv": {"missing-cell": 500, "not-an-integer": 500}}
    assert checked.rows_rejected == {"a.csv": 1_500}
    assert {problem.line for problem in checked.problems} == set(range(2, 1_002))
    assert len(checked.rows) == 1


NAMES = st.sampled_from(["", "Lee", "é", "0001"])
DIGITS = st.sampled_from(["1", "5", "0", "00", "999", "612302400000", "9" * 18, "+", "-", ".", "x"])
ISO_PARTS = st.sampled_from([*"--::T. Z", "1980", "0000", "02", "13", "30", "12", "24", "60"])
DAYS = st.one_of(
    st.dates().map(str), st.sampled_from(["1980-02-30", "2000-02-29", "1900-02-29", "0000-01-01"])
)
CLOCKS = st.sampled_from(["", "T00:00", " 23:59:59", "T12:30:07", "T24:00", "T12", "t00:00"])
FRACTIONS = st.sampled_from(["", "", ".5", ".1230", ".1234", ".000000", "."])
OFFSETS = st.sampled_from(["", "Z", "+05:30", "-0530", "-23", "+24:00", "+01:60", "z"])
BIRTHTS = st.one_of(
    st.integers().map(str),
    st.integers(EARLIEST_MS - 10, EARLIEST_MS + 10).map(str),
    st.integers(AFTER_TODAY_MS - 10, AFTER_TODAY_MS + 10).map(str),
    st.lists(DIGITS).map("".join),
    st.lists(ISO_PARTS, max_size=9).map("".join),
    st.tuples(DAYS, CLOCKS, FRACTIONS, OFFSETS).map("".join),
    st.text(max_size=5).map(str.strip),
)


@given(st.lists(st.tuples(NAMES, NAMES, NAMES, BIRTHTS)))
@example([("1", "a", "b", "1\n")])
def test_masks_judge_as_the_model_does(rows: list[tuple[str, str, str, str]]):
    checked = validate(table(*rows), USERS, {"a.csv": "e"}, TODAY)
    expected = {
        (line, fault["loc"][0])
        for line, row in enumerate(rows, 2)
        for fault in faults(dict(zip(COLUMNS, row, strict=True)))
    }
    good = [row for line, row in enumerate(rows, 2) if line not in {at for at, _ in expected}]
    assert {(p.line, p.column) for p in checked.problems} == expected
    assert len(checked.problems) == len(expected)
    assert checked.rows["birthts"].to_pylist() == [plainly(row[3]) for row in good]
    assert checked.rows["user_id"].to_pylist() == [row[0] for row in good]


def faults(row: dict[str, str]) -> list:
    try:
        User(**row)
    except ValidationError as error:
        return error.errors()
    return []


def test_a_file_goes_from_bytes_to_users_and_problems():
    content = b"first_name, last_name, birthts\nSusan, Lee, 612302400000\n, Lee, 27.05.1989\n"
    source = SourceObject("a/0001.csv", "e", len(content), datetime(2026, 1, 1, tzinfo=UTC))
    extract = parse([SourceFile(source, content)], USERS)
    checked = validate(extract.rows, USERS, {"a/0001.csv": "e"}, TODAY)
    assert checked.rows["user_id"].to_pylist() == ["0001"]
    assert checked.rows["birthts"].to_pylist() == [612_302_400_000]
    assert [(p.line, p.column, p.value) for p in checked.problems] == [
        (3, "birthts", "27.05.1989"),
        (3, "first_name", ""),
    ]


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("sales/1.json", "Add its key to `include` of a dataset"),
        ("sales/1.XLSX", "Add its key to `include` of a dataset"),
        ("sales/1.csv.gz", "Add its key to `include` of a dataset"),
        ("sales/1.docx", "Rename it"),
    ],
)
def test_an_object_of_no_dataset_is_not_to_be_renamed_if_a_dataset_could_read_it(
    key: str, remedy: str
):
    note = unsupported(key, "e", USERS).note
    assert note.startswith("No dataset includes this object, and users reads only .csv and .tsv")
    assert remedy in note
