"""The texts of numbers: their grammar, and one canonical text per value.

A number is digits with an optional sign, decimals and exponent, as in Table Schema. Separators of
groups are accepted only before exactly three digits, and only after one to three.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.read.types.column import TEXT, mask_of, matches, text_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from etl.model.dataset import Field

# What `numeric` holds before and after the decimal point.
MAX_INTEGER_DIGITS = 131_072
MAX_DECIMALS = 16_383

SPECIAL = "(?i:nan|[+-]?inf|[+-]?infinity)"

_SHORT = 16_000  # bytes of a text without exponent that certainly fits
_CANONICAL = r"-?(?:[1-9][0-9]*(?:\.[0-9]*[1-9])?|0\.[0-9]*[1-9])|0"
_EXPONENT = "[eE]"
_GROUP_DIGITS = 3


def integer_pattern(field: Field) -> str:
    """The grammar of an integer, with `.0` at its end unless points separate its groups.

    Pandas writes integers so if a cell of their column is blank. More zeros may be a group.
    """
    zero = "" if field.group_char == "." else r"(?:\.0)?"
    return f"[+-]?{_whole(field)}{zero}"


def number_pattern(field: Field) -> str:
    """The grammar of a number, with an exponent but without NaN and infinity."""
    point = re.escape(field.decimal_char)
    return f"[+-]?(?:{_whole(field)}(?:{point}[0-9]*)?|{point}[0-9]+)(?:{_EXPONENT}[+-]?[0-9]+)?"


def is_plain(field: Field) -> bool:
    """Whether the field's numbers have no group separator and a decimal point."""
    return not field.group_char and field.decimal_char == "."


def ungrouped(number: str, field: Field) -> str:
    """The text of a number that is not whole, such that no integer field reads it.

    7.125 is not 7125, even if points separate groups.
    """
    decimals = number.partition(".")[2]
    is_group = field.group_char == "." and decimals.isdigit() and len(decimals) == _GROUP_DIGITS
    return f"{number}0" if is_group else number


def to_plain(texts: pa.Array, field: Field) -> pa.Array:
    """Valid numbers without group separators and with a decimal point."""
    if field.group_char:
        texts = pc.replace_substring(texts, field.group_char, "")
    if field.decimal_char != ".":
        texts = pc.replace_substring(texts, field.decimal_char, ".")
    return texts


def to_canonical(texts: pa.Array) -> pa.Array:
    """Plain numbers without superfluous signs and zeros, so that equal numbers have equal texts.

    `numeric` keeps zeros at the end, and a row is not updated when only they change; the table
    would then depend on the history of the files.
    """
    is_canonical = matches(texts, _CANONICAL)
    if is_canonical.all():
        return texts
    if has_letters(texts):
        with_exponent = mask_of(pc.match_substring_regex(texts, _EXPONENT))
        changed = [canonical(text) for text in texts.filter(pa.array(with_exponent)).to_pylist()]
        texts = pc.replace_with_mask(texts, pa.array(with_exponent), pa.array(changed, TEXT))
        is_canonical = with_exponent | is_canonical
    others = texts.filter(pa.array(~is_canonical))
    return pc.replace_with_mask(texts, pa.array(~is_canonical), _without_zeros(others))


def canonical(number: Decimal | str) -> str:
    """The canonical text of one number; with an exponent if the zeros would be many.

    An exponent beyond any that `numeric` holds becomes one that is still beyond.
    """
    mantissa, _, exponent_text = str(number).lower().partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, decimals = mantissa.lstrip("+-").partition(".")
    exponent = _bounded(exponent_text) - len(decimals)
    digits = (whole + decimals).lstrip("0")
    if not digits:
        return "0"
    stripped = digits.rstrip("0")
    exponent += len(digits) - len(stripped)
    if exponent > MAX_DECIMALS or len(stripped) + exponent < -MAX_DECIMALS:
        return f"{sign}{stripped}e{exponent}"
    if exponent >= 0:
        return sign + stripped + "0" * exponent
    padded = stripped.rjust(1 - exponent, "0")
    return f"{sign}{padded[:exponent]}.{padded[exponent:]}"


def sizes(texts: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The digits before the decimal point (0 for 0.5), and the decimals, of canonical numbers."""
    parts = pc.extract_regex(
        texts, r"\A-?(?P<whole>[0-9]+)(?:\.(?P<decimals>[0-9]+))?(?P<exponent>e-?[0-9]+)?\z"
    )
    whole, decimals, exponents = (
        pc.struct_field(parts, name) for name in ("whole", "decimals", "exponent")
    )
    before: NDArray[np.int64] = pc.binary_length(whole).to_numpy().copy()
    after: NDArray[np.int64] = pc.binary_length(decimals).to_numpy().copy()
    before[mask_of(pc.equal(whole, "0"))] = 0
    for row in np.flatnonzero(mask_of(pc.not_equal(exponents, ""))):
        exponent = int(exponents[row].as_py()[1:])
        before[row] = max(before[row] + exponent, 0)
        after[row] = max(-exponent, 0)
    return before, after


def fits_numeric(texts: pa.Array) -> bool:
    """Whether canonical numbers certainly fit `numeric`, seen from their lengths."""
    if not len(texts):
        return True
    return pc.max(pc.binary_length(texts)).as_py() < _SHORT and not has_letters(texts)


def has_letters(texts: pa.Array) -> bool:
    """Whether numbers have anything but signs, digits and points, as exponents do."""
    _, data = text_bytes(texts)
    return bool(data.max(initial=0) > ord("9"))


def as_decimal(text: str) -> Decimal:
    """A number as a decimal.

    Raises:  ValueError when its exponent is beyond any decimal.
    """
    try:
        return Decimal(text)
    except InvalidOperation as error:
        raise ValueError(text[:100]) from error


def _whole(field: Field) -> str:
    if not field.group_char:
        return "[0-9]+"
    return f"(?:[0-9]{{1,3}}(?:{re.escape(field.group_char)}[0-9]{{3}})+|[0-9]+)"


def _bounded(exponent: str) -> int:
    """An exponent, but not one that costs time to compute with."""
    digits = exponent.lstrip("+-").lstrip("0")
    number = int(digits or "0") if len(digits) < len("1000000000") else 1_000_000_000
    return -number if exponent.startswith("-") else number


def _without_zeros(texts: pa.Array) -> pa.Array:
    for pattern, replacement in (
        (r"\A\+", ""),
        (r"\A(-?)0+([0-9])", r"\1\2"),
        (r"\A(-?)\.", r"\10."),  # group 1, then a zero
        (r"(\.[0-9]*[1-9])0+\z|\.0*\z", r"\1"),
        (r"\A-0\z", "0"),
    ):
        texts = pc.replace_substring_regex(texts, pattern, replacement)
    return texts
