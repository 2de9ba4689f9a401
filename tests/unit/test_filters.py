"""Ages and filters, by value."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from api.rows.filters import Filters, age_on, born_after, born_by, conditions, years_before

LEAP_DAY = date(2000, 2, 29)

birthdates = st.dates(date(1900, 1, 1), date(2026, 12, 31))
todays = st.dates(date(2026, 1, 1), date(2060, 12, 31))
ages = st.integers(0, 150)


def age_by_counting_birthdays(birthdate: date, today: date) -> int:
    """The definition of age: the number of birthdays so far, counted one by one."""
    count = 0
    while birthday(birthdate, count + 1) <= today:
        count += 1
    return count


def birthday(birthdate: date, number: int) -> date:
    try:
        return birthdate.replace(year=birthdate.year + number)
    except ValueError:  # 29 February in a common year
        return date(birthdate.year + number, 3, 1)


@given(birthdates, todays)
@example(LEAP_DAY, date(2026, 2, 28))
@example(LEAP_DAY, date(2026, 3, 1))
@example(LEAP_DAY, date(2028, 2, 29))
def test_age_counts_birthdays(birthdate: date, today: date):
    assume(birthdate <= today)
    assert age_on(today, birthdate) == age_by_counting_birthdays(birthdate, today)


@given(birthdates, todays, ages)
@example(LEAP_DAY, date(2026, 2, 28), 26)
@example(LEAP_DAY, date(2026, 3, 1), 26)
@example(date(2003, 2, 28), date(2028, 2, 29), 25)
@example(date(2003, 3, 1), date(2028, 2, 29), 25)
def test_min_age_is_a_latest_birthdate(birthdate: date, today: date, min_age: int):
    assert (birthdate <= born_by(today, min_age)) == (age_on(today, birthdate) >= min_age)


@given(birthdates, todays, ages)
@example(LEAP_DAY, date(2026, 2, 28), 25)
@example(LEAP_DAY, date(2026, 3, 1), 25)
def test_max_age_is_an_earliest_birthdate(birthdate: date, today: date, max_age: int):
    assert (birthdate > born_after(today, max_age)) == (age_on(today, birthdate) <= max_age)


@pytest.mark.parametrize(
    ("today", "age"),
    [(date(2026, 6, 14), 35), (date(2026, 6, 15), 36), (date(2026, 6, 16), 36)],
)
def test_age_turns_on_the_birthday(today: date, age: int):
    assert age_on(today, date(1990, 6, 15)) == age


@pytest.mark.parametrize(
    ("today", "age"),
    [
        (date(2023, 2, 28), 22),
        (date(2023, 3, 1), 23),
        (date(2024, 2, 28), 23),
        (date(2024, 2, 29), 24),
        (date(2024, 3, 1), 24),
    ],
)
def test_leap_day_birthday_falls_on_the_first_of_march(today: date, age: int):
    assert age_on(today, LEAP_DAY) == age


def test_leap_day_becomes_the_28th_only_where_it_must():
    assert years_before(date(2024, 2, 29), 1) == date(2023, 2, 28)
    assert years_before(date(2024, 2, 29), 4) == date(2020, 2, 29)
    assert years_before(date(2024, 2, 29), 124) == date(1900, 2, 28)


@given(todays, ages)
def test_bounds_of_one_age_span_one_year(today: date, age: int):
    span = born_by(today, age) - born_after(today, age)
    assert timedelta(days=365) <= span <= timedelta(days=366)


def where(filters: Filters) -> str:
    clauses = conditions(filters, date(2026, 6, 15))
    dialect = postgresql.dialect()
    return " AND ".join(
        str(clause.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
        for clause in clauses
    )


def test_without_filters_there_is_no_condition():
    assert where(Filters()) == ""


def test_every_filter_adds_its_condition():
    assert where(Filters(is_image_exists=True, min_age=18, max_age=65)) == (
        "users.img_path IS NOT NULL"
        " AND users.birthdate <= '2008-06-15' AND users.birthdate > '1960-06-15'"
    )


def test_missing_image_is_a_separate_filter():
    assert where(Filters(is_image_exists=False)).endswith("users.img_path IS NULL")


def test_age_zero_is_a_filter_and_not_its_absence():
    assert where(Filters(min_age=0)).endswith("users.birthdate <= '2026-06-15'")
    assert where(Filters(max_age=0)).endswith("users.birthdate > '2025-06-15'")
