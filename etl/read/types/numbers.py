"""Numbers: exact for numeric, nearest for double precision and real.

numeric(p,s) is read by Arrow as a decimal. Other numerics are text, in the canonical form. No
digit is ever rounded away, but zeros at the end of the decimals may exceed the scale.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.model.dataset import FieldType
from etl.model.types import sql_type
from etl.model.values import ProblemCode
from etl.read.types.column import (
    TEXT,
    Fault,
    Parsed,
    all_true,
    mask_of,
    matches,
    sign_of,
    text_bytes,
)
from etl.read.types.number_hints import not_a_number, out_of_range, too_many_decimals
from etl.read.types.numerals import (
    MAX_DECIMALS,
    MAX_INTEGER_DIGITS,
    SPECIAL,
    as_decimal,
    canonical,
    fits_numeric,
    has_letters,
    is_plain,
    number_pattern,
    sizes,
    to_canonical,
    to_plain,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from datetime import date

    from numpy.typing import NDArray

    from etl.model.dataset import Field
    from etl.model.types import SqlType

_FLOATS = {"real": pa.float32(), "double precision": pa.float64()}
# Arrow's decimals, and how many digits they hold
_DECIMALS = ((38, pa.decimal128), (76, pa.decimal256))
_EXACT_LENGTH = 15  # up to this length, different numbers are different floats


def parse_numbers(texts: pa.Array, field: Field, _: date) -> Parsed:
    """Parse the texts to decimals, floats or canonical text, as the column type requires."""
    sql = sql_type(field.type, field.sql)
    if sql.name in _FLOATS:
        return _parse_floats(texts, field, sql)
    return parse_numeric(
        texts, field, number_pattern(field), ProblemCode.NOT_A_NUMBER, not_a_number(field)
    )


def parse_numeric(
    texts: pa.Array, field: Field, pattern: str, code: ProblemCode, note: Callable[[str], str]
) -> Parsed:
    """Parse texts of a pattern exactly; `code` and `note` are for those that do not match."""
    sql = sql_type(field.type, field.sql)
    if is_plain(field) and field.type is FieldType.NUMBER:
        values = _as_decimals(texts, sql)  # it accepts the same texts as the pattern
        if values is not None:
            return parsed_decimals(values, all_true(len(texts)), [])
    is_number = matches(texts, pattern)
    numbers = to_plain(_only(texts, is_number), field)
    faults = [] if is_number.all() else [Fault(~is_number, code, note)]
    values = _as_decimals(numbers, sql)
    if values is not None:
        return parsed_decimals(values, is_number, faults)
    numbers = to_canonical(numbers)
    has_decimals, is_large = _oversized(numbers, sql)
    if has_decimals.any():
        faults.append(
            Fault(has_decimals, ProblemCode.TOO_MANY_DECIMALS, too_many_decimals(field, sql))
        )
    if is_large.any():
        faults.append(Fault(is_large, ProblemCode.NUMBER_OUT_OF_RANGE, out_of_range(field, sql)))
    is_valid = is_number & ~has_decimals & ~is_large
    numbers = _only(numbers, is_valid)
    values = _as_decimals(numbers, sql)
    if values is not None:
        return parsed_decimals(values, is_valid, faults)
    return Parsed(numbers, is_valid, faults, compare=lambda bound: _compare_texts(numbers, bound))


def _only(texts: pa.Array, is_number: NDArray[np.bool_]) -> pa.Array:
    return texts if is_number.all() else pc.if_else(pa.array(is_number), texts, "0")


def _as_decimals(numbers: pa.Array, sql: SqlType) -> pa.Array | None:
    """Plain numbers as Arrow's decimals, None unless all of them fit the type exactly."""
    if sql.precision is None or sql.scale is None:
        return None
    for digits, decimal in _DECIMALS:
        if sql.precision <= digits:
            values = _cast_exactly(numbers, decimal(sql.precision, sql.scale), digits)
            if values is not None:
                return values
    return None


def _cast_exactly(texts: pa.Array, type_: pa.DataType, digits: int) -> pa.Array | None:
    """The texts as decimals of a type with this number of digits; None unless all are exact.

    Arrow silently takes long texts, and small numbers with exponents, for 0 or for others.
    """
    longest = np.diff(text_bytes(texts)[0]).max(initial=0)
    if longest + type_.scale > digits or has_letters(texts):
        return None
    try:
        return texts.cast(type_)
    except pa.ArrowInvalid:
        return None


def parsed_decimals(values: pa.Array, is_valid: NDArray[np.bool_], faults: list[Fault]) -> Parsed:
    """Decimals of the column type as a parsed column."""
    return Parsed(values, is_valid, faults, compare=lambda bound: _compare_decimals(values, bound))


def _compare_decimals(values: pa.Array, bound: Hashable) -> NDArray[np.int8]:
    """The signs of value - bound, for a bound with any number of digits."""
    text = pa.array([canonical(str(bound))], TEXT)
    exact = _cast_exactly(text, values.type, _digits_of(values.type))
    if exact is not None:
        scalar = exact[0]
        is_less, is_equal = (mask_of(is_so(values, scalar)) for is_so in (pc.less, pc.equal))
        signs: NDArray[np.int8] = np.where(is_less, -1, np.where(is_equal, 0, 1)).astype(np.int8)
        return signs
    return _compare_texts(values.cast(TEXT), bound)


def _digits_of(type_: pa.DataType) -> int:
    return _DECIMALS[0 if pa.types.is_decimal128(type_) else 1][0]


def _compare_texts(numbers: pa.Array, bound: Hashable) -> NDArray[np.int8]:
    """The signs of value - bound.

    Conversion to a float keeps the order, so only numbers with the float of the bound need an
    exact comparison, unless both are so short that different numbers have different floats.
    """
    exact = Decimal(str(bound))
    signs = sign_of(numbers.cast(pa.float64()).to_numpy(), float(exact))
    is_doubtful = signs == 0
    if len(canonical(exact)) <= _EXACT_LENGTH:
        is_doubtful &= (pc.binary_length(numbers).to_numpy() > _EXACT_LENGTH) | mask_of(
            pc.match_substring(numbers, "e")
        )
    for row in np.flatnonzero(is_doubtful):
        value = as_decimal(numbers[row].as_py())
        signs[row] = (value > exact) - (value < exact)
    return signs


def _oversized(numbers: pa.Array, sql: SqlType) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which canonical numbers have too many decimals, and which too many digits before them."""
    if sql.precision is None or sql.scale is None:
        if fits_numeric(numbers):
            return np.zeros(len(numbers), np.bool_), np.zeros(len(numbers), np.bool_)
        whole, scale = MAX_INTEGER_DIGITS, MAX_DECIMALS
    else:
        whole, scale = sql.precision - sql.scale, sql.scale
    before, after = sizes(numbers)
    return after > scale, before > whole


def _parse_floats(texts: pa.Array, field: Field, sql: SqlType) -> Parsed:
    faults = []
    numbers, is_number = texts, all_true(len(texts))
    floats = _finite_floats(texts, sql) if is_plain(field) else None
    if floats is None:
        is_number = matches(texts, f"{number_pattern(field)}|{SPECIAL}")
        numbers = to_plain(_only(texts, is_number), field)
        floats = numbers.cast(_FLOATS[sql.name]).to_numpy()
    if not is_number.all():
        faults.append(Fault(~is_number, ProblemCode.NOT_A_NUMBER, not_a_number(field)))
    is_lost = np.isinf(floats)
    if is_lost.any():
        is_lost &= ~matches(numbers, SPECIAL)
    is_zero = floats == 0
    if is_zero.any():
        # PostgreSQL refuses numbers that are too small to differ from 0.
        is_lost |= is_zero & mask_of(pc.match_substring_regex(numbers, r"\A[+-]?[0.]*[1-9]"))
    if is_lost.any():
        faults.append(Fault(is_lost, ProblemCode.NUMBER_OUT_OF_RANGE, out_of_range(field, sql)))
    return parsed_floats(floats, is_number & ~is_lost, faults)


def parsed_floats(
    floats: NDArray[np.floating], is_valid: NDArray[np.bool_], faults: list[Fault]
) -> Parsed:
    """Floats of the column type as a parsed column."""
    floats = floats + floats.dtype.type(0)  # -0 to 0: equal numbers have equal texts
    return Parsed(
        pa.array(floats), is_valid, faults, compare=lambda bound: _compare_floats(floats, bound)
    )


def _compare_floats(floats: NDArray[np.floating], bound: Hashable) -> NDArray[np.int8]:
    """The signs of value - bound, for a bound rounded as the values of the column are."""
    with np.errstate(over="ignore"):
        nearest = floats.dtype.type(str(bound))
    if np.isinf(nearest):  # a finite bound beyond all floats but the infinite ones
        beyond = floats > 0 if nearest > 0 else floats < 0
        signs: NDArray[np.int8] = np.where(np.isinf(floats) & beyond, 1, -1).astype(np.int8)
        return np.where(np.isnan(floats), 1, signs if nearest > 0 else -signs)
    return sign_of(floats, nearest)


def _finite_floats(texts: pa.Array, sql: SqlType) -> NDArray[np.floating] | None:
    """The numbers if all texts are finite."""
    try:
        floats: NDArray[np.floating] = texts.cast(_FLOATS[sql.name]).to_numpy()
    except pa.ArrowInvalid:
        return None
    return floats if np.isfinite(floats).all() else None
