"""Guess numbers and booleans: separators of digits, words for true and false, and what a number is.

Each function takes different texts that are not blank, and returns None if they are not its type.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from etl.model.dataset import Field, FieldType
from etl.read.describe.candidate import Context, Guess, accepts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PAIRS = (
    *(("true", "false"), ("yes", "no"), ("y", "n"), ("t", "f"), ("on", "off"), ("ja", "nein")),
    *(("wahr", "falsch"), ("oui", "non"), ("si", "no"), ("sí", "no"), ("vrai", "faux")),
)
_FLAG_WORDS = (
    *("is_", "has_", "is ", "has ", "flag", "active", "aktiv", "enabled", "deleted", "valid"),
    *("geloescht", "gelöscht", "paid", "bezahlt", "confirmed", "subscribed", "_yn"),
)
_TIME_WORDS = (
    *("time", "date", "epoch", "stamp", "_at", "created", "updated", "modified", "zeit", "datum"),
    *("_ts", "ts_", "birthts"),
)
_TIME_NAMES = frozenset({"at", "ts", "when", "t"})
_YEAR_WORDS = ("year", "jahr", "yr", "année", "anno")
_SPACES = "\u00a0\u202f "
_PLAIN = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_LIKE_NUMBER = re.compile(r"[+-]?[0-9.,][0-9.,'\u2019\u00a0\u202f _]*(?:[eE][+-]?[0-9]+)?")
_WHOLE_FLOAT = re.compile(r"[+-]?[0-9]+(?:\.0+)?")
_LEADING_ZERO = re.compile(r"[+-]?0[0-9]+")
_DIGITS = re.compile(r"[+-]?[0-9]+")
_EPOCH_SECONDS = (946_684_800, 2_051_222_400)  # from 2000 to 2034
_MOST_FIXED = 18  # digits
_SCALES = (2, 6)  # the least and the greatest number of decimals that is declared
_MOST_DECIMALS = 15
_THREE = 3


def is_whole(value: str) -> bool:
    """Whether the text is a whole number without decimals."""
    return _DIGITS.fullmatch(value) is not None


def is_like_number(value: str) -> bool:
    """Whether the text has only digits and what may separate them."""
    return _LIKE_NUMBER.fullmatch(value) is not None


def boolean(values: Sequence[str], context: Context) -> Guess | None:
    """Words for true and false; 0 and 1 only if the header is that of a flag."""
    lowered = {value.casefold() for value in values}
    for true, false in _PAIRS:
        if lowered <= {true, false}:
            return Guess(_boolean(_spelled(true, values), _spelled(false, values)))
    if lowered == {"0", "1"} and context.names(*_FLAG_WORDS):
        note = "only 0 and 1 in the sample; if it counts something, use integer"
        return Guess(Field(name="", type=FieldType.BOOLEAN), note)
    return None


def _boolean(trues: tuple[str, ...], falses: tuple[str, ...]) -> Field:
    plain = Field(name="", type=FieldType.BOOLEAN)
    if set(trues) <= set(plain.true_values) and set(falses) <= set(plain.false_values):
        return plain
    return Field(name="", type=FieldType.BOOLEAN, true_values=trues, false_values=falses)


def _spelled(word: str, values: Sequence[str]) -> tuple[str, ...]:
    """The word as the file spells it, and in the same way for the other one of its pair."""
    forms: tuple[Callable[[str], str], ...] = (str.lower, str.capitalize, str.upper)
    used = [form for form in forms if any(form(value) == value for value in values)]
    found = [form(word) for form in used or [str.lower]]
    found += sorted(value for value in values if value.casefold() == word)
    return tuple(dict.fromkeys(found))


def identifier(values: Sequence[str]) -> Guess | None:
    """Digits that are not a number: with leading zeros, or too many of them."""
    if not all(map(_DIGITS.fullmatch, values)):
        return None
    if any(map(_LEADING_ZERO.fullmatch, values)):
        return Guess(Field(name=""), "digits with leading zeros, which a number would lose")
    if any(len(value.lstrip("+-")) > _MOST_FIXED for value in values):
        return Guess(Field(name=""), "more digits than a bigint has")
    return None


def integer(values: Sequence[str], context: Context) -> Guess | None:
    """Whole numbers, also years and times since 1970."""
    field = Field(name="", type=FieldType.INTEGER)
    if not all(map(_DIGITS.fullmatch, values)) or not accepts(field, values):
        return None
    year = Field(name="", type=FieldType.YEAR)
    if context.names(*_YEAR_WORDS) and accepts(year, values):
        return Guess(year)
    return _counted(field, {int(value) for value in values}, context)


def _counted(field: Field, numbers: set[int], context: Context) -> Guess:
    """Times since 1970 if the header says so, else whole numbers."""
    first, last = _EPOCH_SECONDS
    is_time = context.names(*_TIME_WORDS) or context.header in _TIME_NAMES
    if is_time and all(first <= number <= last for number in numbers):
        return Guess(field, "seconds since 1970; epoch-ms is for milliseconds")
    if all(first * 1_000 <= number <= last * 1_000 for number in numbers):
        if is_time:
            return Guess(Field(name="", type=FieldType.EPOCH_MS), "milliseconds since 1970")
        return Guess(field, "if these are milliseconds since 1970, use epoch-ms")
    return Guess(field, "only 0 and 1 in the sample: boolean?" if numbers == {0, 1} else "")


def number(values: Sequence[str], context: Context) -> Guess | None:
    """Numbers with decimals or separators of groups."""
    if not all(map(is_like_number, values)):
        return None
    if all(map(_PLAIN.fullmatch, values)):
        guess = _plain_number(values, context)
        return None if guess is None else _with_scale(guess, values)
    for decimal, group in _separators(values):
        guess = _grouped(values, decimal, group, context)
        if guess is not None:
            return _with_scale(guess, values)
    return None


def _with_scale(guess: Guess, values: Sequence[str]) -> Guess:
    """The guess with the decimals of the sample: as Parquet, a numeric without them is a text."""
    field = guess.field
    if field.type is not FieldType.NUMBER or field.sql is not None:
        return guess
    least, greatest = _SCALES
    decimals = max(len(value.partition(field.decimal_char)[2]) for value in values)
    scaled = replace(field, sql=f"numeric(18,{max(decimals, least)})")
    is_exact = decimals <= greatest and accepts(scaled, values)
    return replace(guess, field=scaled) if is_exact else guess


def _plain_number(values: Sequence[str], context: Context) -> Guess | None:
    if all(map(_WHOLE_FLOAT.fullmatch, values)) and all(
        len(value.partition(".")[0]) <= _MOST_FIXED for value in values
    ):
        note = "whole numbers written with decimals, as pandas does if cells are blank"
        for field in (
            Field(name="", type=FieldType.INTEGER),
            Field(name="", type=FieldType.NUMBER, sql="numeric(18,0)"),
        ):
            if accepts(field, values):
                return Guess(field, note)
        return None
    if _is_ambiguous(values, "."):
        if context.has_decimal_commas:
            return _grouped(values, ",", ".", context)
        field, note = _number(), 'always three decimals: if "." separates thousands, '
        return Guess(field, note + 'use integer with groupChar = "."')
    has_many = any(len(value.partition(".")[2]) > _MOST_DECIMALS for value in values)
    if has_many or any("e" in value.lower() for value in values):
        field = Field(name="", type=FieldType.NUMBER, sql="double precision")
        return Guess(field) if accepts(field, values) else None
    return Guess(_number()) if accepts(_number(), values) else None


def _is_ambiguous(values: Sequence[str], separator: str) -> bool:
    """Whether the separator may stand before decimals as well as between groups."""
    pattern = re.compile(rf"[+-]?[1-9][0-9]{{0,2}}{re.escape(separator)}[0-9]{{3}}")
    parted = [value for value in values if separator in value]
    return bool(parted) and all(map(pattern.fullmatch, parted))


def _separators(values: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs of separators, for decimals and groups, that the texts may have."""
    seen = {character for value in values for character in value if not character.isdigit()}
    groups = [one for one in (".", ",", "'", "\u2019", *_SPACES, "_") if one in seen]
    found = [(decimal, "") for decimal in (",",) if decimal in seen]
    for group in groups:
        found += [(decimal, group) for decimal in (".", ",") if decimal != group]
    return found


def _grouped(values: Sequence[str], decimal: str, group: str, context: Context) -> Guess | None:
    if group and any(value.startswith(("+", "0", "-0")) and group in value for value in values):
        return None  # more like a telephone number
    field = Field(name="", type=FieldType.NUMBER, decimal_char=decimal, group_char=group)
    if not accepts(field, values):
        return None
    if not group and _is_ambiguous(values, decimal) and not context.has_decimal_commas:
        whole = Field(name="", type=FieldType.INTEGER, group_char=decimal)
        if accepts(whole, values):
            note = f'if "{decimal}" separates decimals, use number with decimalChar = "{decimal}"'
            return Guess(whole, note)
    if group and not any(decimal in value for value in values):
        whole = Field(name="", type=FieldType.INTEGER, group_char=group)
        return Guess(whole) if accepts(whole, values) else Guess(field)
    return Guess(field)


def _number() -> Field:
    return Field(name="", type=FieldType.NUMBER)


def has_certain_decimal_commas(values: Sequence[str]) -> bool:
    """Whether the texts are numbers with commas that cannot separate groups."""
    if not any("," in value for value in values):
        return False
    guess = number(values, Context(has_decimal_commas=True))
    if guess is None or guess.field.decimal_char != ",":
        return False
    decimals = [value.partition(",")[2] for value in values if "," in value]
    return any(len(digits) != _THREE for digits in decimals)
