"""Validate one object piece by piece, in constant memory, and as a whole."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from etl.model.values import ObjectState, Problem, SourceObject
from etl.read import file_rules
from etl.read.byte_count import count_byte
from etl.read.rows.extract import Extract, sort_problems
from etl.read.validate import validate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import date

    from etl.model.dataset import Dataset
    from etl.model.values import ProblemCode
    from etl.read.rows.notices import Notice, Notices
    from etl.read.validate import Validated

PIECE_BYTES = 1024 * 1024  # parsed at once, in ten times as much memory
PIECE_LINES = 50_000  # short lines need more memory per byte
MOST_CELLS = 1 << 19  # of the rows that are read at once; columns that they lack take memory, too
LINE_ENDS = (b"\n", b"\r")


class FoundRows(NamedTuple):
    """The valid rows and problems of a piece, and whether it rejects the whole object."""

    rows: pa.Table
    problems: list[Problem]
    rejects_object: bool = False


@dataclass(frozen=True)
class ObjectPart:
    """What was found in a part of an object that is read by itself, besides its valid rows.

    Shapes:  problems: in the order of the rows, at most 1,000 of them. more: by code, the number
             of those left out. notices: by code. span, has_dates: of the timestamps.
    """

    rows_read: int
    rows_rejected: int
    reread_on: date | None = None
    span: file_rules.Span | None = None
    has_dates: bool = False
    problems: Sequence[Problem] = ()
    more: Mapping[ProblemCode, int] = field(default_factory=dict)
    notices: Mapping[ProblemCode, Notice] = field(default_factory=dict)


class ObjectValidator:
    """Validates one object piece by piece, and as a whole."""

    def __init__(self, source: SourceObject, dataset: Dataset, today: date) -> None:
        self._source = source
        self._dataset = dataset
        self._timestamps = file_rules.timestamps(dataset)
        self._today = today
        self._limit = file_rules.ProblemLimit()
        self._first: pa.Table | None = None  # valid row, for comparison with the others
        self._span: file_rules.Span | None = None
        self._rows_read = 0
        self._rows_rejected = 0
        self._reread_on: date | None = None
        self._has_dates = False
        self._rows_differ = False
        self._is_refused = False

    def validate(self, extract: Extract) -> FoundRows:
        """Validate the next rows of the object. Without an id, all of them must be equal."""
        key = self._source.key
        checked = validate(extract.rows, self._dataset, {key: self._source.etag}, self._today)
        self._count(extract, checked)
        if self._rows_differ:
            return FoundRows(checked.rows[:0], [])
        if key in extract.without_id and self._differs(checked.rows):
            self._rows_differ = True
            return FoundRows(checked.rows[:0], [], rejects_object=True)
        more = extract.more.get(key, Counter()) + checked.more.get(key, Counter())
        problems = sort_problems([*extract.problems, *checked.problems])
        self._is_refused |= any(map(file_rules.is_refusal, problems))
        return FoundRows(checked.rows, list(self._limit.passing(problems, more)))

    def part(self, problems: Sequence[Problem], notices: Notices) -> ObjectPart:
        """What the pieces so far have, if they are a part of the object, for `add_part`."""
        return ObjectPart(
            self._rows_read,
            self._rows_rejected,
            self._reread_on,
            self._span,
            self._has_dates,
            problems,
            dict(self._limit.more),
            notices.of(0),
        )

    def add_part(self, part: ObjectPart) -> list[Problem]:
        """Add the next part of the object; return those of its problems that are stored."""
        self._rows_read += part.rows_read
        self._rows_rejected += part.rows_rejected
        self._has_dates |= part.has_dates
        self._add_span(part.span)
        self._add_day(part.reread_on)
        return list(self._limit.passing(part.problems, part.more))

    @property
    def rows_read(self) -> int:
        """The number of rows so far, with those that are rejected."""
        return self._rows_read

    def object_problems(self) -> list[Problem]:
        """The problems of the object as a whole, after its last rows."""
        key, etag = self._source.key, self._source.etag
        if self._rows_differ:
            return [file_rules.rows_without_id(key, etag)]
        day = self._day_of_seconds()
        is_seconds = day is not None and day <= self._today
        found = [file_rules.epoch_seconds(key, etag)] if is_seconds else []
        if self.has_too_many_faults:
            counts = self._rows_read, self._rows_rejected
            found.append(file_rules.too_many_faults(key, etag, self._dataset, *counts))
        return found + self._limit.rest(key, etag)

    @property
    def has_too_many_faults(self) -> bool:
        """Whether the object is refused because of its faulty rows, after its last rows."""
        return not self._rows_differ and file_rules.has_too_many_faults(
            self._dataset, self._rows_read, self._rows_rejected
        )

    @property
    def state(self) -> ObjectState:
        """Quarantined if the object as a whole was rejected."""
        is_rejected = self._is_refused or self._rows_differ or self.has_too_many_faults
        return ObjectState.QUARANTINED if is_rejected else ObjectState.LOADED

    @property
    def figures(self) -> tuple[int, int, date | None]:
        """As returned by Figures.of."""
        if self._rows_differ:
            return self._rows_read, self._rows_read, None
        day = self._day_of_seconds()
        days = [self._reread_on, day if day is not None and day > self._today else None]
        reread_on = min((day for day in days if day is not None), default=None)
        rejected = self._rows_read if self.has_too_many_faults else self._rows_rejected
        return self._rows_read, rejected, reread_on

    def _day_of_seconds(self) -> date | None:
        """The last birthdate if all values could be seconds."""
        if self._span is None or self._has_dates or not self._span.could_be_seconds:
            return None
        return self._span.last_day_of_seconds

    def _count(self, extract: Extract, checked: Validated) -> None:
        key = self._source.key
        rejected = extract.rows_rejected, checked.rows_rejected
        self._rows_read += extract.rows_read[key]
        self._rows_rejected += sum(by_key.get(key, 0) for by_key in rejected)
        self._has_dates |= bool(checked.dated)
        if self._timestamps is not None:
            self._add_span(file_rules.span(checked.rows[self._timestamps]))
        self._add_day(checked.reread_on.get(key))

    def _add_span(self, found: file_rules.Span | None) -> None:
        self._span = self._span if found is None else found.joined(self._span)

    def _add_day(self, day: date | None) -> None:
        days = [one for one in (self._reread_on, day) if one is not None]
        self._reread_on = min(days, default=None)

    def _differs(self, rows: pa.Table) -> bool:
        """Whether these valid rows differ from each other or from earlier rows."""
        if self._first is None:
            # A copy, or it would keep all rows.
            self._first = rows.take(pa.array([0])) if len(rows) else None
        else:
            rows = pa.concat_tables([self._first, rows], promote_options="default")
        key = self._source.key
        return bool(file_rules.keys_with_differing_rows(rows, self._dataset, [key]))


def rows_at_once(columns: int) -> int:
    """How many rows with so many columns may be read at once."""
    return min(PIECE_LINES, max(MOST_CELLS // max(columns, 1), 1))


def pieces(
    part: bytes, most_rows: Callable[[], int], row_marks: Sequence[bytes] = LINE_ENDS
) -> Iterator[bytes]:
    """Cut the part at any byte into pieces of at most 1 MB and about so many rows.

    Each row has one of the marks. `most_rows` may depend on the pieces before.
    """
    start = 0
    while start < len(part):
        size = len(part) - start
        rows = max(count_byte(part, mark, start) for mark in row_marks)
        count = max(-(-size // PIECE_BYTES), -(-rows // most_rows()))
        end = start + -(-size // count)
        yield part[start:end]
        start = end
