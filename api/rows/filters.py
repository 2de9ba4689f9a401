"""The filters of /data and /stats as SQL conditions.

An age is in whole calendar years on a UTC date. In common years, users born on 29 February
have their birthday on 1 March. `today` is an argument, so that tests control the date.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    and_,
    bindparam,
    cast,
    exists,
    extract,
    func,
    or_,
    select,
)

from etl.db.tables import image, source_object, users

_FEBRUARY = 2
_LEAP_DAY = 29


class ImageWanted(StrEnum):
    """The state of a user's image; `missing` selects users without an image."""

    READY = "ready"
    CORRUPT = "corrupt"
    TOO_LARGE = "too-large"
    UNSUPPORTED = "unsupported"
    WAITING = "waiting"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Filters:
    """Filters of users; None means any. Ages are whole years, and both ends are inclusive."""

    is_image_exists: bool | None = None
    min_age: int | None = None
    max_age: int | None = None
    image: ImageWanted | None = None


def age_on(today: date, birthdate: date) -> int:
    """The age in whole calendar years on `today`."""
    had_birthday = (today.month, today.day) >= (birthdate.month, birthdate.day)
    return today.year - birthdate.year - (not had_birthday)


def years_before(today: date, years: int) -> date:
    """The same calendar day `years` earlier; 29 February becomes the 28th in common years."""
    year = today.year - years
    if (today.month, today.day) == (_FEBRUARY, _LEAP_DAY) and not _is_leap(year):
        return date(year, _FEBRUARY, _LEAP_DAY - 1)
    return today.replace(year=year)


def born_by(today: date, min_age: int) -> date:
    """The latest birthdate of someone who is at least `min_age` years old."""
    return years_before(today, min_age)


def born_after(today: date, max_age: int) -> date:
    """The date after which all users are born who are at most `max_age` years old."""
    return years_before(today, max_age + 1)


def conditions(filters: Filters, today: date) -> list[ColumnElement[bool]]:
    """The WHERE conditions: birthdates instead of ages, to use the index."""
    where: list[ColumnElement[bool]] = []
    if filters.is_image_exists is not None:
        has_image = users.c.img_path.is_not(None)
        where.append(has_image if filters.is_image_exists else users.c.img_path.is_(None))
    if filters.min_age is not None:
        where.append(users.c.birthdate <= bindparam("born_by", born_by(today, filters.min_age)))
    if filters.max_age is not None:
        after = born_after(today, filters.max_age)
        where.append(users.c.birthdate > bindparam("born_after", after))
    if filters.image is not None:
        where.append(_image_in_state(filters.image))
    return where


def values(filters: Filters, today: date) -> dict[str, date | int]:
    """The values of the named parameters; only the date and the ages determine them."""
    named: dict[str, date | int] = {"year": today.year, "month": today.month, "day": today.day}
    if filters.min_age is not None:
        named["born_by"] = born_by(today, filters.min_age)
    if filters.max_age is not None:
        named["born_after"] = born_after(today, filters.max_age)
    return named


def _image_in_state(state: ImageWanted) -> ColumnElement[bool]:
    if state is ImageWanted.MISSING:
        return users.c.img_path.is_(None)
    current = select(image.c.state).join(source_object, is_current_metadata())
    current = current.where(is_image_of_user())
    if state is ImageWanted.WAITING:
        # A scalar subquery is evaluated by index look-ups. As an anti join, PostgreSQL would
        # underestimate the rows with an equal key and ETag, and compare all pairs of rows.
        return and_(users.c.img_path.is_not(None), current.scalar_subquery().is_(None))
    return exists(current.where(image.c.state == state))


def is_image_of_user() -> ColumnElement[bool]:
    """Whether a source object is the user's image: `img_path` is its `bucket/key`.

    The users table has no other column for the image. Bucket names contain no slash.
    """
    path = users.c.img_path
    return and_(
        source_object.c.kind == "image",
        source_object.c.bucket == func.split_part(path, "/", 1),
        source_object.c.key == func.substr(path, func.strpos(path, "/") + 1),
    )


def is_current_metadata() -> ColumnElement[bool]:
    """Whether image metadata belongs to the current version of the source object."""
    return and_(
        image.c.bucket == source_object.c.bucket,
        image.c.key == source_object.c.key,
        image.c.etag == source_object.c.etag,
    )


def age_in_sql(today: date) -> ColumnElement[int]:
    """`age_on` as an SQL expression over `users.birthdate`."""
    month: ColumnElement[int] = bindparam("month", today.month)
    is_before_birthday = or_(
        _part("month") > month,
        and_(_part("month") == month, _part("day") > bindparam("day", today.day)),
    )
    return bindparam("year", today.year) - _part("year") - cast(is_before_birthday, Integer)


def _part(field: str) -> ColumnElement[Any]:
    return cast(extract(field, users.c.birthdate), Integer)


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
