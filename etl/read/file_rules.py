"""Check rules for a whole file, whose rows may come in several batches.

A file without a user_id column belongs to one user, so its rows must be equal. If all birthdates
are in January or February 1970, they are probably seconds. Only the first problems are stored.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.model.dataset import Dataset, FieldType
from etl.model.dates import DAY_MS, DAY_SECONDS, EPOCH
from etl.model.formats import EXTENSIONS, format_of
from etl.model.values import Problem, ProblemCode, Severity
from etl.read.columns import SOURCE_KEY, SOURCE_LINE
from etl.read.rows.collect import MOST_PROBLEMS
from etl.read.rows.extract import sort_problems

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from datetime import date

    from numpy.typing import NDArray

_TWO_MONTHS_MS = 59 * DAY_MS  # January and February 1970


def keys_with_differing_rows(rows: pa.Table, dataset: Dataset, keys: Collection[str]) -> set[str]:
    """The object keys that have at least two rows with different values."""
    if not keys:
        return set()
    rows = rows.filter(_is_of(rows, keys)).combine_chunks()
    codes = _codes(rows[SOURCE_KEY])
    is_next: NDArray[np.bool_] = np.diff(codes, prepend=-1) == 0
    differs = np.zeros(len(rows), dtype=np.bool_)
    for column in rows.column_names:
        if column not in {SOURCE_KEY, SOURCE_LINE, dataset.id_from_name}:
            differs |= np.diff(_codes(rows[column]), prepend=0) != 0
    return set(rows[SOURCE_KEY].filter(pa.array(is_next & differs)).to_pylist())


def _codes(values: pa.ChunkedArray) -> NDArray[np.int64]:
    """A number for each value; equal values have equal numbers, and so have nulls."""
    encoded = values.combine_chunks().dictionary_encode("encode")
    codes: NDArray[np.int64] = encoded.indices.to_numpy().astype(np.int64)
    return codes


def without_keys(rows: pa.Table, keys: Collection[str]) -> pa.Table:
    """The rows of all other object keys."""
    return rows.filter(pc.invert(_is_of(rows, keys))) if keys else rows


def _is_of(rows: pa.Table, keys: Collection[str]) -> pa.ChunkedArray:
    return pc.is_in(rows[SOURCE_KEY], pa.array(list(keys), rows[SOURCE_KEY].type))


def rows_without_id(key: str, etag: str) -> Problem:
    """The problem of a file whose rows differ but have no user_id."""
    return Problem(
        ProblemCode.ROWS_WITHOUT_ID,
        key,
        etag,
        "The file has no user_id column, so all of its rows belong to one user, but they differ. "
        "Add a user_id column, or upload a separate file for each user.",
    )


def has_too_many_faults(dataset: Dataset, rows_read: int, rows_rejected: int) -> bool:
    """Whether more rows of an object were rejected than the dataset allows."""
    return rows_rejected > dataset.refuse_object_above * rows_read


def too_many_faults(
    key: str, etag: str, dataset: Dataset, rows_read: int, rows_rejected: int
) -> Problem:
    """The problem of an object that is refused as a whole, because too many rows are faulty."""
    limit = float(dataset.refuse_object_above * 100)
    return Problem(
        ProblemCode.TOO_MANY_FAULTS,
        key,
        etag,
        f"{rows_rejected:,} of {rows_read:,} rows are faulty, more than the {limit:g}% that "
        f"{dataset.name} allows, so no row of the file is loaded. Correct the faulty rows and "
        "upload the file again, or raise refuse_object_above.",
    )


class Span(NamedTuple):
    """The least and the greatest birthts of an object's valid rows, in milliseconds."""

    least: int
    greatest: int

    def joined(self, other: Span | None) -> Span:
        """The span that covers both."""
        if other is None:
            return self
        return Span(min(self.least, other.least), max(self.greatest, other.greatest))

    @property
    def could_be_seconds(self) -> bool:
        """Whether all are in January or February 1970, and at least one is another day as seconds.

        Values below one day of seconds, such as 0, are the same day in either unit.
        """
        is_early = self.least >= 0 and self.greatest < _TWO_MONTHS_MS
        return is_early and self.greatest >= DAY_SECONDS

    @property
    def last_day_of_seconds(self) -> date:
        """The last birthdate if the values are seconds."""
        return EPOCH + timedelta(days=self.greatest // DAY_SECONDS)


def timestamps(dataset: Dataset) -> str | None:
    """The column whose values could be seconds in place of milliseconds; None if there is none."""
    if not dataset.is_preset:
        return None
    types = ((one.name, one.type) for one in dataset.fields)
    return next((name for name, of_field in types if of_field is FieldType.EPOCH_MS), None)


def span(values: pa.ChunkedArray) -> Span | None:
    """The span of all values; None if there are none."""
    if not len(values):
        return None
    found = pc.min_max(values)
    return Span(found["min"].as_py(), found["max"].as_py())


def early_spans(rows: pa.Table, column: str, dated: Collection[str]) -> dict[str, Span]:
    """Map object keys to the spans of those objects whose values could be seconds.

    `dated` are the keys of objects with a value that is written as a date.
    """
    if not len(rows):
        return {}
    values = rows[column].to_numpy()
    is_early = (values >= DAY_SECONDS) & (values < _TWO_MONTHS_MS)
    if not is_early.any():
        return {}
    keys = set(pc.unique(rows[SOURCE_KEY].filter(pa.array(is_early))).to_pylist()) - set(dated)
    if not keys:
        return {}
    some = rows.select([SOURCE_KEY, column]).filter(_is_of(rows, keys))
    found = _spans(some[SOURCE_KEY].combine_chunks(), some[column].to_numpy())
    return {key: span for key, span in found.items() if span.could_be_seconds}


def _spans(keys: pa.Array, values: NDArray[np.int64]) -> dict[str, Span]:
    """The span of the values of each key. Arrow's own grouping would load 10 MB of libraries."""
    encoded = keys.dictionary_encode()
    numbers = encoded.indices.to_numpy()
    order = np.argsort(numbers, kind="stable")
    starts = np.searchsorted(numbers[order], np.arange(len(encoded.dictionary)))
    sides = (by.reduceat(values[order], starts).tolist() for by in (np.minimum, np.maximum))
    return dict(zip(encoded.dictionary.to_pylist(), map(Span, *sides), strict=True))


def epoch_seconds(key: str, etag: str) -> Problem:
    """The warning that an object's numbers are probably seconds."""
    return Problem(
        ProblemCode.EPOCH_SECONDS,
        key,
        etag,
        "Every birthdate of this file is in January or February 1970. If birthts is in seconds, "
        "multiply it by 1,000; otherwise leave the file as it is.",
        severity=Severity.WARNING,
    )


def unsupported(key: str, etag: str, dataset: Dataset) -> Problem:
    """The warning of an object of a type that its dataset does not read."""
    if dataset.is_preset:
        remedy = (
            "Add its key to `include` of a dataset in datasets.toml"
            if format_of(replace(dataset, is_preset=False), key) is not None
            else "Rename it if it is one of these"
        )
        hint = (
            f"No dataset includes this object, and {dataset.name} reads only .csv and .tsv files "
            f"and png, jpg, jpeg, webp and gif images. {remedy}, or move it out of the bucket."
        )
    else:
        hint = (
            f"The dataset {dataset.name} reads {', '.join(EXTENSIONS)} files. Rename the object if "
            "it is one of these, or add its key to `exclude` in datasets.toml."
        )
    return Problem(ProblemCode.UNSUPPORTED_TYPE, key, etag, hint, severity=Severity.WARNING)


def is_refusal(problem: Problem) -> bool:
    """Whether the problem rejects the whole object."""
    is_error = problem.severity is Severity.ERROR and problem.line is None
    return is_error and problem.code is not ProblemCode.MORE_PROBLEMS


class ProblemLimit:
    """Passes on the first 1,000 row problems of one object, and counts the others."""

    def __init__(self) -> None:
        self._left = MOST_PROBLEMS
        self._more: Counter[ProblemCode] = Counter()

    def passing(
        self, problems: Iterable[Problem], more: Mapping[ProblemCode, int]
    ) -> Iterator[Problem]:
        """The problems to store, in their order. `more` counts problems left out before."""
        self._more.update(more)
        for problem in problems:
            if problem.line is None or self._left:
                self._left -= problem.line is not None
                yield problem
            else:
                self._more[problem.code] += 1

    @property
    def more(self) -> Counter[ProblemCode]:
        """The number of problems left out, by code."""
        return self._more

    def rest(self, key: str, etag: str) -> list[Problem]:
        """The problem that counts those left out, if any."""
        if not self._more:
            return []
        listed = ", ".join(f"{count:,} {code}" for code, count in self._more.most_common())
        hint = (
            f"{self._more.total():,} more row problems are not listed individually: {listed}. "
            "Correct the listed problems and upload the file again; the next run lists the rest."
        )
        return [Problem(ProblemCode.MORE_PROBLEMS, key, etag, hint)]


def limit_problems(
    problems: list[Problem], more: Mapping[str, Counter[ProblemCode]], etags: Mapping[str, str]
) -> list[Problem]:
    """The problems to store for many objects, sorted."""
    if len(problems) <= MOST_PROBLEMS and not more:
        return problems
    by_key: defaultdict[str, list[Problem]] = defaultdict(list)
    for problem in sort_problems(problems):
        by_key[problem.key].append(problem)
    kept: list[Problem] = []
    for key, found in by_key.items():
        limit = ProblemLimit()
        kept += limit.passing(found, more.get(key, {}))
        kept += limit.rest(key, etags[key])
    return kept
