"""The independent verifier's reading of birth times."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.verify.birthts import NotABirthTime, milliseconds, utc_date

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TODAY = date(2024, 2, 29)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0", 0),
        ("-0", 0),
        ("+0012", 12),
        ("-5", -5),
        (f"{'0' * 9_000}7", 7),
        ("326160000000.0", 326160000000),
        ("-7.0000", -7),
        (f"+7.{'0' * 9_000}", 7),
        ("1980-05-03", 326160000000),
        ("1969-12-31", -86400000),
        ("1980-02-29", 320630400000),
        ("1980-05-03T00:00", 326160000000),
        ("1980-05-03 00:00:01", 326160001000),
        ("1980-05-03T00:00:00.5", 326160000500),
        ("1980-05-03T00:00:00.05", 326160000050),
        ("1980-05-03T00:00:00.005000000", 326160000005),
        ("1969-12-31T23:59:59.999Z", -1),
        ("1980-05-03T02:00+02", 326160000000),
        ("1980-05-03T02:30+0230", 326160000000),
        ("1980-05-02 22:00-02:00", 326160000000),
        ("1980-05-03T00:00-00:00", 326160000000),
        ("1980-05-03T23:59:00+23:59", 326160000000),
    ],
)
def test_a_birth_time_is_milliseconds_since_1970(written: str, value: int):
    assert milliseconds(written) == value


@pytest.mark.parametrize(
    "written",
    [
        "",
        "x",
        "03.05.1980",
        "5/3/1980",
        "1980/05/03",
        "5.",
        ".0",
        "1.5",
        "1.00001",
        "1,0",
        "1e3",
        "1.0e3",
        "1_000",
        "+-1",
        "--1",
        "\u0661",
        "\u0661980-05-03",
        "1980-5-3",
        "80-05-03",
        "12024-01-01",
        "-1980-05-03",
        "1980-02-30",
        "1981-02-29",
        "1980-13-01",
        "0000-01-01",
        "1980-05",
        "1980-W18-6",
        "1980-124",
        "19800503T000000",
        "1980-05-03t00:00",
        "1980-05-03T00:00z",
        "1980-05-03T",
        "1980-05-03T10",
        "1980-05-03T1:00",
        "1980-05-03T1000",
        "1980-05-03x10:00",
        "1980-05-03  10:00",
        "1980-05-03T24:00",
        "1980-05-03T23:60",
        "1980-05-03T23:59:60",
        "1980-05-03T00:00.5",
        "1980-05-03T00:00:00.",
        "1980-05-03T00:00:00,5",
        "1980-05-03T00:00:00.0001",
        "1980-05-03Z",
        "1980-05-03+01:00",
        "1980-05-03T00:00 Z",
        "1980-05-03T00:00+1",
        "1980-05-03T00:00+24:00",
        "1980-05-03T00:00+00:60",
        "1980-05-03T00:00+01:00:00",
        "1980-05-03T00:00UTC",
        "now",
        "nan",
        "Infinity",
    ],
)
def test_ambiguous_or_invalid_date_is_rejected(written: str):
    with pytest.raises(NotABirthTime):
        milliseconds(written)


@pytest.mark.parametrize(
    ("birthts", "day"),
    [
        (-2208988800000, date(1900, 1, 1)),
        (-2208988800001, date(1899, 12, 31)),
        (1709251199999, date(2024, 2, 29)),
        (1709251200000, date(2024, 3, 1)),
        (10**18, None),
        (-(10**18), None),
    ],
)
def test_date_of_a_birth_time_is_in_utc(birthts: int, day: date | None):
    assert utc_date(birthts) == day


@pytest.mark.parametrize("sign", ["", "+", "-"])
def test_a_number_beyond_any_calendar_has_no_date(sign: str):
    assert utc_date(milliseconds(f"{sign}{'9' * 9_000}")) is None


offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda m: timezone(timedelta(minutes=m)))
moments = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=offsets)  # noqa: DTZ001


@given(moments, st.sampled_from(["T", " "]))
def test_every_datetime_python_writes_is_that_instant(moment: datetime, separator: str):
    whole = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    written = whole.isoformat(separator, timespec="milliseconds")
    assert milliseconds(written) == (whole - EPOCH) // timedelta(milliseconds=1)


@given(st.dates())
def test_a_date_is_midnight_in_utc(day: date):
    assert milliseconds(day.isoformat()) == (day - EPOCH.date()).days * 86_400_000
