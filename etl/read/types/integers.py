"""Whole numbers: smallint, integer and bigint as int64; numeric as text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.model.types import sql_type
from etl.model.values import ProblemCode
from etl.read.types.column import Fault, Parsed, all_true, matches, sign_of, text_bytes
from etl.read.types.numbers import parse_numeric
from etl.read.types.numerals import integer_pattern, to_plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from numpy.typing import NDArray

    from etl.model.dataset import Field

_LIMITS = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
_SAFE_DIGITS = 18  # always fit 64 bits
_LONGEST = 19
_DECIMAL = re.compile(r"[+-]?[0-9]*[.,][0-9]*")
_ZERO_DECIMAL = r"\.0\z"  # that an integer may have at its end
_ZERO_DECIMALS = re.compile(r"[+-]?[0-9]+[.,]0+")
_EXPONENT = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?[eE][+-]?[0-9]+")
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:([.,' _\u00a0\u202f\u2019])[0-9]{3})(?:\1[0-9]{3})*")
_HEXADECIMAL = re.compile("0[xX][0-9a-fA-F]+")


def parse_integers(texts: pa.Array, field: Field, _: date) -> Parsed:
    """Parse the texts; a sign, leading zeros and `.0` are accepted, other decimals are not."""
    sql = sql_type(field.type, field.sql)
    if sql.name == "numeric":
        return parse_numeric(
            texts, field, integer_pattern(field), ProblemCode.NOT_AN_INTEGER, integer_note(field)
        )
    numbers = None if field.group_char else _all_integers(texts)
    if numbers is not None:
        is_integer = fits = all_true(len(texts))
    else:
        is_integer = matches(texts, integer_pattern(field))
        numbers, fits = _integers(texts, is_integer, field)
    faults = []
    if not is_integer.all():
        faults.append(Fault(~is_integer, ProblemCode.NOT_AN_INTEGER, integer_note(field)))
    return bounded_integers(numbers, is_integer, fits, field, faults)


def bounded_integers(
    numbers: pa.Array,
    is_integer: NDArray[np.bool_],
    fits: NDArray[np.bool_],
    field: Field,
    faults: list[Fault],
) -> Parsed:
    """The integers within the range of the column type; `fits` are those that fit 64 bits."""
    sql = sql_type(field.type, field.sql)
    limit = _LIMITS[sql.name]
    values = numbers.to_numpy()
    fits = fits & (values >= -limit) & (values <= limit - 1)
    if not fits[is_integer].all():
        note = (
            f"{field.name} must be between {-limit} and {limit - 1}, the range of its column "
            f"type {sql}. Correct the number, or declare a wider type in `sql`."
        )
        faults.append(Fault(is_integer & ~fits, ProblemCode.NUMBER_OUT_OF_RANGE, lambda _: note))
    return Parsed(numbers, is_integer & fits, faults, compare=lambda bound: sign_of(values, bound))


def integer_note(field: Field) -> Callable[[str], str]:
    """The hint for a text that is not an integer."""

    def note(value: str) -> str:
        example = f"1{field.group_char}234" if field.group_char else "1234"
        expected = f"Write {field.name} as a whole number, for example {example}."
        has_zeros = _ZERO_DECIMALS.fullmatch(value) is not None
        if grouped := _GROUPED.fullmatch(value):
            rest = "; otherwise remove the decimals" if has_zeros else ""
            return (
                f'{expected} If "{grouped[1]}" separates thousands, declare it as groupChar{rest}.'
            )
        if has_zeros:
            return f"{expected} Remove the decimals of this value, or declare a number."
        if _DECIMAL.fullmatch(value) and len(value) > 1:
            return f"{expected} This value is a decimal number; declare a number to keep it."
        if _EXPONENT.fullmatch(value):
            return f"{expected} This value was shortened by a spreadsheet."
        if _HEXADECIMAL.fullmatch(value):
            return f"{expected} This value is hexadecimal."
        return expected

    return note


def _all_integers(texts: pa.Array) -> pa.Array | None:
    """The numbers if all texts are integers of 64 bits without `+`."""
    _, data = text_bytes(texts)
    if data.size and data.max() > ord("9"):
        return None  # Arrow reads hexadecimal numbers
    numbers = _as_int64(texts)
    if numbers is None and ord(".") in data:
        numbers = _as_int64(pc.replace_substring_regex(texts, _ZERO_DECIMAL, ""))
    return numbers


def _as_int64(texts: pa.Array) -> pa.Array | None:
    try:
        return texts.cast(pa.int64())
    except pa.ArrowInvalid:
        return None


def _integers(
    texts: pa.Array, is_integer: NDArray[np.bool_], field: Field
) -> tuple[pa.Array, NDArray[np.bool_]]:
    """The integers (0 for the others), and which of them fit 64 bits."""
    digits = to_plain(pc.if_else(pa.array(is_integer), texts, "0"), field)
    digits = pc.replace_substring_regex(digits, _ZERO_DECIMAL, "")
    digits = pc.replace_substring_regex(digits, r"\A(?:\+|(-))?0*([0-9])", r"\1\2")
    lengths = pc.binary_length(digits).to_numpy()
    fits = is_integer & (lengths <= _SAFE_DIGITS)
    for row in np.flatnonzero(is_integer & (lengths > _SAFE_DIGITS)):
        text = digits[row].as_py()
        fits[row] = len(text) <= _LONGEST + 1 and -(2**63) <= int(text) < 2**63
    return pc.if_else(pa.array(fits), digits, "0").cast(pa.int64()), fits
