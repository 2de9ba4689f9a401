"""strptime patterns of dates and times as regular expressions.

The expressions are the same in RE2 and in `re` with re.ASCII. Each directive is a named group:
year, year2, month, month_name, day, year_day, hour, hour12, half, minute, second, micro, zulu,
sign, offset_hour, offset_minute. They check the form only; the calendar is checked on the numbers.
"""

from __future__ import annotations

import re
from functools import lru_cache

from etl.model.dataset import FieldType

MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_OFFSET_MINUTE = "(?::?(?P<offset_minute>[0-9]{2}))"
_OFFSET_HOUR = "(?P<zulu>Z)|(?P<sign>[+-])(?P<offset_hour>[0-9]{2})"
_OFFSET = f"(?:{_OFFSET_HOUR}{_OFFSET_MINUTE})"
_ISO_OFFSET = f"(?:{_OFFSET_HOUR}{_OFFSET_MINUTE}?)"
_ISO_DATE = "(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
_ISO_TIME = (
    "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})"
    # Digits beyond microseconds must be zeros.
    r"(?::(?P<second>[0-9]{2})(?:\.(?P<micro>[0-9]{1,6})0*)?)?"
)
_ISO = {
    FieldType.DATE: _ISO_DATE,
    FieldType.TIME: _ISO_TIME,
    FieldType.DATETIME: f"{_ISO_DATE}(?:[T ]{_ISO_TIME}{_ISO_OFFSET}?)?",
}
_NUMBERS = {
    "d": ("day", 2),
    "m": ("month", 2),
    "H": ("hour", 2),
    "I": ("hour12", 2),
    "M": ("minute", 2),
    "S": ("second", 2),
    "j": ("year_day", 3),
    "f": ("micro", 6),
}
_FIXED_NUMBERS = {"Y": ("year", 4), "y": ("year2", 2)}


def _one_of(names: tuple[str, ...]) -> str:
    return f"(?i:{'|'.join(names)})"


_TEXTS = {
    "b": f"(?P<month_name>{_one_of(tuple(name[:3] for name in MONTHS))})",
    "B": f"(?P<month_name>{_one_of(MONTHS)})",
    "a": _one_of(tuple(name[:3] for name in _WEEKDAYS)),
    "A": _one_of(_WEEKDAYS),
    "p": "(?P<half>(?i:AM|PM))",
    "z": _OFFSET,
    "%": "%",
}
_DATE_PARTS = frozenset({"year", "year2", "month", "month_name", "day", "year_day"})
_TIME_PARTS = frozenset({"hour", "hour12", "half", "minute", "second", "micro", "zulu"})
SUPPORTED_DIRECTIVES = " ".join(f"%{letter}" for letter in "YymbBdjaAHIpMSfz%")
_PIECE = re.compile(r"%(.?)|\s+|[^%\s]+", re.DOTALL)
_GROUP = re.compile(r"\?P<(\w+)>")

_EXAMPLES = {
    "Y": "2026",
    "y": "26",
    "m": "03",
    "b": "Mar",
    "B": "March",
    "d": "27",
    "j": "086",
    "a": "Fri",
    "A": "Friday",
    "H": "18",
    "I": "06",
    "p": "PM",
    "M": "30",
    "S": "05",
    "f": "250000",
    "z": "+02:00",
    "%": "%",
}
_ISO_EXAMPLES = {
    FieldType.DATE: "2026-03-27",
    FieldType.TIME: "18:30:05",
    FieldType.DATETIME: "2026-03-27T18:30:05+02:00",
}


class InvalidFormat(ValueError):
    """A format that cannot be used for a field of the type; the message says why."""


@lru_cache(maxsize=256)
def time_pattern(type_: FieldType, format_: str | None) -> str:
    """The expression, without anchors, for a date, time or datetime field; None is ISO 8601.

    Names of months and days are English, in any case. Numbers of two digits may lack the leading
    zero unless a digit is next to them.

    Raises:  InvalidFormat.
    """
    if format_ is None:
        return _ISO[type_]
    pieces = [found[0] for found in _PIECE.finditer(format_)]
    pattern = "".join(
        _piece(piece, is_beside_digit=_is_beside_digit(pieces, place))
        for place, piece in enumerate(pieces)
    )
    _check_parts(type_, _GROUP.findall(pattern))
    return pattern


def example_of(type_: FieldType, format_: str | None) -> str:
    """A value in the format, for hints."""
    if format_ is None:
        return _ISO_EXAMPLES[type_]
    return re.sub("%(.)", lambda found: _EXAMPLES.get(found[1], found[0]), format_)


def _piece(piece: str, *, is_beside_digit: bool) -> str:
    if piece.isspace():
        return r"[ \t]+"
    if not piece.startswith("%"):
        return re.escape(piece)
    letter = piece[1:]
    if letter in _FIXED_NUMBERS:
        name, width = _FIXED_NUMBERS[letter]
        return f"(?P<{name}>[0-9]{{{width}}})"
    if letter in _NUMBERS:
        name, width = _NUMBERS[letter]
        least = width if is_beside_digit else 1
        return f"(?P<{name}>[0-9]{{{least},{width}}})"
    if letter in _TEXTS:
        return _TEXTS[letter]
    raise InvalidFormat(f"{piece} is not supported; use {SUPPORTED_DIRECTIVES}")


def _is_beside_digit(pieces: list[str], place: int) -> bool:
    before = pieces[place - 1] if place else ""
    after = pieces[place + 1] if place + 1 < len(pieces) else ""
    return _is_digit_at(before, -1) or _is_digit_at(after, 0)


def _is_digit_at(piece: str, place: int) -> bool:
    if piece.startswith("%"):
        return piece[1:] in _NUMBERS or piece[1:] in _FIXED_NUMBERS
    return bool(piece) and piece[place].isdigit()


def _check_parts(type_: FieldType, names: list[str]) -> None:
    parts = frozenset(names)
    if len(parts) < len(names):
        raise InvalidFormat("a part of the date or time occurs twice")
    if type_ is FieldType.TIME:
        if parts & (_DATE_PARTS | {"zulu"}):
            raise InvalidFormat("a time has no date and no offset; use the type datetime")
    elif type_ is FieldType.DATE and parts & _TIME_PARTS:
        raise InvalidFormat("a date has no time of day; use the type datetime")
    if type_ is not FieldType.TIME:
        _check_date(parts)
    _check_time(type_, parts)


def _check_date(parts: frozenset[str]) -> None:
    has_year = len(parts & {"year", "year2"}) == 1
    has_day = len(parts & {"month", "month_name"}) == 1 and "day" in parts
    if "year_day" in parts:
        has_day = not parts & {"month", "month_name", "day"}
    if not (has_year and has_day):
        raise InvalidFormat("a date needs one year and one day: %Y (or %y) with %m and %d, or %j")


def _check_time(type_: FieldType, parts: frozenset[str]) -> None:
    if ("hour12" in parts) != ("half" in parts) or {"hour", "hour12"} <= parts:
        raise InvalidFormat("%I and %p go together, and exclude %H")
    has_hour = bool(parts & {"hour", "hour12"})
    if not has_hour and (type_ is FieldType.TIME or parts & _TIME_PARTS):
        raise InvalidFormat("a time needs an hour: %H, or %I with %p")
    if "second" in parts and "minute" not in parts:
        raise InvalidFormat("%S needs %M")
    if "micro" in parts and "second" not in parts:
        raise InvalidFormat("%f needs %S")
