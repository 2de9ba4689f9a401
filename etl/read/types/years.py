"""Calendar years: four digits, from 0001 to 9999."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from etl.model.types import sql_type
from etl.model.values import ProblemCode
from etl.read.types.column import Fault, Parsed, matches, sign_of

if TYPE_CHECKING:
    from datetime import date

    from etl.model.dataset import Field

_YEAR = "[0-9]{4}"
_WITHIN_DATE = re.compile(r"(?<![0-9])[0-9]{4}(?![0-9])")
_ARROW_TYPES = {"smallint": pa.int16(), "integer": pa.int32(), "bigint": pa.int64()}


def parse_years(texts: pa.Array, field: Field, _: date) -> Parsed:
    """Parse the texts."""
    is_year = matches(texts, _YEAR)
    digits = texts if is_year.all() else pc.if_else(pa.array(is_year), texts, "0000")
    years = digits.cast(_ARROW_TYPES[sql_type(field.type, field.sql).name])
    numbers = years.to_numpy()
    is_valid = is_year & (numbers > 0)
    faults = []
    if not is_valid.all():
        faults.append(Fault(~is_valid, ProblemCode.NOT_A_YEAR, lambda value: _note(value, field)))
    return Parsed(years, is_valid, faults, compare=lambda bound: sign_of(numbers, bound))


def _note(value: str, field: Field) -> str:
    expected = f"Write {field.name} as a year of four digits from 0001 to 9999, for example 2026."
    if len(value) > len("2026") and _WITHIN_DATE.search(value):
        return f"{expected} This value is more than a year; keep the year, or declare a date."
    if re.fullmatch("[0-9]{1,3}", value):
        return f"{expected} Fewer digits leave the century open."
    return expected
