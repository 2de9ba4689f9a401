"""Parse dates, times and datetimes: in ISO 8601, or in the format of their field."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from etl.model.dataset import FieldType
from etl.model.values import ProblemCode
from etl.verify.faults import FaultyCell

if TYPE_CHECKING:
    from datetime import tzinfo

    from etl.model.dataset import Field

_FAULTS = {
    FieldType.DATE: ProblemCode.NOT_A_DATE,
    FieldType.TIME: ProblemCode.NOT_A_TIME,
    FieldType.DATETIME: ProblemCode.NOT_A_DATETIME,
}
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MICROSECONDS = "(?P<f>[0-9]{1,6})"
_OFFSET = "(?P<z>Z|[+-][0-9]{2}(?::?[0-9]{2})?)"
_ISO_DAY = "(?P<Y>[0-9]{4})-(?P<m>[0-9]{2})-(?P<d>[0-9]{2})"
_ISO_CLOCK = f"(?P<H>[0-9]{{2}}):(?P<M>[0-9]{{2}})(?::(?P<S>[0-9]{{2}})(?:\\.{_MICROSECONDS}0*)?)?"
_ISO = {
    FieldType.DATE: _ISO_DAY,
    FieldType.TIME: _ISO_CLOCK,
    FieldType.DATETIME: f"{_ISO_DAY}(?:[T ]{_ISO_CLOCK}{_OFFSET}?)?",
}
_WIDTHS = {"Y": 4, "y": 2, "m": 2, "d": 2, "j": 3, "H": 2, "I": 2, "M": 2, "S": 2, "f": 6}
_TEXTS = {
    "z": "(?P<z>Z|[+-][0-9]{2}:?[0-9]{2})",
    "p": "(?P<p>[aApP][mM])",
    "B": f"(?P<B>(?i:{'|'.join(_MONTHS)}))",
    "b": f"(?P<b>(?i:{'|'.join(name[:3] for name in _MONTHS)}))",
    "A": f"(?i:{'|'.join(_DAYS)})",
    "a": f"(?i:{'|'.join(name[:3] for name in _DAYS)})",
    "%": "%",
}
_PIVOT = 69  # as POSIX: years from 69 are of the last century
_NOON = 12


class MomentReader:
    """Parses the cells of a field of type `date`, `time` or `datetime`."""

    def __init__(self, field: Field) -> None:
        self._type = field.type
        self._fault = _FAULTS[field.type]
        self._zone: tzinfo = UTC if field.timezone is None else ZoneInfo(field.timezone)
        is_iso = field.format in {None, "default"}
        form = _ISO[field.type] if is_iso or field.format is None else _translate(field.format)
        self._form = re.compile(form, re.ASCII)

    def read(self, written: str, warnings: list[ProblemCode]) -> date | time | datetime:
        """The value; an instant is aware and in UTC.

        Adds to `warnings` that a local time occurs twice.

        Raises:  FaultyCell.
        """
        found = self._form.fullmatch(written)
        if found is None:
            raise FaultyCell(self._fault)
        parts = found.groupdict()
        try:
            if self._type is FieldType.DATE:
                return _day(parts)
            if self._type is FieldType.TIME:
                return _clock(parts)
            return self._instant(datetime.combine(_day(parts), _clock(parts)), parts, warnings)
        except (ValueError, OverflowError) as error:
            raise FaultyCell(self._fault) from error

    def _instant(
        self, local: datetime, parts: dict[str, str], warnings: list[ProblemCode]
    ) -> datetime:
        written = parts.get("z")
        if written:
            return local.replace(tzinfo=_offset(written)).astimezone(UTC)
        first = local.replace(tzinfo=self._zone)
        instant = first.astimezone(UTC)
        if instant.astimezone(self._zone).replace(tzinfo=None, fold=0) != local:
            raise FaultyCell(ProblemCode.NONEXISTENT_TIME)
        if first.utcoffset() != first.replace(fold=1).utcoffset():
            warnings.append(ProblemCode.AMBIGUOUS_TIME)
        return instant


def _translate(written: str) -> str:
    """The regular expression of a strptime format.

    White space stands for any number of spaces and tabs. The leading zeros of all but years may be
    omitted, but not next to a digit.
    """
    parts = re.findall(r"%.|\s+|[^%\s]", written, re.DOTALL)
    form = []
    for at, part in enumerate(parts):
        beside = [*parts[max(at - 1, 0) : at], *parts[at + 1 : at + 2]]
        if part.isspace():
            form.append("[ \t]+")
        elif part[0] != "%":
            form.append(re.escape(part))
        elif part[1] in _TEXTS:
            form.append(_TEXTS[part[1]])
        else:
            most = _WIDTHS[part[1]]
            is_fixed = part[1] in "Yy" or any(map(_has_digits, beside))
            form.append(f"(?P<{part[1]}>[0-9]{{{most if is_fixed else 1},{most}}})")
    return "".join(form)


def _has_digits(part: str) -> bool:
    return part.isdigit() or (part[0] == "%" and part[1] in _WIDTHS)


def _day(parts: dict[str, str]) -> date:
    year = _year(parts)
    if parts.get("j"):
        ordinal = int(parts["j"])
        day = date(year, 1, 1) + timedelta(days=ordinal - 1)
        if ordinal == 0 or day.year != year:
            raise ValueError
        return day
    return date(year, _month(parts), int(parts["d"]))


def _year(parts: dict[str, str]) -> int:
    if parts.get("Y"):
        return int(parts["Y"])
    year = int(parts["y"])
    return year + (1900 if year >= _PIVOT else 2000)


def _month(parts: dict[str, str]) -> int:
    name = parts.get("B") or parts.get("b")
    if name:
        return next(n for n, month in enumerate(_MONTHS, 1) if month.startswith(name.lower()))
    return int(parts["m"])


def _clock(parts: dict[str, str]) -> time:
    hour = int(parts.get("H") or 0)
    if parts.get("I"):
        hour = int(parts["I"])
        if not 1 <= hour <= _NOON:
            raise ValueError
        hour = hour % _NOON + (_NOON if (parts.get("p") or "am").lower() == "pm" else 0)
    micro = (parts.get("f") or "").ljust(6, "0")
    return time(hour, int(parts.get("M") or 0), int(parts.get("S") or 0), int(micro))


def _offset(written: str) -> timezone:
    if written == "Z":
        return UTC
    digits = written[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if minutes >= 60:  # noqa: PLR2004
        raise ValueError
    span = timedelta(hours=hours, minutes=minutes)
    return timezone(-span if written[0] == "-" else span)
