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
    rf"[+-]?[0-9]{{1,3}}(?:([{_SEPARATORS}])[0-9]{{3}})(?:\1[0-9]{{3}})*(?:(?!\1)([.,])[0-9]*)?"
)
_SIMPLE = re.compile(r"[+-]?[0-9]*([.,])[0-9]*")
_SPECIAL = re.compile("nan|[+-]?inf|[+-]?infinity", re.IGNORECASE)
_EXPONENT = re.compile("[eE][+-]?[0-9]+$")
_NEGATIVE = {("", "-"), ("(", ")")}
_LONGEST_SHOWN = 12
_LONGEST_WITH_UNIT = 60


def not_a_number(field: Field) -> Callable[[str], str]:
    """The hint for a text that is not a number."""
    point, group = field.decimal_char, field.group_char
    expected = f"Write {field.name} as a number, for example 1{group}234{point}5."
    of_numbers = f"0-9{re.escape(_SEPARATORS + point + group)}"
    with_unit = re.compile(
        f"(?P<before>[^0-9+-]*?)(?P<number>[+-]?{re.escape(point)}?[0-9][{of_numbers}]*)(?P<after>[^0-9]*)"
    )
    numeric = re.compile(f"[+-]?[{of_numbers}]*")

    def note(value: str) -> str:
        if _SPECIAL.fullmatch(value):
            return f"{expected} NaN and infinity need the column type double precision or real."
        found = with_unit.fullmatch(value) if len(value) <= _LONGEST_WITH_UNIT else None
        number = found["number"].strip() if found else _EXPONENT.sub("", value)
        remark = _separators(number, point, group) if numeric.fullmatch(number) else ""
        return expected + remark + (_unit(found) if found else "")

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


def _separators(number: str, point: str, group: str) -> str:
    """Name the separators that the number seems to use, or the rule that it breaks."""
    if not any(map(str.isdigit, number)):
        return ""
    grouped = _GROUPS.fullmatch(number)
    if grouped and grouped[2] not in {None, point}:
        return (
            f' If "{grouped[1]}" separates thousands and "{grouped[2]}" decimals, declare them as '
            "groupChar and decimalChar."
        )
    if grouped and grouped[1] != group:
        other = " and another character as decimalChar" if grouped[1] == point else ""
        return f' If "{grouped[1]}" separates thousands, declare it as groupChar{other}.'
    found = _SIMPLE.fullmatch(number)
    if found and found[1] not in {point, group}:
        return f' If "{found[1]}" is the decimal separator, declare it as decimalChar.'
    return _misplaced(number, point, group, is_grouped=grouped is not None)


def _misplaced(number: str, point: str, group: str, *, is_grouped: bool) -> str:
    """The rule of the field's separators that the number breaks."""
    if number.count(point) > 1:
        return f' "{point}" separates the decimals, so it occurs only once.'
    whole, _, decimals = number.partition(point)
    if group and group in decimals:
        return f' "{group}" separates thousands and cannot be among the decimals.'
    if group and group in whole and not is_grouped:
        return (
            f' "{group}" separates thousands: one to three digits come before the first one and '
            f'exactly three digits after each. Decimals follow "{point}".'
        )
    return ""


def _unit(found: re.Match[str]) -> str:
    """Name what is before and after the number."""
    before, after = found["before"].strip(), found["after"].strip()
    if (before, after) in _NEGATIVE and found["number"][-1].isdigit():
        return " Write a negative number with the sign before its digits."
    unit = before + after
    if not unit or len(unit) > _LONGEST_SHOWN or not unit.isprintable():
        return ""
    return f' Remove "{unit}": units and currencies do not belong in a number.'
