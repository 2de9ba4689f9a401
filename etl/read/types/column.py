"""The result of checking a column, and conversions that the types share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.model.values import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from numpy.typing import NDArray

    from etl.model.values import ProblemCode

TEXT = pa.large_string()


@dataclass(frozen=True)
class Fault:
    """One kind of fault in a column.

    Shapes:  rows (n,): the faulty rows, at least one. `note` takes the text of a cell and says
             what was expected.
    """

    rows: NDArray[np.bool_]
    code: ProblemCode
    note: Callable[[str], str]
    severity: Severity = Severity.ERROR


@dataclass(frozen=True)
class CheckedColumn:
    """A checked column.

    Shapes:  values (n,): null where missing or faulty; pyarrow.csv.write_csv turns them into text
             that COPY reads exactly. valid_from (n,), datetime64[D], or None: the day from which
             a row that is rejected only for being too late becomes valid, else NaT. dated (n,), or
             None: values of an epoch-ms field that are dates, not numbers.
    """

    values: pa.ChunkedArray
    faults: tuple[Fault, ...] = ()
    valid_from: NDArray[np.datetime64] | None = None
    dated: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Parsed:
    """The texts of a column without the missing ones, parsed.

    Shapes:  values, is_valid and the masks of faults (n,). `compare` gives the sign (n,) of
             value - bound for each valid row; None if the type has no order. `lengths` (n,): of
             the values, for minLength and maxLength; None if the type has no length.
    """

    values: pa.Array
    is_valid: NDArray[np.bool_]
    faults: list[Fault] = field(default_factory=list)
    compare: Callable[[Hashable], NDArray[np.int8]] | None = None
    lengths: Callable[[], NDArray[np.int64]] | None = None
    valid_from: NDArray[np.datetime64] | None = None
    dated: NDArray[np.bool_] | None = None


def mask_of(condition: pa.Array) -> NDArray[np.bool_]:
    """Booleans without nulls as a mask."""
    mask: NDArray[np.bool_] = condition.to_numpy(zero_copy_only=False)
    return mask


def matches(texts: pa.Array, pattern: str) -> NDArray[np.bool_]:
    """Which of the texts match the whole RE2 expression."""
    return mask_of(pc.match_substring_regex(texts, rf"\A(?:{pattern})\z"))


def text_bytes(texts: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The offsets (n + 1,) of the texts, from 0, and all their bytes, without a copy."""
    _, offsets, data = texts.buffers()
    if offsets is None or not len(texts):
        return np.zeros(len(texts) + 1, np.int64), np.empty(0, np.uint8)
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    whole = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return ends - ends[0], whole[ends[0] : ends[-1]]


def all_true(count: int) -> NDArray[np.bool_]:
    """A mask of all rows."""
    return np.ones(count, np.bool_)


def spread(values: pa.Array, where: NDArray[np.bool_]) -> pa.Array:
    """Values for the rows of a mask, with nulls in the other rows."""
    if where.all():
        return values
    if values.type == TEXT:
        return _spread_texts(values, where)
    places = np.cumsum(where) - 1
    return values.take(pa.array(places, mask=~where))


def _spread_texts(texts: pa.Array, where: NDArray[np.bool_]) -> pa.Array:
    """As `spread`, without a copy of the bytes.

    Arrow's `take` reserves the mean length for each row: one long text among many nulls would need
    more memory than there is.
    """
    offsets, data = text_bytes(texts)
    lengths = np.zeros(len(where), np.int64)
    lengths[where] = np.diff(offsets)
    is_valid = where
    if texts.null_count:
        is_valid = where.copy()
        is_valid[where] = texts.is_valid().to_numpy(zero_copy_only=False)
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    bitmap = pa.array(is_valid).buffers()[1]
    return pa.LargeStringArray.from_buffers(
        len(where), pa.py_buffer(ends), pa.py_buffer(data), bitmap
    )


def spread_mask(mask: NDArray[np.bool_], where: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask over the rows of another mask as a mask over all rows."""
    if where.all():
        return mask
    spread_out = np.zeros(len(where), np.bool_)
    spread_out[where] = mask
    return spread_out


def sign_of(values: NDArray[np.generic], bound: object) -> NDArray[np.int8]:
    """The sign of value - bound; NaN is greater than all numbers, as in PostgreSQL."""
    is_less = values < bound  # type: ignore[operator]
    is_equal = values == bound
    signs: NDArray[np.int8] = np.where(is_less, -1, np.where(is_equal, 0, 1)).astype(np.int8)
    return signs
