"""Compute the expected state from files and images: users, shadowed rows, problems, joins."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from etl.model.values import ObjectKind, ProblemCode, SourceObject
from etl.verify import names
from etl.verify.reader import Row, read

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date


# An object with one of these problems is still loaded.
_WARNINGS = frozenset(
    {
        ProblemCode.EPOCH_SECONDS,
        ProblemCode.GUESSED_ENCODING,
        ProblemCode.MISSING_TRAILING_CELLS,
        ProblemCode.MORE_PROBLEMS,
        ProblemCode.NO_ROWS,
        ProblemCode.REPEATED_HEADER,
    }
)


@dataclass(frozen=True, slots=True)
class ExpectedUser:
    """An expected row of `users`; `birthts` is in milliseconds UTC."""

    first_name: str
    last_name: str
    birthts: int
    img_path: str | None
    extra: dict[str, str] | None
    source_key: str
    source_line: int


@dataclass(frozen=True)
class Expected:
    """The state of the tables that follows from the bucket.

    Shapes:  users by user_id; shadowed (key, line, user_id); rejected (key, line, code), as often
             as a row has a fault that is listed; rows_rejected by key, if any; object_problems
             (key, code), including warnings.
    """

    users: dict[str, ExpectedUser] = field(default_factory=dict)
    shadowed: set[tuple[str, int, str]] = field(default_factory=set)
    rejected: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    rows_rejected: dict[str, int] = field(default_factory=dict)
    object_problems: set[tuple[str, str]] = field(default_factory=set)

    def quarantined(self) -> set[str]:
        """Return the keys of quarantined objects."""
        return {key for key, code in self.object_problems if code not in _WARNINGS}


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A valid row and its object: a candidate for the row of its user."""

    row: Row
    source: SourceObject

    def beats(self, other: _Candidate) -> bool:
        """Whether this row wins: the newest object, then the smallest key, then the last line."""
        if self.source.key != other.source.key:
            return _is_before(self.source, other.source)
        return self.row.line > other.row.line

    def as_user(self, img_path: str | None) -> ExpectedUser:
        return ExpectedUser(
            self.row.first_name,
            self.row.last_name,
            self.row.birthts,
            img_path,
            self.row.extra,
            self.source.key,
            self.row.line,
        )

    def as_shadowed(self) -> tuple[str, int, str]:
        return self.source.key, self.row.line, self.row.user_id


def _is_before(one: SourceObject, other: SourceObject) -> bool:
    """Whether `one` takes precedence: it is newer or, if equally old, has the smaller key."""
    if one.last_modified != other.last_modified:
        return one.last_modified > other.last_modified
    return one.key.encode() < other.key.encode()


def expect(
    files: Iterable[tuple[SourceObject, bytes]],
    images: Iterable[SourceObject],
    bucket: str,
    today: date,
) -> Expected:
    """Compute the expected state for a bucket with these objects.

    `files` are the CSVs with their bytes, consumed one at a time. `images` are all other objects,
    which are not opened. Ignored keys are skipped in both.
    """
    unopened = [source for source in images if not names.is_ignored(source)]
    expected = Expected(object_problems=_unsupported(unopened))
    winners: dict[str, _Candidate] = {}
    for source, content in files:
        if not names.is_ignored(source):
            _read_file(source, content, today, expected, winners)
    newest = _newest_images(unopened)
    for user_id, candidate in winners.items():
        image = newest.get(names.join_name(user_id))
        img_path = None if image is None else f"{bucket}/{image.key}"
        expected.users[user_id] = candidate.as_user(img_path)
    return expected


def add_refused(expected: Expected, keys: Iterable[str]) -> Expected:
    """Add the objects to which the store denied access."""
    refused = {(key, ProblemCode.ACCESS_REFUSED.value) for key in keys}
    return replace(expected, object_problems=expected.object_problems | refused)


def _read_file(
    source: SourceObject,
    content: bytes,
    today: date,
    expected: Expected,
    winners: dict[str, _Candidate],
) -> None:
    reading = read(content, names.user_id(source.key), today)
    expected.object_problems.update((source.key, fault) for fault in reading.faults)
    expected.rejected.update((source.key, line, code) for line, code in reading.rejected)
    if reading.rows_rejected:
        expected.rows_rejected[source.key] = reading.rows_rejected
    for row in reading.rows:
        _contend(_Candidate(row, source), expected, winners)


def _contend(candidate: _Candidate, expected: Expected, winners: dict[str, _Candidate]) -> None:
    held = winners.get(candidate.row.user_id)
    if held is None:
        winners[candidate.row.user_id] = candidate
    elif candidate.beats(held):
        winners[candidate.row.user_id] = candidate
        expected.shadowed.add(held.as_shadowed())
    else:
        expected.shadowed.add(candidate.as_shadowed())


def _unsupported(sources: Iterable[SourceObject]) -> set[tuple[str, str]]:
    return {
        (source.key, ProblemCode.UNSUPPORTED_TYPE.value)
        for source in sources
        if names.kind(source.key) is ObjectKind.OTHER
    }


def _newest_images(sources: Iterable[SourceObject]) -> dict[str, SourceObject]:
    """Choose the newest image for each join name."""
    newest: dict[str, SourceObject] = {}
    for source in sources:
        if names.kind(source.key) is not ObjectKind.IMAGE:
            continue
        name = names.join_name(names.user_id(source.key))
        held = newest.get(name)
        if held is None or _is_before(source, held):
            newest[name] = source
    return newest
