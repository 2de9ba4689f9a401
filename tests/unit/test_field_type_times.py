"""Dates, times and datetimes, compared with datetime and zoneinfo."""

# ruff: noqa: DTZ001, DTZ007 -- local times, and times in UTC without a zone

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etl.model.dataset import Constraints, Field, FieldType
from etl.model.time_formats import InvalidFormat, example_of, time_pattern
from etl.model.values import ProblemCode
from tests.field_texts import CLOCKS, DATETIMES, DAYS, MOMENTS
from tests.field_types import (
    Refused,
    check,
    in_utc,
    judged,
    plain_date,
    plain_datetime,
    plain_time,
)

ZONES = [
    *("UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Africa/Casablanca"),
    *("Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu", "Europe/Dublin"),
]


@given(st.lists(st.one_of(DAYS, DATETIMES)))
@example(["2024-02-29", "2024-02-30", "2024-02-28", "2024-2-28", "0001-01-01", "9999-12-31"])
@example(["x", "2024-02-29"])
def test_iso_dates_are_read_as_by_the_plain_rule(texts: list[str]):
    for text, found in zip(texts, judged(texts, Field(name="d", type=FieldType.DATE)), strict=True):
        assert found == _expected(plain_date, text), text


@given(st.lists(CLOCKS))
def test_iso_times_are_read_as_by_the_plain_rule(texts: list[str]):
    for text, found in zip(texts, judged(texts, Field(name="t", type=FieldType.TIME)), strict=True):
        assert found == _expected(plain_time, text), text


@given(st.lists(DATETIMES), st.sampled_from(ZONES))
@example(["0001-01-01T00:30", "9999-12-31T23:30", "2024-01-01", "0001-01-01T00:00+01"], "UTC")
@example(["0001-01-01T00:30", "9999-12-31T23:30", "2024-10-27 02:30:00"], "Europe/Berlin")
@example(["9999-12-31T23:30", "0001-01-01T00:30", "9999-12-31T23:30Z"], "America/New_York")
@example(["2024-03-31T02:30", "2024-03-31T02:30Z", "2024-10-27T02:30+01"], "Europe/Berlin")
def test_iso_datetimes_are_read_as_by_the_plain_rule(texts: list[str], zone: str):
    for sql in (None, "timestamp"):
        field = Field(name="m", type=FieldType.DATETIME, timezone=zone, sql=sql)
        for text, (value, codes) in zip(texts, judged(texts, field), strict=True):
            expected = _expected_instant(lambda one: plain_datetime(one, zone), text)
            assert (_instant(value), codes) == expected, text


def _expected(plain: Callable[[str], object], text: str) -> tuple[object, frozenset[str]]:
    try:
        return plain(text) if text else None, frozenset()
    except Refused as refused:
        return None, frozenset(refused.args)


def _expected_instant(
    plain: Callable[[str], tuple[datetime, bool]], text: str
) -> tuple[object, frozenset[str]]:
    found, codes = _expected(plain, text)
    if not isinstance(found, tuple):
        return None, codes
    return found[0], frozenset({"ambiguous-time"} if found[1] else ())


def _instant(value: object) -> datetime | None:
    if isinstance(value, str):
        assert value.endswith("+00")
        return datetime.fromisoformat(value.removesuffix("+00"))
    assert value is None or isinstance(value, datetime)
    return value


FORMATS = [
    *("%d.%m.%Y %H:%M:%S", "%Y%m%d%H%M%S", "%d %b %Y %I:%M %p", "%B %d, %Y %H:%M:%S.%f"),
    *("%Y-%j %H:%M", "%m/%d/%y %H.%M", "%Y/%m/%d", "%a %d-%b-%y %H:%M"),
]


@given(
    st.sampled_from(FORMATS), st.lists(MOMENTS), st.lists(st.text("0123456789./: -", max_size=19))
)
@example("%d.%m.%Y %H:%M:%S", [datetime(2024, 1, 1)] * 3, ["1.2.2024 3:04:05", "31.02.2024 1:1:1"])
@example("%Y%m%d%H%M%S", [datetime(2024, 1, 1)], ["20240230000000", "2024111111", "20240101000060"])
@example("%d %b %Y %I:%M %p", [datetime(2024, m, 1) for m in range(1, 13)], ["1 Xyz 2024 1:00 AM"])
@example("%Y-%j %H:%M", [], ["2023-366 00:00", "2024-366 00:00", "2024-000 00:00", "2024-1 0:00"])
def test_formats_are_read_as_by_strptime(format_: str, moments: list[datetime], others: list[str]):
    zone = "Europe/Berlin"
    texts = [*(moment.strftime(format_) for moment in moments), *others]
    field = Field(name="m", type=FieldType.DATETIME, format=format_, timezone=zone)
    for text, (value, codes) in zip(texts, judged(texts, field), strict=True):
        expected = _expected_instant(lambda one: in_utc(_by_strptime(one, format_), zone), text)
        assert (_instant(value), codes) == expected, text


def _by_strptime(text: str, format_: str) -> datetime:
    # strptime() guesses where numbers without separators end, and takes spaces for zeros.
    is_packed = format_ == "%Y%m%d%H%M%S" and len(text) != len("20240101000000")
    if is_packed or re.search(r"  | [./:-]|^ | $|[./:-] ", text):
        raise Refused("not-a-datetime")
    try:
        moment = datetime.strptime(text, format_)
    except ValueError as error:
        raise Refused("not-a-datetime") from error
    if "%j" in format_ and moment.year != int(text[:4]):
        raise Refused("not-a-datetime")  # day 366 of another year, for strptime()
    return moment


def test_formats_with_offsets_use_them():
    field = Field(
        name="m", type=FieldType.DATETIME, format="%Y-%m-%d %H:%M %z", timezone="Europe/Berlin"
    )
    texts = ["2024-01-01 12:00 +02:00", "2024-01-01 12:00 -0130", "2024-01-01 12:00 Z"]
    assert [_instant(value) for value, _ in judged(texts, field)] == [
        datetime(2024, 1, 1, 10),
        datetime(2024, 1, 1, 13, 30),
        datetime(2024, 1, 1, 12),
    ]


def test_many_layouts_and_faults_in_one_column():
    texts = [
        f"{day}.{month}.{year}"
        for year in (9, 99, 2024)
        for month in range(14)
        for day in (1, 29, 31)
    ]
    field = Field(name="d", type=FieldType.DATE, format="%d.%m.%Y")
    for text, (value, codes) in zip(texts, judged(texts, field), strict=True):
        day, month, year = map(int, text.split("."))
        try:
            expected = date(year, month, day) if year > 999 else None
        except ValueError:
            expected = None
        assert value == expected
        assert codes == (frozenset() if expected else {"not-a-date"})


@pytest.mark.parametrize(
    ("type_", "limits", "texts", "codes"),
    [
        (
            FieldType.DATE,
            Constraints(minimum=date(2024, 1, 2), exclusive_maximum=date(2024, 1, 4)),
            ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"],
            ["below-minimum", None, None, "above-maximum"],
        ),
        (
            FieldType.TIME,
            Constraints(exclusive_minimum=time(8), maximum=time(18, 0, 0, 1)),
            ["08:00", "08:00:00.000001", "18:00:00.000001", "18:00:01"],
            ["below-minimum", None, None, "above-maximum"],
        ),
        (
            FieldType.DATETIME,
            Constraints(minimum=datetime.fromisoformat("2024-01-01T00:00+01:00")),
            ["2023-12-31T23:00", "2023-12-31T22:59:59.999999", "2024-01-01T00:00+01:00"],
            [None, "below-minimum", None],
        ),
        (
            FieldType.DATE,
            Constraints(enum=(date(2024, 1, 2),)),
            ["2024-01-01", "2024-01-02"],
            ["not-in-enum", None],
        ),
    ],
)
def test_bounds_of_times(
    type_: FieldType, limits: Constraints, texts: list[str], codes: list[str | None]
):
    found = judged(texts, Field(name="m", type=type_, constraints=limits))
    assert [next(iter(of), None) for _, of in found] == codes


@pytest.mark.parametrize(
    ("type_", "format_"),
    [
        *((FieldType.DATE, text) for text in ("any", "%d.%m", "%Y-%m-%d %H:%M", "%Y %y %m %d")),
        *((FieldType.DATE, text) for text in ("%Y-%q-%d", "%Y-%m-%d%", "%d %d %m %Y", "%Y %m %j")),
        *((FieldType.TIME, text) for text in ("%M:%S", "%Y %H:%M", "%H:%S", "%I:%M", "%H:%M%z")),
        *((FieldType.DATETIME, text) for text in ("%H:%M", "%Y-%m-%d %z", "%Y-%m-%d %H %p")),
    ],
)
def test_unusable_formats_are_refused(type_: FieldType, format_: str):
    with pytest.raises(InvalidFormat):
        time_pattern(type_, format_)


@pytest.mark.parametrize("format_", [None, *FORMATS])
def test_example_of_a_format_is_valid(format_: str | None):
    field = Field(name="m", type=FieldType.DATETIME, format=format_)
    assert check([example_of(FieldType.DATETIME, format_)], field).faults == ()


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        (Field(name="d", type=FieldType.DATE), "2023-02-29", "no such day"),
        (Field(name="d", type=FieldType.DATE), "03.05.2024", 'looks like "%d.%m.%Y"'),
        (Field(name="d", type=FieldType.DATE), "01.03.26", 'looks like "%d.%m.%y"'),
        (Field(name="d", type=FieldType.DATE, format="%d.%m.%Y"), "01.03.26", '"%d.%m.%y"'),
        (Field(name="d", type=FieldType.DATE), "01/03/26", '"%d/%m/%y", with day and month'),
        (Field(name="m", type=FieldType.DATETIME), "01.03.26 12:30", '"%d.%m.%y %H:%M"'),
        (Field(name="d", type=FieldType.DATE), "03/05/2024", "day and month possibly swapped"),
        (Field(name="d", type=FieldType.DATE), "12/31/2024", "day and month possibly swapped"),
        (Field(name="d", type=FieldType.DATE), "45292", "serial number of a spreadsheet"),
        (Field(name="d", type=FieldType.DATE), "2024-01-01 00:00:00", "has a time of day"),
        (Field(name="d", type=FieldType.DATE, format="%d.%m.%Y"), "x", "for example 27.03.2026"),
        (Field(name="t", type=FieldType.TIME), "9:30", "as in 09:30"),
        (Field(name="t", type=FieldType.TIME), "12:00+01:00", "has no offset"),
        (Field(name="m", type=FieldType.DATETIME), "2024-01-01T24:00", "00:00 of the next day"),
        (Field(name="m", type=FieldType.DATETIME), "2024-01-01T23:59:60", "Seconds are 00 to 59"),
        (Field(name="m", type=FieldType.DATETIME), "2024-01-01T00:00:00.1234567", "Microseconds"),
        (Field(name="m", type=FieldType.DATETIME), "1704067200000", "milliseconds since 1970"),
        (
            Field(name="m", type=FieldType.DATETIME, timezone="Europe/Berlin"),
            "2024-03-31 02:30",
            "does not exist in Europe/Berlin",
        ),
        (
            Field(name="m", type=FieldType.DATETIME, timezone="Europe/Berlin"),
            "2024-10-27 02:30",
            "the earlier one was taken",
        ),
    ],
)
def test_hints_name_what_was_expected(field: Field, text: str, words: str):
    (fault,) = check([text], field).faults
    assert words in fault.note(text)


def test_ambiguous_time_is_a_warning_and_loaded():
    field = Field(name="m", type=FieldType.DATETIME, timezone="Europe/Berlin")
    checked = check(["2024-10-27 02:30"], field)
    assert [(fault.code, fault.severity) for fault in checked.faults] == [
        (ProblemCode.AMBIGUOUS_TIME, "warning")
    ]
    assert checked.values.to_pylist() == ["2024-10-27 00:30:00.000000+00"]
