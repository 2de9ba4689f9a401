"""Hints for numbers that are not valid."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from etl.read.types.numerals import MAX_DECIMALS, MAX_INTEGER_DIGITS

if TYPE_CHECKING:
    from collections.abc import Callable

    from etl.model.dataset import Field
    from etl.model.types import SqlType

_SEPARATORS = ".,' _\u00a0\u202f\u2019"
_GROUPS = re.compile(
    rf"[+-]?[0-9]{{1,3}}(?:([{_SEPARATORS}])[0-9]{{3}})(?:\1[0-9]{{3}})*(?:([.,])[0-9]*)?"
)
_SIMPLE = re.compile(r"[+-]?[0-9]*([.,])[0-9]*")
_SPECIAL = re.compile("nan|[+-]?inf|[+-]?infinity", re.IGNORECASE)
_UNIT = re.compile(
    r"(?P<before>[^0-9+.,-]*)\s*[+-]?[0-9][0-9.,' ]*\s*(?P<after>[^0-9.,']*)", re.ASCII
)
_LONGEST_SHOWN = 12
_LONGEST_WITH_UNIT = 60


def not_a_number(field: Field) -> Callable[[str], str]:
    """The hint for a text that is not a number."""
    point, group = field.decimal_char, field.group_char
    expected = f"Write {field.name} as a number, for example 1{group}234{point}5."

    def note(value: str) -> str:
        if _SPECIAL.fullmatch(value):
            return f"{expected} NaN and infinity need the column type double precision or real."
        if group and group in value and not _GROUPS.fullmatch(value):
            return f'{expected} "{group}" must have exactly three digits after it.'
        return expected + (_separators(value, point) or _unit(value))

    return note


def too_many_decimals(field: Field, sql: SqlType) -> Callable[[str], str]:
    """The hint for a number that would have to be rounded."""
    scale = MAX_DECIMALS if sql.scale is None else sql.scale
    note = (
        f"{field.name} has room for {scale:,} decimals in its column type {sql}, and numbers are "
        "never rounded. Round the number, or declare a larger scale in `sql`."
    )
    return lambda _: note


def out_of_range(field: Field, sql: SqlType) -> Callable[[str], str]:
    """The hint for a number beyond the column type."""
    if sql.name != "numeric":
        room = "floats of this size; numbers must not become infinite or 0"
    elif sql.precision is None or sql.scale is None:
        room = f"{MAX_INTEGER_DIGITS:,} digits before the decimal point"
    else:
        room = f"{sql.precision - sql.scale} digits before the decimal point"
    note = (
        f"{field.name} is out of range: its column type {sql} has room for {room}. "
        "Correct the number, or declare a wider type in `sql`."
    )
    return lambda _: note


def _separators(value: str, point: str) -> str:
    """Name the separators that the value seems to use."""
    found = _SIMPLE.fullmatch(value)
    if found and any(one.isdigit() for one in value) and found[1] != point:
        return f' If "{found[1]}" is the decimal separator, declare it as decimalChar.'
    grouped = _GROUPS.fullmatch(value)
    if grouped and grouped[2] not in {None, point}:
        return (
            f' If "{grouped[1]}" separates thousands and "{grouped[2]}" decimals, declare them as '
            "groupChar and decimalChar."
        )
    if grouped:
        return f' If "{grouped[1]}" separates thousands, declare it as groupChar.'
    return ""


def _unit(value: str) -> str:
    found = _UNIT.fullmatch(value) if len(value) <= _LONGEST_WITH_UNIT else None
    if found is None:
        return ""
    unit = (found["before"] + found["after"]).strip()
    if not unit or len(unit) > _LONGEST_SHOWN or not unit.isprintable():
        return ""
    return f' Remove "{unit}": units and currencies do not belong in a number.'
