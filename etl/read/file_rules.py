"""Check rules for a whole file, whose rows may come in several batches.

A file without a user_id column belongs to one user, so its rows must be equal. If all birthdates
are in January or February 1970, they are probably seconds. Only the first problems are stored.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from etl.model.dates import DAY_MS, DAY_SECONDS, EPOCH
from etl.model.values import Problem, ProblemCode, Severity
from etl.read.csv import MOST_PROBLEMS, sort_problems

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from datetime import date

    import pandas as pd
    from numpy.typing import NDArray

_TWO_MONTHS_MS = 59 * DAY_MS  # January and February 1970
_VALUE_COLUMNS = ("first_name", "last_name", "birthts", "extra")


def keys_with_differing_rows(rows: pd.DataFrame, keys: Collection[str]) -> set[str]:
    """The object keys that have at least two rows with different values."""
    if not keys:
        return set()
    rows = rows[rows["key"].isin(keys)]
    codes = rows["key"].factorize()[0]
    is_next: NDArray[np.bool_] = np.diff(codes, prepend=-1) == 0
    differs = np.zeros(len(rows), dtype=np.bool_)
    for column in _VALUE_COLUMNS:
        # Equal texts have equal codes, and so have blank ones.
        values = rows[column].factorize()[0]
        differs |= np.diff(values, prepend=0) != 0
    return set(rows["key"][is_next & differs].tolist())


def without_keys(rows: pd.DataFrame, keys: Collection[str]) -> pd.DataFrame:
    """The rows of all other object keys."""
    return rows[~rows["key"].isin(keys)].reset_index(drop=True) if keys else rows


def rows_without_id(key: str, etag: str) -> Problem:
    """The problem of a file whose rows differ but have no user_id."""
    return Problem(
        ProblemCode.ROWS_WITHOUT_ID,
        key,
        etag,
        "The file has no user_id column, so all of its rows belong to one user, but they differ. "
        "Add a user_id column, or upload a separate file for each user.",
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


def span(rows: pd.DataFrame) -> Span | None:
    """The span of all rows; None if there are none."""
    birthts = rows["birthts"]
    return Span(int(birthts.min()), int(birthts.max())) if len(rows) else None


def early_spans(rows: pd.DataFrame, dated: Collection[str]) -> dict[str, Span]:
    """Map object keys to the spans of those objects whose numbers could be seconds."""
    if not len(rows):
        return {}
    birthts = rows["birthts"].to_numpy()
    is_early = (birthts >= DAY_SECONDS) & (birthts < _TWO_MONTHS_MS)
    if not is_early.any():
        return {}
    keys = set(rows["key"][is_early].tolist()) - set(dated)
    grouped = rows[rows["key"].isin(keys)].groupby("key", sort=False)["birthts"]
    least, greatest = grouped.min(), grouped.max()
    spans = zip(least.index, least.tolist(), greatest.tolist(), strict=True)
    found = {key: Span(low, high) for key, low, high in spans}
    return {key: span for key, span in found.items() if span.could_be_seconds}


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
