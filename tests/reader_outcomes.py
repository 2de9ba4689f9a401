"""The results of both readers, that of runs and that of verify, in one form."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from etl.model.dataset import USERS
from etl.model.values import Change, ChangeKind, SourceFile, SourceObject
from etl.sync import batch, stream
from etl.sync.batch import Batch, Fetched
from etl.sync.reading import BucketReading, StagedObject
from etl.verify.expected import Expected
from etl.verify.layout import ObjectColumns
from etl.verify.reader import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from etl.storage.client import ObjectStore

TODAY = date(2024, 2, 29)
READING = BucketReading.of((USERS,), "bucket", TODAY)
NOW = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass
class Outcome:
    """The result of reading one object.

    Shapes:  rows (line, user_id, first_name, last_name, birthts, extra), by line; problems
             (line, code) with their counts; line is None for a problem of the object.
    """

    state: str
    rows_read: int
    rows_rejected: int
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    problems: Counter[tuple[int | None, str]] = field(default_factory=Counter)


def source_of(key: str, content: bytes) -> SourceObject:
    return SourceObject(key, f"etag-{key}", len(content), NOW)


def verify_outcomes(key: str, content: bytes) -> Outcome:
    """The result that verify expects of an object."""
    reading = read(content, ObjectColumns(USERS), key, TODAY)
    expected = Expected(object_problems=Counter(("b", key, code) for code in reading.faults))
    problems: Counter[tuple[int | None, str]] = Counter(reading.rejected)
    problems.update({(None, code): count for code, count in reading.faults.items()})
    return Outcome(
        "quarantined" if expected.quarantined() else "loaded",
        len(reading.rows) + reading.rows_rejected,
        reading.rows_rejected,
        [(row.line, *row.values, row.extra) for row in reading.rows],
        problems,
    )


def run_outcomes(files: Sequence[tuple[str, bytes]]) -> dict[str, Outcome]:
    """The results of a run that reads the objects in one batch."""
    found = [SourceFile(source_of(key, content), content) for key, content in files]
    changes = [Change(ChangeKind.ADDED, file.source) for file in found]
    outcomes = {file.source.key: file for file in found}
    return _outcomes([batch.check(Fetched(changes, outcomes), READING)])


def huge_run_outcome(key: str, content: bytes, cuts: Iterable[int]) -> Outcome:
    """The result of a run that reads an object in parts, larger than `batch.MAX_BYTES`."""
    change = Change(ChangeKind.ADDED, source_of(key, content))
    store = cast("ObjectStore", SplittingStore(content, sorted({0, *cuts, len(content)})))
    return _outcomes(stream.read(store, READING, Fetched([change], {})))[key]


class SplittingStore:
    """A store that returns an object in parts, split at given positions."""

    def __init__(self, content: bytes, cuts: list[int]) -> None:
        self._content = content
        self._cuts = cuts

    def fetch_in_parts(self, *_: object) -> Iterator[bytes]:
        """The parts, each of one byte or more."""
        for start, end in zip(self._cuts, self._cuts[1:], strict=False):
            yield self._content[start:end]


def _outcomes(batches: Iterable[Batch]) -> dict[str, Outcome]:
    """The batches as staging would hold them at the end."""
    rows: list[tuple[Any, ...]] = []
    problems: list[tuple[str, int | None, str]] = []
    objects: list[StagedObject] = []
    for each in batches:
        if each.discards is not None:
            rows = [row for row in rows if row[0] != each.discards.key]
            problems = [problem for problem in problems if problem[0] != each.discards.key]
        rows += staged_rows(each)
        problems += [(problem.key, problem.line, problem.code) for problem in each.problems]
        objects += each.objects
    return {
        staged.key: Outcome(
            staged.state,
            staged.rows_read,
            staged.rows_rejected,
            sorted((row[1:] for row in rows if row[0] == staged.key), key=itemgetter(0)),
            Counter((line, code) for key, line, code in problems if key == staged.key),
        )
        for staged in objects
    }


def staged_rows(done: Batch) -> list[tuple[Any, ...]]:
    """The staged users: key, line, user_id, first_name, last_name, birthts, extra."""
    if not done.rows:
        return []
    ((columns, text),) = done.rows["users"].texts
    found = csv.DictReader(io.StringIO(text.decode(), newline=""), columns)
    return [
        (
            row["_source_key"],
            int(row["_source_line"]),
            row["user_id"],
            row["first_name"],
            row["last_name"],
            int(row["birthts"]),
            json.loads(row["_extra"]) if row["_extra"] else None,
        )
        for row in found
    ]
