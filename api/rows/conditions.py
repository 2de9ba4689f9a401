"""Filters `column=operator.value` of the rows of a dataset, with the operators of PostgREST.

A filter may be negated, as in `not.eq.5`. The operators are those of the type of the column.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from sqlalchemy import ARRAY, ColumnElement, Numeric, bindparam, cast, false, func, not_, true
from sqlalchemy.dialects.postgresql import REAL, UUID
from sqlalchemy.types import NullType

from api.rows.values import WrongValue, parse
from etl.model.types import Operator

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from api.rows.columns import Column
    from api.rows.shapes import Shape

MAX_VALUES = 1_000  # of one `in`

_NOT = "not."
_NULL, _NOT_NULL = "null", "not_null"
_SYMBOLS = {
    Operator.EQ: "=",
    Operator.NEQ: "<>",
    Operator.GT: ">",
    Operator.GTE: ">=",
    Operator.LT: "<",
    Operator.LTE: "<=",
    Operator.LIKE: "LIKE",
}
# Types of which the driver's literals do not compare exactly, or not in arrays.
_CASTS: dict[str, Any] = {"real": REAL(), "uuid": UUID(), "numeric": Numeric()}
_TRUTHS = {"true": true(), "false": false()}
_ITEM = re.compile(r'(?:"((?:[^"\\]|\\.)*)"|([^",]*))(?:,|\Z)', re.DOTALL)
_NAME = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_FORM = "write {column}=OPERATOR.VALUE, such as {column}={example}"


class WrongFilter(ValueError):
    """A filter that cannot be understood; the message follows the name of the parameter."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One parsed filter. `value` is not part of the statement, and never becomes SQL text."""

    column: str
    operator: Operator
    is_negated: bool = False
    constant: str | None = None  # of `is`
    value: Any = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ColumnFilters:
    """Filters of columns, all of which must hold."""

    conditions: tuple[Condition, ...] = ()

    @property
    def template(self) -> ColumnFilters:
        """The filters with one statement; equal templates have the same."""
        return self

    def with_condition(self, one: Condition) -> ColumnFilters:
        """These filters and one more."""
        return ColumnFilters((*self.conditions, one))

    def depends_on_age(self, shape: Shape) -> bool:
        """Whether the result depends on the date."""
        return any(shape.columns[one.column].is_age for one in self.conditions)

    def where(self, shape: Shape, today: date) -> list[ColumnElement[bool]]:
        """The conditions in SQL."""
        return [
            _condition(one, shape.columns[one.column], f"filter_{number}", today)
            for number, one in enumerate(self.conditions)
        ]

    def values(self, today: date) -> dict[str, object]:
        """The values of the named parameters."""
        named: dict[str, object] = {"year": today.year, "month": today.month, "day": today.day}
        for number, one in enumerate(self.conditions):
            if one.operator is not Operator.IS:
                named[f"filter_{number}"] = one.value
        return named

    @property
    def cache_key(self) -> tuple[object, ...]:
        """What the filters are, for the ETag."""
        return tuple(
            (one.column, one.operator, one.is_negated, one.constant, one.value)
            for one in self.conditions
        )


# -- parsing


def column_name(parameter: str) -> str:
    """The column that a parameter names; quotes allow any name."""
    found = _NAME.fullmatch(parameter)
    return parameter if found is None else _ESCAPE.sub(r"\1", found[1])


def condition(shape: Shape, parameter: str, text: str) -> Condition:
    """The filter of one parameter.

    Raises:  WrongFilter.
    """
    name = column_name(parameter)
    column = shape.columns.get(name)
    if column is None:
        raise WrongFilter(unknown_column(name, shape.columns))
    rest = text.removeprefix(_NOT)
    word, dot, value = rest.partition(".")
    allowed = column.type.traits.operators
    if not dot or word not in list(Operator):
        raise WrongFilter(_unknown_operator(parameter, column, text, word if dot else ""))
    operator = Operator(word)
    if operator not in allowed:
        names = ", ".join(one for one in Operator if one in allowed)
        raise WrongFilter(f"is {column.type}, which has no operator {operator}; use {names}")
    is_negated = rest is not text and text.startswith(_NOT)
    if operator is Operator.IS:
        return Condition(name, operator, is_negated, constant=_constant(value, column))
    try:
        return Condition(name, operator, is_negated, value=_parsed(operator, value, column))
    except WrongValue as error:
        raise WrongFilter(str(error)) from error


def unknown_column(name: str, known: Iterable[str]) -> str:
    """The message about an unknown column, with those that may be meant."""
    names = list(known)
    by_folded = {one.casefold(): one for one in names}
    close = get_close_matches(name.casefold(), by_folded, n=3)
    if close:
        return f"is not a column; did you mean {', '.join(by_folded[one] for one in close)}?"
    return f"is not a column; the columns are {', '.join(names)}"


def items(text: str) -> list[str]:
    """The items of a comma-separated list; an item in double quotes may contain anything.

    Raises:  ValueError when a quote is not closed, or is within an item.
    """
    found, place = [], 0
    while True:
        match = _ITEM.match(text, place)
        if match is None:
            raise ValueError(text)
        found.append(match[2] if match[1] is None else _ESCAPE.sub(r"\1", match[1]))
        if not match[0].endswith(","):
            return found
        place = match.end()


def _unknown_operator(parameter: str, column: Column, text: str, word: str) -> str:
    form = _FORM.format(column=parameter, example=_example(column, text, is_bare=not word))
    if not word:
        return f"has no operator: {form}"
    close = get_close_matches(word.lower(), list(Operator), n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    allowed = ", ".join(one for one in Operator if one in column.type.traits.operators)
    return f"has no operator {word[:20]!r}{meant} The operators are {allowed}: {form}"


def _example(column: Column, text: str, *, is_bare: bool) -> str:
    if Operator.EQ not in column.type.traits.operators:
        return "is.null"
    return f"eq.{text[:50]}" if is_bare and text else "eq.VALUE"


def _constant(value: str, column: Column) -> str:
    known = [_NULL, _NOT_NULL]
    if column.type.name == "boolean":
        known += _TRUTHS
    if value not in known:
        raise WrongFilter(f"has no {value[:20]!r} after is; use is.{', is.'.join(known)}")
    return value


def _parsed(operator: Operator, text: str, column: Column) -> object:
    if operator is Operator.LIKE:
        return _pattern(text)
    if operator is not Operator.IN:
        return parse(text, column.type)
    if not (text.startswith("(") and text.endswith(")")):
        raise WrongFilter("needs its values in parentheses, such as in.(a,b)")
    inner = text[1:-1]
    try:
        found = items(inner) if inner else []
    except ValueError as error:
        raise WrongFilter(
            'has values that cannot be told apart; write those with , ( ) or " in double quotes,'
            ' such as in.("a,b",c)'
        ) from error
    if len(found) > MAX_VALUES:
        raise WrongFilter(f"has more than {MAX_VALUES:,} values")
    return [parse(one, column.type) for one in found]


def _pattern(text: str) -> str:
    if "\0" in text:
        raise WrongFilter("must not contain a NUL character")
    if (len(text) - len(text.rstrip("\\"))) % 2:
        raise WrongFilter(r"ends with a backslash that escapes nothing; write \\ for a backslash")
    return text.replace("*", "%")


# -- SQL


def _condition(one: Condition, column: Column, parameter: str, today: date) -> ColumnElement[bool]:
    found = _plain(one, column, parameter, column.value(today))
    return not_(found) if one.is_negated else found


def _plain(
    one: Condition, column: Column, parameter: str, left: ColumnElement[Any]
) -> ColumnElement[bool]:
    if one.operator is Operator.IS:
        return _is(left, one.constant)
    if one.operator is Operator.IN:
        values: ColumnElement[Any] = bindparam(parameter, one.value, type_=NullType())
        element = _CASTS.get(column.type.name)
        return left.bool_op("=")(func.any(cast(values, ARRAY(element)) if element else values))
    right: ColumnElement[Any] = bindparam(parameter, one.value)
    typed = cast(right, REAL) if column.type.name == "real" else right
    return left.bool_op(_SYMBOLS[one.operator])(typed)


def _is(left: ColumnElement[Any], constant: str | None) -> ColumnElement[bool]:
    if constant == _NULL:
        return left.is_(None)
    if constant == _NOT_NULL:
        return left.is_not(None)
    return left.is_(_TRUTHS[str(constant)])
