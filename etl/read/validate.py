"""Validate rows of text cells: typed rows for users, problems for the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.model.dates import DAY_MS, EPOCH
from etl.model.safe_text import safe_value
from etl.model.values import Problem, ProblemCode
from etl.read.arrow import to_mask
from etl.read.birthts import (
    hint_for,
    last_millisecond_of,
    milliseconds_of,
    range_hint,
    read_birthts,
)
from etl.read.csv import MOST_PROBLEMS, first_of_each, sort_problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pandas as pd
    from numpy.typing import NDArray

EARLIEST_BIRTHDATE = date(1900, 1, 1)

_REQUIRED = ("user_id", "first_name", "last_name", "birthts")


@dataclass(frozen=True)
class Validated:
    """The valid rows, and a problem for each fault of the others.

    Shapes:  rows (n, 7): key, line, user_id, first_name, last_name, birthts (int64), extra.
             problems: at least the first 1,000 of each object. more: by object key, how many of
             each code are left out. rows_rejected: by object key, if any. reread_on: by object
             key, the earliest birthdate that was rejected as a future date. dated: object keys
             with a valid row whose birthts is a date instead of a number.
    Units:   birthts is milliseconds since 1970-01-01T00:00:00Z; it may be negative.
    """

    rows: pd.DataFrame
    problems: list[Problem]
    rows_rejected: dict[str, int] = field(default_factory=dict)
    more: dict[str, Counter[ProblemCode]] = field(default_factory=dict)
    reread_on: dict[str, date] = field(default_factory=dict)
    dated: frozenset[str] = frozenset()


def validate(rows: pd.DataFrame, etags: Mapping[str, str], today: date) -> Validated:
    """Check the rows of an Extract. A row with several faults is rejected once.

    `etags` maps object keys to ETags; `today` is the latest valid birthdate.
    """
    faults = _Faults(rows, etags)
    for column in _REQUIRED:
        _check_filled(rows, column, faults)
    texts = pa.array(rows["birthts"])
    birthts = read_birthts(texts)
    milliseconds, is_valid = birthts.milliseconds, birthts.is_valid
    is_filled = to_mask(pc.greater(pc.binary_length(texts), 0))
    faults.add(is_filled & ~is_valid, "birthts", ProblemCode.NOT_AN_INTEGER, hint_for)
    first, last = milliseconds_of(EARLIEST_BIRTHDATE), last_millisecond_of(today)
    in_range = birthts.fits & (milliseconds >= first) & (milliseconds <= last)
    faults.add(
        is_valid & ~in_range,
        "birthts",
        ProblemCode.BIRTHDATE_OUT_OF_RANGE,
        lambda value: range_hint(value, EARLIEST_BIRTHDATE, today),
    )
    is_late = birthts.fits & (milliseconds > last)
    good = rows.assign(birthts=milliseconds)
    if faults.faulty.any():
        good = good[~faults.faulty].reset_index(drop=True)
    return Validated(
        good,
        sort_problems(faults.problems),
        faults.rows_rejected(),
        dict(faults.more),
        _earliest_future_days(rows, milliseconds, is_late) if is_late.any() else {},
        _keys_of(rows, birthts.is_date & ~faults.faulty),
    )


class _Faults:
    """The faulty rows and their problems."""

    def __init__(self, rows: pd.DataFrame, etags: Mapping[str, str]) -> None:
        self._rows = rows
        self._etags = etags
        self.faulty: NDArray[np.bool_] = np.zeros(len(rows), dtype=np.bool_)
        self.problems: list[Problem] = []
        self.more: defaultdict[str, Counter[ProblemCode]] = defaultdict(Counter)

    def add(
        self,
        mask: NDArray[np.bool_],
        column: str,
        code: ProblemCode,
        hint_for_value: Callable[[str], str],
    ) -> None:
        """Add a problem of one column for each row of the mask."""
        if not mask.any():
            return
        self.faulty |= mask
        for key, line, value in self._cells(self._listed(mask, code), column):
            self.problems.append(
                Problem(
                    code,
                    key,
                    self._etags[key],
                    hint_for_value(value),
                    line,
                    column,
                    safe_value(value),
                )
            )

    def rows_rejected(self) -> dict[str, int]:
        """The number of faulty rows per object key."""
        if not self.faulty.any():
            return {}
        return dict(Counter(self._rows.loc[self.faulty, "key"].tolist()))

    def _listed(self, mask: NDArray[np.bool_], code: ProblemCode) -> NDArray[np.bool_]:
        """The first rows of each object key; the others are only counted."""
        where = np.flatnonzero(mask)
        if len(where) <= MOST_PROBLEMS:
            return mask
        keys = self._rows["key"].iloc[where]
        kept = first_of_each(keys.factorize()[0], MOST_PROBLEMS)
        for key, count in Counter(keys[~kept].tolist()).items():
            self.more[key][code] += count
        some: NDArray[np.bool_] = np.zeros(len(mask), dtype=np.bool_)
        some[where[kept]] = True
        return some

    def _cells(self, mask: NDArray[np.bool_], column: str) -> Iterator[tuple[str, int, str]]:
        found = self._rows.loc[mask, ["key", "line", column]]
        return zip(*(found[name].tolist() for name in found), strict=True)


def _check_filled(rows: pd.DataFrame, column: str, faults: _Faults) -> None:
    is_blank = to_mask(pc.equal(pc.binary_length(pa.array(rows[column])), 0))
    hint = f"Fill in {column}; it is required for every user."
    faults.add(is_blank, column, ProblemCode.MISSING_CELL, lambda _: hint)


def _keys_of(rows: pd.DataFrame, mask: NDArray[np.bool_]) -> frozenset[str]:
    return frozenset(rows.loc[mask, "key"].unique()) if mask.any() else frozenset()


def _earliest_future_days(
    rows: pd.DataFrame, milliseconds: NDArray[np.int64], is_late: NDArray[np.bool_]
) -> dict[str, date]:
    """The earliest future birthdate per object key, up to the year 9999."""
    is_future = is_late & (milliseconds <= last_millisecond_of(date.max))
    keys = rows.loc[is_future, "key"].tolist()
    days: dict[str, int] = {}
    for key, day in zip(keys, (milliseconds[is_future] // DAY_MS).tolist(), strict=True):
        days[key] = min(day, days.get(key, day))
    return {key: EPOCH + timedelta(days=day) for key, day in days.items()}
