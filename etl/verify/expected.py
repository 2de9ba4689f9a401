"""Compute the expected state from files and images: rows, shadowed rows, problems, joins."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from etl.model.values import ObjectKind, ProblemCode, SourceObject
from etl.verify import names
from etl.verify.birthts import utc_date
from etl.verify.globs import glob
from etl.verify.reader import read
from etl.verify.unpack import MAX_EXPANDED

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable
    from datetime import date

    from etl.verify.layout import ObjectColumns
    from etl.verify.reader import Row
    from etl.verify.routes import Destination

# An object with one of these problems is still loaded.
_WARNINGS = frozenset(
    {
        ProblemCode.COLUMN_KEPT_IN_EXTRA,
        ProblemCode.DECLARED_COLUMN_ABSENT,
        ProblemCode.EPOCH_SECONDS,
        ProblemCode.GUESSED_ENCODING,
        ProblemCode.MISSING_TRAILING_CELLS,
        ProblemCode.MORE_PROBLEMS,
        ProblemCode.NO_ROWS,
        ProblemCode.REPEATED_HEADER,
    }
)


class ObjectPlace(NamedTuple):
    """A bucket and a key in it."""

    bucket: str
    key: str


@dataclass(frozen=True, slots=True)
class Listed:
    """An object with its place and its route."""

    place: ObjectPlace
    source: SourceObject
    route: Destination


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row of a data table or a table of shadowed rows; `values` in the order of its columns."""

    values: tuple[object, ...]
    extra: dict[str, object] | None
    source_key: str
    source_line: int


@dataclass(frozen=True)
class DatasetRows:
    """The rows of one dataset: by identity, and the shadowed ones by object and line.

    Shapes:  an identity is the tuple of the primary key's values or, without one, (key, line).
             `columns` names the values of rows, `shadowed_columns` those of shadowed rows.
    """

    columns: tuple[str, ...]
    shadowed_columns: tuple[str, ...]
    rows: dict[tuple[Hashable, ...], StoredRow] = field(default_factory=dict)
    shadowed: dict[tuple[str, int], StoredRow] = field(default_factory=dict)


@dataclass(frozen=True)
class Expected:
    """The state of the tables that follows from the buckets.

    Shapes:  datasets by name; rejected (bucket, key, line, code), as often as a row has a fault
             or warning that is listed; rows_read and rows_rejected by place; object_problems
             (bucket, key, code), including warnings.
    """

    datasets: dict[str, DatasetRows] = field(default_factory=dict)
    rejected: Counter[tuple[str, str, int, str]] = field(default_factory=Counter)
    rows_read: dict[ObjectPlace, int] = field(default_factory=dict)
    rows_rejected: dict[ObjectPlace, int] = field(default_factory=dict)
    object_problems: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def quarantined(self) -> set[ObjectPlace]:
        """Return the places of quarantined objects."""
        return {
            ObjectPlace(bucket, key)
            for bucket, key, code in self.object_problems
            if code not in _WARNINGS
        }


class _Candidate(NamedTuple):
    """A valid row and its object: a candidate for the row of its identity."""

    row: Row
    source: SourceObject


class Expectation:
    """Computes the expected state from objects that are added one by one, in any order."""

    def __init__(
        self, layouts: Iterable[ObjectColumns], today: date, most_expanded: int = MAX_EXPANDED
    ) -> None:
        self._today = today
        self._most_expanded = most_expanded
        self._contests = {layout.dataset.name: _Contest(layout) for layout in layouts}
        self._images: dict[tuple[str, str], _NewestImages] = defaultdict(dict)
        self._expected = Expected()

    def add_file(self, listed: Listed, content: bytes) -> None:
        """Parse a data object."""
        place, expected = listed.place, self._expected
        contest = self._contests[listed.route.dataset.name]
        reading = read(content, contest.layout, place.key, self._today, self._most_expanded)
        for code, count in reading.faults.items():
            expected.object_problems[*place, code] += count
        expected.rejected.update((*place, line, code) for line, code in reading.rejected)
        expected.rows_read[place] = len(reading.rows) + reading.rows_rejected
        expected.rows_rejected[place] = reading.rows_rejected
        for row in reading.rows:
            contest.add(_Candidate(row, listed.source))

    def add_unopened(self, listed: Listed) -> None:
        """Add an image, or an object that no dataset reads."""
        route = listed.route
        if route.kind is ObjectKind.OTHER:
            self.add_problem(listed.place, ProblemCode.UNSUPPORTED_TYPE)
        elif route.attachment is not None and route.attachment_id is not None:
            newest = self._images[route.dataset.name, route.attachment.column]
            held = newest.get(route.attachment_id)
            if held is None or _is_before(listed.source, held.source):
                newest[route.attachment_id] = listed

    def add_problem(self, place: ObjectPlace, code: ProblemCode) -> None:
        """Add a problem of an object that could not be read."""
        self._expected.object_problems[*place, code] += 1

    def finish(self) -> Expected:
        """Join the images, and return the expected state."""
        for name, contest in self._contests.items():
            self._expected.datasets[name] = contest.finish(self._images)
        return self._expected


_NewestImages = dict[str, Listed]


class _Contest:
    """Lets the rows of one dataset compete for their identities."""

    def __init__(self, layout: ObjectColumns) -> None:
        self.layout = layout
        dataset = layout.dataset
        self._keys = layout.identity_places
        self._prefer = None if dataset.prefer is None else layout.names.index(dataset.prefer)
        self._winners: dict[tuple[Hashable, ...], _Candidate] = {}
        self._shadowed: dict[tuple[str, int], StoredRow] = {}

    def add(self, candidate: _Candidate) -> None:
        identity = self._identity(candidate)
        held = self._winners.get(identity)
        if held is None:
            self._winners[identity] = candidate
            return
        loser = candidate
        if self._beats(candidate, held):
            self._winners[identity], loser = candidate, held
        self._shadowed[loser.source.key, loser.row.line] = self._stored(loser, ())

    def finish(self, images: dict[tuple[str, str], _NewestImages]) -> DatasetRows:
        layout = self.layout
        attachments = [
            (
                layout.names.index(glob(each.match).names[0]),
                images[layout.dataset.name, each.column],
            )
            for each in layout.dataset.attachments
        ]
        derived = [layout.names.index(source) for _, source in layout.derived_dates]
        found = DatasetRows(layout.columns, layout.shadowed_columns, shadowed=self._shadowed)
        while self._winners:  # each is freed as its row is made
            identity, candidate = self._winners.popitem()
            values = candidate.row.values
            joined = (_img_path(values[place], newest) for place, newest in attachments)
            dates = (derived_date(values[place]) for place in derived)
            found.rows[identity] = self._stored(candidate, (*dates, *joined))
        return found

    def _identity(self, candidate: _Candidate) -> tuple[Hashable, ...]:
        if not self._keys:
            return candidate.source.key, candidate.row.line
        values = candidate.row.values
        return tuple(identical(values[place]) for place in self._keys)

    def _stored(self, candidate: _Candidate, more: tuple[object, ...]) -> StoredRow:
        row = candidate.row
        added = row.added or {}
        cells = tuple(added.get(name) for name in self.layout.undeclared)
        values = tuple(map(identical, row.values)) + cells + more
        return StoredRow(values, row.extra, candidate.source.key, row.line)

    def _beats(self, one: _Candidate, other: _Candidate) -> bool:
        """Whether a row wins: by the preferred value, then the newest object, key and line."""
        if self._prefer is not None:
            mine, its = one.row.values[self._prefer], other.row.values[self._prefer]
            if identical(mine) != identical(its):
                return mine is not None and (its is None or _is_greater(mine, its))
        if one.source.key != other.source.key:
            return _is_before(one.source, other.source)
        return one.row.line > other.row.line


def identical(value: object) -> Hashable:
    """The value in a form that is equal for values that are equal in PostgreSQL."""
    if isinstance(value, float) and value != value:  # noqa: PLR0124
        return "NaN"
    return value


def derived_date(value: object) -> date | None:
    """The UTC date of milliseconds since the epoch or of an instant; a date as it is."""
    if isinstance(value, int):
        return utc_date(value)
    return value.date() if isinstance(value, datetime) else value  # type: ignore[return-value]


def _img_path(value: object, newest: _NewestImages) -> str | None:
    image = None if value is None else newest.get(names.join_name(str(value)))
    return None if image is None else f"{image.place.bucket}/{image.place.key}"


def _is_greater(one: Any, other: Any) -> bool:  # noqa: ANN401  # values of one column
    """Whether a value sorts after another; NaN is the greatest, and texts are in byte order."""
    if identical(one) == "NaN" or identical(other) == "NaN":
        return identical(one) == "NaN"
    return bool(one > other)


def _is_before(one: SourceObject, other: SourceObject) -> bool:
    """Whether `one` takes precedence: it is newer or, if equally old, has the smaller key."""
    if one.last_modified != other.last_modified:
        return one.last_modified > other.last_modified
    return one.key.encode() < other.key.encode()
