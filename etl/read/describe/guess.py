"""Guess the field of one column from its texts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from etl.model.dataset import Field, FieldType
from etl.read.describe import numbers, times
from etl.read.describe.candidate import Context, Guess, accepts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Texts that mean null wherever they occur, and those that do so among values of another type.
_NULLS = frozenset(
    {"null", "(null)", "<null>", "\\n", "n/a", "#n/a", "nan", "nat", "<na>", "#null!", "#div/0!"}
)
_PERHAPS_NULLS = frozenset(
    {"-", "--", "---", "\u2013", "\u2014", "na", "none", "nil", "?", ".", "..", "#value!", "#ref!"}
)
_MOST_ENUM = 12
_ENUM_SHARE = 20  # values per different value, at least
_LONGEST_ENUM = 40


def nulls_of(values: Iterable[str]) -> tuple[str, ...]:
    """Those of a column's different texts that certainly mean null."""
    return tuple(sorted(value for value in values if value.lower() in _NULLS))


def guess(values: Sequence[str], context: Context) -> tuple[Guess, tuple[str, ...]]:
    """The guess for different texts, none blank, and those of them that mean null."""
    if context.is_float and not all(map(numbers.is_whole, values)):
        return Guess(Field(name="", type=FieldType.NUMBER, sql="double precision")), ()
    nulls = nulls_of(values)
    perhaps = {value for value in values if value.lower() in _PERHAPS_NULLS}
    for missing in ({*nulls}, {*nulls, *perhaps}):
        present = [value for value in values if value not in missing]
        found = typed(present, context) if present else None
        if found is not None:
            return found, tuple(sorted(missing))
        if not perhaps:
            break
    return Guess(Field(name="")), nulls


def typed(values: Sequence[str], context: Context) -> Guess | None:
    """The guess if it is not plain text."""
    found = numbers.boolean(values, context) or _document(values) or numbers.identifier(values)
    if found is None and all(value.isdigit() for value in values):
        found = times.moment(values, context)
    return (
        found
        or numbers.integer(values, context)
        or numbers.number(values, context)
        or times.moment(values, context)
    )


def _document(values: Sequence[str]) -> Guess | None:
    for type_, first in ((FieldType.OBJECT, "{"), (FieldType.ARRAY, "[")):
        field = Field(name="", type=type_)
        if all(value.startswith(first) for value in values) and accepts(field, values):
            return Guess(field)
    return None


def enum_note(values: Sequence[str], count: int) -> str:
    """The constraint that may apply to a text column with `count` cells."""
    is_short = all(len(value) <= _LONGEST_ENUM for value in values)
    if not 1 < len(values) <= _MOST_ENUM or count < len(values) * _ENUM_SHARE or not is_short:
        return ""
    return f"enum = {json.dumps(sorted(values), ensure_ascii=False)}"
