"""Columns of one field, and plain rules with which the column-wise checks are compared."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pyarrow as pa

from etl.model.dataset import Field
from etl.model.values import Severity
from etl.read.types import CheckedColumn, check_column

TODAY = date(2026, 3, 1)


def column(texts: list[str]) -> pa.ChunkedArray:
    """The texts in two chunks, the second one a slice."""
    half = len(texts) // 2
    second = pa.array(["x", *texts[half:], "y"], pa.large_string())
    chunks = [pa.array(texts[:half], pa.large_string()), second.slice(1, len(texts) - half)]
    return pa.chunked_array(chunks)


def check(texts: list[str], field: Field, missing: tuple[str, ...] = ("",)) -> CheckedColumn:
    return check_column(column(texts), field, missing, TODAY)


def judged(
    texts: list[str], field: Field, missing: tuple[str, ...] = ("",)
) -> list[tuple[object, frozenset[str]]]:
    """The value and the codes of each text."""
    checked = check(texts, field, missing)
    values = checked.values.to_pylist()
    assert len(values) == len(texts)
    codes: list[set[str]] = [set() for _ in texts]
    for fault in checked.faults:
        assert fault.rows.any()
        for row, is_faulty in enumerate(fault.rows.tolist()):
            if is_faulty:
                codes[row].add(fault.code.value)
                assert fault.note(texts[row])
                assert fault.severity is Severity.WARNING or values[row] is None
    return list(zip(values, map(frozenset, codes), strict=True))


class Refused(Exception):
    """A text that a plain rule refuses; its only argument is the code."""


def plain_integer(text: str, limit: int, group: str = "") -> int:
    whole = "[0-9]+"
    if group:
        whole = rf"(?:[0-9]{{1,3}}(?:{re.escape(group)}[0-9]{{3}})+|[0-9]+)"
    if group != ".":
        text = text[:-2] if re.search(r"[0-9]\.0\Z", text, re.ASCII) else text
    if re.fullmatch(f"[+-]?{whole}", text, re.ASCII) is None:
        raise Refused("not-an-integer")
    number = int(Decimal(text.replace(group, "") if group else text))  # int() reads 4,300 digits
    if not -limit <= number < limit:
        raise Refused("number-out-of-range")
    return number


def plain_number(
    text: str,
    whole: int,
    decimals: int,
    point: str = ".",
    group: str = "",
) -> Decimal:
    """An exact number with at most so many digits before and after the point."""
    digits = "[0-9]+"
    if group:
        digits = rf"(?:[0-9]{{1,3}}(?:{re.escape(group)}[0-9]{{3}})+|[0-9]+)"
    dot = re.escape(point)
    grammar = rf"[+-]?({digits}({dot}[0-9]*)?|{dot}[0-9]+)([eE][+-]?[0-9]+)?"
    if re.fullmatch(grammar, text, re.ASCII) is None:
        raise Refused("not-a-number")
    number = Decimal((text.replace(group, "") if group else text).replace(point, "."))
    if not number:
        return Decimal(0)
    _, figures, exponent = number.as_tuple()
    written = "".join(map(str, figures)).rstrip("0")
    assert isinstance(exponent, int)
    exponent += len(figures) - len(written)
    if -exponent > decimals:
        raise Refused("too-many-decimals")
    if number.adjusted() + 1 > whole:
        raise Refused("number-out-of-range")
    return number


_DATE = r"(\d{4})-(\d\d)-(\d\d)"
_TIME = r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6})0*)?)?"


def _exists(kind: type, code: str, *numbers: int) -> date | time | datetime:
    try:
        return kind(*numbers)
    except ValueError as error:
        raise Refused(code) from error


def _clock(groups: tuple[str | None, ...]) -> tuple[int, int, int, int]:
    hour, minute, second, fraction = groups
    return int(hour or 0), int(minute or 0), int(second or 0), int((fraction or "").ljust(6, "0"))


def plain_date(text: str) -> date:
    found = re.fullmatch(_DATE, text, re.ASCII)
    if found is None:
        raise Refused("not-a-date")
    made = _exists(date, "not-a-date", *map(int, found.groups()))
    assert isinstance(made, date)
    return made


def plain_time(text: str) -> time:
    found = re.fullmatch(_TIME, text, re.ASCII)
    if found is None:
        raise Refused("not-a-time")
    made = _exists(time, "not-a-time", *_clock(found.groups()))
    assert isinstance(made, time)
    return made


def plain_datetime(text: str, zone: str = "UTC") -> tuple[datetime, bool]:
    """The time in UTC without zone, and whether it occurs twice."""
    grammar = rf"{_DATE}(?:[T ]{_TIME}(Z|[+-]\d\d(?::?\d\d)?)?)?"
    found = re.fullmatch(grammar, text, re.ASCII)
    if found is None:
        raise Refused("not-a-datetime")
    day = [int(number) for number in found.groups()[:3]]
    local = _exists(datetime, "not-a-datetime", *day, *_clock(found.groups()[3:7]))
    assert isinstance(local, datetime)
    offset = found[8]
    if offset is None:
        return in_utc(local, zone)
    if offset == "Z":
        return local, False
    hours, minutes = int(offset[1:3]), int(offset[3:].removeprefix(":") or 0)
    if hours > 23 or minutes > 59:
        raise Refused("not-a-datetime")
    ahead = timedelta(hours=hours, minutes=minutes) * (1 if offset[0] == "+" else -1)
    try:
        return local - ahead, False
    except OverflowError as error:
        raise Refused("not-a-datetime") from error


def in_utc(local: datetime, zone: str) -> tuple[datetime, bool]:
    """A local time in UTC without zone, and whether it occurs twice."""
    if zone == "UTC":
        return local, False
    found = set()
    for fold in (0, 1):
        offset = local.replace(tzinfo=ZoneInfo(zone), fold=fold).utcoffset()
        assert offset is not None
        try:
            utc = local - offset
        except OverflowError as error:
            raise Refused("not-a-datetime") from error
        try:
            back = utc.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        except OverflowError:
            back = local  # at the ends of the calendar
        if back == local:
            found.add(utc)
    if not found:
        raise Refused("nonexistent-time")
    return min(found), len(found) > 1


def plain_json(text: str, kind: type) -> object:
    """The value of a document that jsonb stores without a change."""

    def members(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len(dict(pairs)) < len(pairs):
            raise Refused("not-json")
        return dict(pairs)

    def constant(_: str) -> None:
        raise Refused("not-json")

    try:
        value = json.loads(text, object_pairs_hook=members, parse_constant=constant)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Refused("not-json") from error
    if not isinstance(value, kind) or "\0" in "".join(_texts(value)):
        raise Refused("not-json")
    return value


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.items() for part in item for text in _texts(part)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []
