"""What the filters of /data and /stats mean: parameters and a day in, conditions out.

Age is whole calendar years on a UTC date. Whoever was born on 29 February has the birthday
on 1 March in common years. No clock here: `today` is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Integer, bindparam, cast, exists, extract, or_, select
from sqlalchemy import and_ as all_of

from etl.db.tables import image, source_object, users

_FEBRUARY = 2
_LEAP_DAY = 29


class ImageWanted(StrEnum):
    """Users by what is known of their image; `missing` are those without one."""

    READY = "ready"
    CORRUPT = "corrupt"
    TOO_LARGE = "too-large"
    UNSUPPORTED = "unsupported"
    WAITING = "waiting"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Filters:
    """Which users are wanted; None means any. Ages are whole years, both ends included."""

    is_image_exists: bool | None = None
    min_age: int | None = None
    max_age: int | None = None
    image: ImageWanted | None = None


def age_on(today: date, birthdate: date) -> int:
    """Whole calendar years between the two dates."""
    had_birthday = (today.month, today.day) >= (birthdate.month, birthdate.day)
    return today.year - birthdate.year - (not had_birthday)


def years_before(today: date, years: int) -> date:
    """The same calendar day `years` earlier; 29 February becomes the 28th where it must."""
    year = today.year - years
    if (today.month, today.day) == (_FEBRUARY, _LEAP_DAY) and not _is_leap(year):
        return date(year, _FEBRUARY, _LEAP_DAY - 1)
    return today.replace(year=year)


def born_by(today: date, min_age: int) -> date:
    """The latest birthdate of someone who is at least `min_age` years old."""
    return years_before(today, min_age)


def born_after(today: date, max_age: int) -> date:
    """The date after which everyone is born who is at most `max_age` years old."""
    return years_before(today, max_age + 1)


def conditions(filters: Filters, today: date) -> list[ColumnElement[bool]]:
    """The WHERE of the users wanted: never retired ones, and on dates, so an index can serve."""
    wanted: list[ColumnElement[bool]] = [users.c.retired_at.is_(None)]
    if filters.is_image_exists is not None:
        has_image = users.c.img_path.is_not(None)
        wanted.append(has_image if filters.is_image_exists else users.c.img_path.is_(None))
    if filters.min_age is not None:
        wanted.append(users.c.birthdate <= bindparam("born_by", born_by(today, filters.min_age)))
    if filters.max_age is not None:
        after = born_after(today, filters.max_age)
        wanted.append(users.c.birthdate > bindparam("born_after", after))
    if filters.image is not None:
        wanted.append(_has_image(filters.image))
    return wanted


def values(filters: Filters, today: date) -> dict[str, date | int]:
    """What the parameters named here hold: with another day or other ages, nothing else differs."""
    named: dict[str, date | int] = {"year": today.year, "month": today.month, "day": today.day}
    if filters.min_age is not None:
        named["born_by"] = born_by(today, filters.min_age)
    if filters.max_age is not None:
        named["born_after"] = born_after(today, filters.max_age)
    return named


def _has_image(state: ImageWanted) -> ColumnElement[bool]:
    if state is ImageWanted.MISSING:
        return users.c.img_path.is_(None)
    # As img_path is made. The facts count as long as they are of the ETag in the manifest.
    path = source_object.c.bucket + "/" + source_object.c.key
    known = (
        select(path)
        .join(
            image, all_of(image.c.key == source_object.c.key, image.c.etag == source_object.c.etag)
        )
        .where(source_object.c.kind == "image")
    )
    if state is ImageWanted.WAITING:
        return all_of(users.c.img_path.is_not(None), ~exists(known.where(path == users.c.img_path)))
    return users.c.img_path.in_(known.where(image.c.state == state))


def age_in_sql(today: date) -> ColumnElement[int]:
    """`age_on` as an expression over `users.birthdate`."""
    month: ColumnElement[int] = bindparam("month", today.month)
    birthday_to_come = or_(
        _part("month") > month,
        all_of(_part("month") == month, _part("day") > bindparam("day", today.day)),
    )
    return bindparam("year", today.year) - _part("year") - cast(birthday_to_come, Integer)


def _part(field: str) -> ColumnElement[Any]:
    return cast(extract(field, users.c.birthdate), Integer)


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
