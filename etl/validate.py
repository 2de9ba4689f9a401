"""Text cells to typed rows: which rows are users, and what is wrong with the others."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.extract import sort_problems
from etl.extract.safe_text import safe_value
from etl.model import Problem, ProblemCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pandas as pd
    from numpy.typing import NDArray

EARLIEST_BIRTHDATE = date(1900, 1, 1)

_REQUIRED = ("user_id", "first_name", "last_name", "birthts")
_EPOCH = date(1970, 1, 1)
_MS_A_DAY = 86_400_000
_SAFE_DIGITS = 18  # always fit 64 bits
_SAFE_INTEGER = rf"\A[+-]?[0-9]{{1,{_SAFE_DIGITS}}}\z"
_SIGNED_DIGITS = re.compile(r"([+-]?)([0-9]+)")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}.*", re.DOTALL)
_DECIMAL = re.compile(r"[+-]?\d*[.,]\d+([eE][+-]?\d+)?|[+-]?\d+[eE][+-]?\d+")


@dataclass(frozen=True)
class Validated:
    """The good rows, and a problem for each fault of the others.

    Shapes:  rows (n, 7): key, line, user_id, first_name, last_name, birthts (int64), extra.
    Units:   birthts is milliseconds since 1970-01-01T00:00:00Z; it may be negative.
    """

    rows: pd.DataFrame
    problems: list[Problem]


def validate(rows: pd.DataFrame, etags: Mapping[str, str], today: date) -> Validated:
    """Check the rows of an Extract. A row with any fault is left out, once.

    `etags` gives the ETag of each key; `today` is the last birthdate allowed.
    """
    faults = _Faults(rows, etags)
    for column in _REQUIRED:
        _check_filled(rows, column, faults)
    birthts = pa.array(rows["birthts"])
    is_integer = _mask(pc.match_substring_regex(birthts, r"\A[+-]?[0-9]+\z"))
    is_filled = _mask(pc.greater(pc.binary_length(birthts), 0))
    faults.note(is_filled & ~is_integer, "birthts", ProblemCode.NOT_AN_INTEGER, _integer_note)
    milliseconds, fits = _integers(birthts, is_integer)
    first, last = _milliseconds_of(EARLIEST_BIRTHDATE), _milliseconds_of(today) + _MS_A_DAY - 1
    in_range = fits & (milliseconds >= first) & (milliseconds <= last)
    faults.note(
        is_integer & ~in_range,
        "birthts",
        ProblemCode.BIRTHDATE_OUT_OF_RANGE,
        lambda value: _range_note(value, today),
    )
    good = rows.assign(birthts=milliseconds)
    if faults.faulty.any():
        good = good[~faults.faulty].reset_index(drop=True)
    return Validated(good, sort_problems(faults.problems))


class _Faults:
    """Which rows are faulty, and why."""

    def __init__(self, rows: pd.DataFrame, etags: Mapping[str, str]) -> None:
        self._rows = rows
        self._etags = etags
        self.faulty: NDArray[np.bool_] = np.zeros(len(rows), dtype=np.bool_)
        self.problems: list[Problem] = []

    def note(
        self,
        mask: NDArray[np.bool_],
        column: str,
        code: ProblemCode,
        note_on: Callable[[str], str],
    ) -> None:
        """Take a fault of one column in the rows of the mask; `note_on` explains a value."""
        if not mask.any():
            return
        self.faulty |= mask
        for key, line, value in self._cells(mask, column):
            self.problems.append(
                Problem(
                    code, key, self._etags[key], note_on(value), line, column, safe_value(value)
                )
            )

    def _cells(self, mask: NDArray[np.bool_], column: str) -> Iterator[tuple[str, int, str]]:
        found = self._rows.loc[mask, ["key", "line", column]]
        return zip(*(found[name].tolist() for name in found), strict=True)


def _check_filled(rows: pd.DataFrame, column: str, faults: _Faults) -> None:
    is_blank = _mask(pc.equal(pc.binary_length(pa.array(rows[column])), 0))
    note = f"Fill in {column}; every user needs one."
    faults.note(is_blank, column, ProblemCode.MISSING_CELL, lambda _: note)


def _integers(
    texts: pa.ChunkedArray, is_integer: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The numbers written (0 where there is none), and where they fit 64 bits for certain."""
    fits = is_integer
    if _mask(pc.greater(pc.binary_length(texts), _SAFE_DIGITS)).any():
        # Leading zeros may make a long text of a small number.
        texts = pc.replace_substring_regex(texts, r"\A([+-]?)0+([0-9])", r"\1\2")
        fits = is_integer & _mask(pc.match_substring_regex(texts, _SAFE_INTEGER))
    digits = pc.if_else(pa.array(fits), pc.utf8_ltrim(texts, characters="+"), "0")
    return digits.cast(pa.int64()).to_numpy(), fits


def _milliseconds_of(day: date) -> int:
    return (day - _EPOCH).days * _MS_A_DAY


def _integer_note(value: str) -> str:
    wanted = "Write birthts as integer milliseconds since 1970-01-01 UTC, such as 612302400000."
    if _DATE.fullmatch(value):
        return f"{wanted} This looks like a date."
    if _DECIMAL.fullmatch(value):
        return f"{wanted} This looks like a decimal or a number a spreadsheet has shortened."
    return wanted


def _range_note(value: str, today: date) -> str:
    wanted = f"A birthdate must lie between {EARLIEST_BIRTHDATE} and {today}"
    sign, digits = _parts(value)
    if len(digits) > _SAFE_DIGITS:
        return f"{wanted}; this is a date beyond any calendar. Correct birthts."
    milliseconds = int(sign + digits)
    shown = f"{wanted}; this is {_shown_date(milliseconds)}."
    for factor, unit in ((1_000, "microseconds"), (1_000_000, "nanoseconds")):
        if _is_birthdate(milliseconds // factor, today):
            return f"{shown} If birthts is in {unit}, divide it by {factor:,}."
    return f"{shown} Correct birthts: it is in milliseconds since 1970-01-01 UTC."


def _parts(value: str) -> tuple[str, str]:
    match = _SIGNED_DIGITS.fullmatch(value)
    return (match[1], match[2].lstrip("0") or "0") if match else ("", "0")


def _shown_date(milliseconds: int) -> str:
    try:
        return str(_EPOCH + timedelta(days=milliseconds // _MS_A_DAY))
    except OverflowError:
        return "after the year 9999" if milliseconds > 0 else "before the year 1"


def _is_birthdate(milliseconds: int, today: date) -> bool:
    days = timedelta(days=milliseconds // _MS_A_DAY)
    return EARLIEST_BIRTHDATE - _EPOCH <= days <= today - _EPOCH


def _mask(condition: pa.ChunkedArray) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = condition.to_numpy(zero_copy_only=False)
    return mask
