"""Booleans: the texts of trueValues and falseValues, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.model.values import ProblemCode
from etl.read.types.column import TEXT, Fault, Parsed, mask_of, sign_of

if TYPE_CHECKING:
    from datetime import date

    from etl.model.dataset import Field

_MOST_SHOWN = 8
_KNOWN = frozenset({"y", "n", "yes", "no", "t", "f", "on", "off", "ja", "nein", "oui", "non", "x"})


def parse_booleans(texts: pa.Array, field: Field, _: date) -> Parsed:
    """Parse the texts; case matters."""
    is_true = mask_of(pc.is_in(texts, value_set=pa.array(field.true_values, TEXT)))
    is_false = mask_of(pc.is_in(texts, value_set=pa.array(field.false_values, TEXT)))
    is_valid = is_true | is_false
    faults = []
    if not is_valid.all():
        faults.append(
            Fault(~is_valid, ProblemCode.NOT_A_BOOLEAN, lambda value: _note(value, field))
        )
    return Parsed(
        pa.array(is_true),
        is_valid,
        faults,
        compare=lambda bound: sign_of(is_true.astype(np.int8), bound),
    )


def _note(value: str, field: Field) -> str:
    allowed = (*field.true_values, *field.false_values)
    for one in allowed:
        if one.lower() == value.lower():
            return f"Write {one}: letter case matters, unless trueValues or falseValues list both."
    trues, falses = (", ".join(v[:_MOST_SHOWN]) for v in (field.true_values, field.false_values))
    expected = f"Write {field.name} as one of {trues} for true, or one of {falses} for false."
    if value.lower() in _KNOWN:
        return f"{expected} If {value} is intended, add it to trueValues or falseValues."
    return expected
