"""Values in query strings: texts that must have the type of their column."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from decimal import Decimal
from math import isfinite, isinf
from struct import pack, unpack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from etl.model.types import SqlType

_INTEGER = re.compile(r"-?[0-9]{1,131}")
_NUMBER = re.compile(
    r"-?(?:[0-9]{1,131}(?:\.[0-9]{0,131})?|\.[0-9]{1,131})(?:[eE][-+]?[0-9]{1,3})?"
)
_NOT_FINITE = re.compile(r"-?Infinity|NaN", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_BOOLEANS = {"true": True, "false": False}


class WrongValue(ValueError):
    """A text that is not a value of the type of its column; the message has an example."""


def parse(text: str, type_: SqlType) -> object:
    """The value of a text, as the driver passes it to a column of this type.

    Raises:  WrongValue.
    """
    if "\0" in text:
        raise WrongValue("must not contain a NUL character")
    if type_.traits.is_text:
        return text
    parser, name, example = _PARSERS[type_.name]
    try:
        return parser(text)
    except OverflowError as error:
        raise WrongValue(f"is {type_}, whose range does not include {text[:50]!r}") from error
    except ValueError as error:
        hint = "; percent-encode + as %2B" if type_.name.startswith("timestamp") else ""
        raise WrongValue(
            f"is {type_}, and {text[:50]!r} is not {name}, such as {example}{hint}"
        ) from error


def _integer(text: str) -> int:
    return int(_matching(_INTEGER, text))


def _numeric(text: str) -> Decimal:
    return Decimal(_matching(_NUMBER, text))


def _float(text: str) -> float:
    """Like PostgreSQL, reject numbers that would overflow to infinity or underflow to zero."""
    if _NOT_FINITE.fullmatch(text):
        return float(text)
    exact = Decimal(_matching(_NUMBER, text))
    found = float(exact)
    _check_range(exact, found)
    return found


def _real(text: str) -> float:
    found = _float(text)
    if isfinite(found):
        _check_range(found, unpack("f", pack("f", found))[0])
    return found


def _check_range(exact: Decimal | float, stored: float) -> None:
    if isinf(stored) or (exact and not stored):
        raise OverflowError


def _boolean(text: str) -> bool:
    found = _BOOLEANS.get(text.lower())
    if found is None:
        raise ValueError(text)
    return found


def _time(text: str) -> time:
    found = time.fromisoformat(text)
    if found.tzinfo is not None:
        raise ValueError(text)
    return found


def _instant(text: str) -> datetime:
    """The time in UTC, also without an offset. PostgreSQL does not accept every offset."""
    found = datetime.fromisoformat(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _timestamp(text: str) -> datetime:
    return _instant(text).replace(tzinfo=None)


def _uuid(text: str) -> str:
    return _matching(_UUID, text)


def _matching(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(text)
    return text


_Parser = tuple["Callable[[str], object]", str, str]
_WHOLE: _Parser = (_integer, "a whole number", "42")
_ANY_NUMBER: _Parser = (_float, "a number", "12.5")

# By column type: the parser, what it accepts, and an example.
_PARSERS: dict[str, _Parser] = {
    "smallint": _WHOLE,
    "integer": _WHOLE,
    "bigint": _WHOLE,
    "numeric": (_numeric, "a number", "12.50"),
    "real": (_real, *_ANY_NUMBER[1:]),
    "double precision": _ANY_NUMBER,
    "boolean": (_boolean, "a boolean", "true"),
    "date": (date.fromisoformat, "a date", "2026-01-31"),
    "time": (_time, "a time", "13:45:00"),
    "timestamptz": (_instant, "a time", "2026-01-31T13:45:00Z"),
    "timestamp": (_timestamp, "a time", "2026-01-31T13:45:00"),
    "uuid": (_uuid, "a UUID", "01234567-89ab-cdef-0123-456789abcdef"),
}
