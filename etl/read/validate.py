"""Validate rows of text cells: typed rows of a dataset, problems for the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.model.dataset import Dataset, Field
from etl.model.safe_text import safe_value
from etl.model.values import Problem, ProblemCode, Severity
from etl.read.columns import SOURCE_KEY, SOURCE_LINE
from etl.read.rows.collect import MOST_PROBLEMS, first_of_each
from etl.read.rows.extract import sort_problems
from etl.read.types import CheckedColumn, Fault, check_column
from etl.read.types.column import spread
from etl.read.types.typed_texts import texts_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Validated:
    """The valid rows, and a problem for each fault of the others.

    Shapes:  rows (n, …): the columns of the given rows, with typed values for the declared ones,
             as `check_column` returns them. problems: at least the first 1,000 of each object.
             more: by object key, how many of each code are left out. rows_rejected: by object
             key, if any. reread_on: by object key, the earliest day on which a value that was
             rejected as too late is valid. dated: object keys with a valid row whose timestamp
             is written as a date, not as a number.
    """

    rows: pa.Table
    problems: list[Problem]
    rows_rejected: dict[str, int] = field(default_factory=dict)
    more: dict[str, Counter[ProblemCode]] = field(default_factory=dict)
    reread_on: dict[str, date] = field(default_factory=dict)
    dated: frozenset[str] = frozenset()


def validate(rows: pa.Table, dataset: Dataset, etags: Mapping[str, str], today: date) -> Validated:
    """Check the rows of an Extract. A row with several faults is rejected once.

    `etags` maps object keys to ETags; `today` is the latest valid birthdate.
    """
    faults = _Faults(rows, etags)
    reread_on: dict[str, date] = {}
    dated: NDArray[np.bool_] | None = None
    good = rows
    for one in _fields(dataset, rows):
        checked = _check(rows[one.name], one, dataset, today)
        place = good.column_names.index(one.name)
        good = good.set_column(place, one.name, checked.values)
        for fault in checked.faults:
            faults.add(one.name, fault)
        if checked.valid_from is not None:
            _note_days(reread_on, rows, checked.valid_from)
        if checked.dated is not None:
            dated = checked.dated
    if faults.faulty.any():
        good = good.filter(pa.array(~faults.faulty))
    return Validated(
        good,
        sort_problems(faults.problems),
        faults.rows_rejected(),
        dict(faults.more),
        reread_on,
        frozenset() if dated is None else _keys_of(rows, dated & ~faults.faulty),
    )


def _fields(dataset: Dataset, rows: pa.Table) -> Iterator[Field]:
    """The declared fields, and the undeclared columns of the key; those of the key are required."""
    declared = dataset.field_names
    undeclared = [name for name in dataset.primary_key if name not in declared]
    for one in (*dataset.fields, *(Field(name=name) for name in undeclared)):
        if one.name in dataset.primary_key and not one.constraints.required:
            yield replace(one, constraints=replace(one.constraints, required=True))
        elif one.name in rows.column_names:
            yield one


def _check(cells: pa.ChunkedArray, one: Field, dataset: Dataset, today: date) -> CheckedColumn:
    """The checked column; cells that the file does not have are missing."""
    missing_values = dataset.missing_values
    noun = "user" if dataset.is_preset else "row"
    if not cells.null_count:
        return check_column(cells, one, missing_values, today, noun=noun)
    is_absent: NDArray[np.bool_] = cells.is_null().to_numpy()
    checked = check_column(cells.drop_null(), one, missing_values, today, noun=noun)
    faults = [
        replace(fault, rows=_spread(fault.rows, is_absent, filler=False))
        for fault in checked.faults
    ]
    if one.constraints.required:
        hint = f"Fill in {one.name}; it is required for every {noun}."
        faults.append(Fault(is_absent, ProblemCode.MISSING_CELL, lambda _: hint))
    days, dated = checked.valid_from, checked.dated
    return CheckedColumn(
        pa.chunked_array([spread(checked.values.combine_chunks(), ~is_absent)]),
        tuple(faults),
        None if days is None else _spread(days, is_absent, np.datetime64("NaT")),
        None if dated is None else _spread(dated, is_absent, filler=False),
    )


def _spread(present: NDArray[Any], is_absent: NDArray[np.bool_], filler: object) -> NDArray[Any]:
    """Values of the present cells, with a filler for the absent ones."""
    whole = np.full(len(is_absent), filler, dtype=present.dtype)
    whole[~is_absent] = present
    return whole


class _Faults:
    """The faulty rows and their problems."""

    def __init__(self, rows: pa.Table, etags: Mapping[str, str]) -> None:
        self._rows = rows
        self._etags = etags
        self.faulty: NDArray[np.bool_] = np.zeros(len(rows), dtype=np.bool_)
        self.problems: list[Problem] = []
        self.more: defaultdict[str, Counter[ProblemCode]] = defaultdict(Counter)

    def add(self, column: str, fault: Fault) -> None:
        """Add a problem of one column for each row with the fault."""
        if not fault.rows.any():
            return
        if fault.severity is Severity.ERROR:
            self.faulty |= fault.rows
        for key, line, value in self._cells(self._listed(fault), column):
            self.problems.append(
                Problem(
                    fault.code,
                    key,
                    self._etags[key],
                    fault.note(value),
                    line,
                    column,
                    safe_value(value),
                    fault.severity,
                )
            )

    def rows_rejected(self) -> dict[str, int]:
        """The number of faulty rows per object key."""
        if not self.faulty.any():
            return {}
        return _counted(self._rows[SOURCE_KEY].filter(pa.array(self.faulty)))

    def _listed(self, fault: Fault) -> NDArray[np.int64]:
        """The indexes of the first rows of each object key; the others are only counted."""
        where: NDArray[np.int64] = np.flatnonzero(fault.rows)
        if len(where) <= MOST_PROBLEMS:
            return where
        keys = self._rows[SOURCE_KEY].take(pa.array(where)).combine_chunks()
        kept = first_of_each(keys.dictionary_encode().indices.to_numpy(), MOST_PROBLEMS)
        for key, count in _counted(keys.filter(pa.array(~kept))).items():
            self.more[key][fault.code] += count
        return where[kept]

    def _cells(self, where: NDArray[np.int64], column: str) -> Iterator[tuple[str, int, str]]:
        found = self._rows.select([SOURCE_KEY, SOURCE_LINE, column]).take(pa.array(where))
        values = texts_of(found[column].combine_chunks()).to_pylist()
        keys, lines = (found[name].to_pylist() for name in (SOURCE_KEY, SOURCE_LINE))
        return zip(keys, lines, (value or "" for value in values), strict=True)


def _keys_of(rows: pa.Table, mask: NDArray[np.bool_]) -> frozenset[str]:
    if not mask.any():
        return frozenset()
    return frozenset(pc.unique(rows[SOURCE_KEY].filter(pa.array(mask))).to_pylist())


def _counted(keys: pa.ChunkedArray) -> dict[str, int]:
    return {one["values"]: one["counts"] for one in pc.value_counts(keys).to_pylist()}


def _note_days(reread_on: dict[str, date], rows: pa.Table, days: NDArray[np.datetime64]) -> None:
    """Note the earliest day per object key, up to the year 9999."""
    where = np.flatnonzero(~np.isnat(days) & (days <= np.datetime64(date.max)))
    keys = rows[SOURCE_KEY].take(pa.array(where)).to_pylist()
    for key, day in zip(keys, days[where].tolist(), strict=True):
        reread_on[key] = min(day, reread_on.get(key, day))
