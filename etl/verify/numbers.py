"""Parse integers and numbers exactly, within what the type of their column can hold."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from etl.model.dataset import FieldType
from etl.model.values import ProblemCode
from etl.verify.faults import FaultyCell

if TYPE_CHECKING:
    from etl.model.dataset import Field

# PostgreSQL's limits for numeric without precision.
_WHOLE_DIGITS = 131_072
_DECIMALS = 16_383

_INTEGER_BITS = {
    **dict.fromkeys(("smallint", "int2"), 16),
    **dict.fromkeys(("integer", "int", "int4"), 32),
    **dict.fromkeys(("bigint", "int8"), 64),
}
_NUMERIC = re.compile(r"(?:numeric|decimal)(?: ?\( ?([0-9]+) ?(?:, ?([0-9]+) ?)?\))?")
_NOT_FINITE = re.compile("nan|[+-]?inf(?:inity)?", re.IGNORECASE | re.ASCII)
_SINGLE_BYTES = 4
_LONG_EXPONENT = 7  # digits; no exponent of so many is within a limit


class NumberReader:
    """Parses the cells of a field of type `integer` or `number`."""

    def __init__(self, field: Field) -> None:
        self._is_integer = field.type is FieldType.INTEGER
        self._group_char = field.group_char
        self._form = _form_of(field)
        self._fault = ProblemCode.NOT_AN_INTEGER if self._is_integer else ProblemCode.NOT_A_NUMBER
        default = "bigint" if self._is_integer else "numeric"
        self._column = _Column.of(field.sql or default)

    def read(self, written: str) -> int | Decimal | float:
        """The value: an int for integers, a float for columns of floating point, or a Decimal.

        Raises:  FaultyCell.
        """
        if self._column.is_float and not self._is_integer and _NOT_FINITE.fullmatch(written):
            return float(written)
        found = self._form.fullmatch(written)
        if found is None:
            raise FaultyCell(self._fault)
        value = self._column.fit(_decimal(found, self._group_char, self._column.too_small))
        return int(value) if self._is_integer else value


def _form_of(field: Field) -> re.Pattern[str]:
    """The form of a number: groups have three digits, the first one may have fewer.

    An integer may end in `.0`, unless points separate its groups.
    """
    whole = "[0-9]+"
    if field.group_char:
        whole = f"[0-9]{{1,3}}(?:{re.escape(field.group_char)}[0-9]{{3}})+|[0-9]+"
    if field.type is FieldType.INTEGER:
        part = "(?P<part>)" if field.group_char == "." else r"(?:\.(?P<part>0))?"
        return re.compile(f"(?P<sign>[+-]?)(?P<whole>{whole}){part}(?P<exponent>)")
    point = re.escape(field.decimal_char)
    return re.compile(
        f"(?P<sign>[+-]?)(?=[0-9]|{point}[0-9])(?P<whole>(?:{whole})?)(?:{point}(?P<part>[0-9]*))?"
        "(?:[eE](?P<exponent>[+-]?[0-9]+))?"
    )


def _decimal(found: re.Match[str], group_char: str, too_small: ProblemCode) -> Decimal:
    whole = found["whole"].replace(group_char, "") if group_char else found["whole"]
    mantissa = Decimal(f"{found['sign']}{whole or 0}.{found['part'] or 0}")
    exponent = found["exponent"] or "0"
    digits = exponent.lstrip("+-").lstrip("0")
    if len(digits) >= _LONG_EXPONENT and mantissa:
        is_small = exponent.startswith("-")
        raise FaultyCell(too_small if is_small else ProblemCode.NUMBER_OUT_OF_RANGE)
    sign, cells, place = mantissa.as_tuple()
    shift = 0 if len(digits) >= _LONG_EXPONENT else int(exponent)
    return Decimal((sign, cells, int(place) + shift))


@dataclass(frozen=True, slots=True)
class _Column:
    """The numbers that a column holds: floats of so many bytes, or digits before and after."""

    float_bytes: int = 0
    bits: int = 0
    whole_digits: int = _WHOLE_DIGITS
    decimals: int = _DECIMALS

    @classmethod
    def of(cls, sql: str) -> _Column:
        name = " ".join(sql.lower().split())
        if name in {"double precision", "float8"}:
            return cls(float_bytes=8)
        if name in {"real", "float4"}:
            return cls(float_bytes=_SINGLE_BYTES)
        if name in _INTEGER_BITS:
            return cls(bits=_INTEGER_BITS[name], decimals=0)
        numeric = _NUMERIC.fullmatch(name)
        if numeric is None or numeric[1] is None:
            return cls()
        scale = int(numeric[2] or 0)
        return cls(whole_digits=int(numeric[1]) - scale, decimals=scale)

    @property
    def is_float(self) -> bool:
        return self.float_bytes > 0

    @property
    def too_small(self) -> ProblemCode:
        """The fault of a number that is nearer to zero than the column can hold."""
        return ProblemCode.NUMBER_OUT_OF_RANGE if self.is_float else ProblemCode.TOO_MANY_DECIMALS

    def fit(self, value: Decimal) -> Decimal | float:
        """The value as the column holds it, which is never rounded but for floats."""
        if self.is_float:
            return self._float(value)
        _, digits, exponent = value.as_tuple()
        zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
        codes = []
        if value and -(int(exponent) + zeros) > self.decimals:
            codes.append(ProblemCode.TOO_MANY_DECIMALS)
        is_too_large = value.adjusted() >= self.whole_digits if value else False
        if is_too_large or (self.bits and not self._fits_bits(value)):
            codes.append(ProblemCode.NUMBER_OUT_OF_RANGE)
        if codes:
            raise FaultyCell(*codes)
        return value

    def _fits_bits(self, value: Decimal) -> bool:
        limit = 1 << (self.bits - 1)
        return -limit <= value < limit

    def _float(self, value: Decimal) -> float:
        try:
            number = single(float(value)) if self.float_bytes == _SINGLE_BYTES else float(value)
        except OverflowError as error:
            raise FaultyCell(ProblemCode.NUMBER_OUT_OF_RANGE) from error
        if number in {float("inf"), float("-inf")} or (number == 0 and value != 0):
            raise FaultyCell(ProblemCode.NUMBER_OUT_OF_RANGE)
        return number


def is_single(field: Field) -> bool:
    """Whether the column of a field has single precision."""
    return _Column.of(field.sql or "").float_bytes == _SINGLE_BYTES


def single(number: float) -> float:
    """The nearest number of single precision.

    Raises:  OverflowError.
    """
    (rounded,) = struct.unpack("f", struct.pack("f", number))
    return float(rounded)
