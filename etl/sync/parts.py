"""Read a part of one large object, whose other parts are read elsewhere.

The rows of a part are staged like those of a batch, without an entry for the manifest. Its problems
and figures are kept until all parts are read, since they depend on each other: only the first 1,000
problems of an object are stored. Then the object is complete, or all of it is discarded and it is
read as a whole.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from etl.model.values import Problem, ProblemCode, Severity, SourceObject
from etl.read.csv import ranges
from etl.read.file_rules import Span
from etl.read.pieces import ObjectPart, ObjectValidator
from etl.read.rows.notices import Notice, Notices
from etl.sync import batch
from etl.sync.batch import Batch
from etl.sync.copy_text import staged_rows
from etl.sync.reading import entry
from etl.sync.stream import PART_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from etl.model.values import Change
    from etl.storage.client import ObjectStore
    from etl.sync.reading import BucketReading


class PartReader:
    """Reads one part of a CSV; `head` are the first lines of the file, until its header."""

    def __init__(
        self, reading: BucketReading, source: SourceObject, head: bytes, part: ranges.Part
    ) -> None:
        self._reading, self._source = reading, source
        self._head, self._part = head, part
        self._dataset = reading.dataset_of(source.key)
        self._validator = ObjectValidator(source, self._dataset, reading.today)
        self._notices = Notices()
        self._problems: list[Problem] = []

    def batches(self, store: ObjectStore) -> Iterator[Batch]:
        """The rows of the part.

        Raises:  ObjectChanged, UnreadableObject; as `batch.fetch`.
        """
        between = self._part.start, self._part.end
        bucket, source = self._reading.bucket, self._source
        with closing(store.fetch_in_parts(bucket, source, PART_BYTES, between)) as contents:
            for extract in ranges.read_part(
                source, self._dataset, self._head, self._part, contents, self._notices
            ):
                found = self._validator.validate(extract)
                self._problems += found.problems
                rows = staged_rows(found.rows, self._dataset)
                yield Batch(bucket, {self._dataset.name: rows} if len(found.rows) else {}, [], [])
        pa.default_memory_pool().release_unused()

    @property
    def found(self) -> ObjectPart:
        """What the part has besides its rows, once all of them are read."""
        return self._validator.part(self._problems, self._notices)


def joined(parts: Iterable[ObjectPart], change: Change, reading: BucketReading) -> Batch | None:
    """The batch that completes an object all parts of which are staged, in their order.

    None if its rows must not be loaded, or there are none.
    """
    source = change.source
    validator = ObjectValidator(source, reading.dataset_of(source.key), reading.today)
    problems, notices = [], Notices()
    for part in parts:
        problems += validator.add_part(part)
        notices.join(0, part.notices)
    if validator.has_too_many_faults or not validator.rows_read:
        return None
    problems += [*notices.problems([source]), *validator.object_problems()]
    staged = entry(change.kind, source, reading, validator.state, validator.figures)
    return Batch(reading.bucket, {}, [staged], problems, batch.datasets_of(problems, reading))


def as_json(part: ObjectPart) -> dict[str, Any]:
    """The part as a value of JSON."""
    day = part.reread_on
    return asdict(part) | {"reread_on": None if day is None else day.isoformat()}


def from_json(found: Mapping[str, Any]) -> ObjectPart:
    """The part of a value from `as_json`."""
    day, span = found["reread_on"], found["span"]
    return ObjectPart(
        **dict(found)
        | {
            "reread_on": None if day is None else date.fromisoformat(day),
            "span": None if span is None else Span(*span),
            "problems": [_problem(one) for one in found["problems"]],
            "more": {ProblemCode(code): count for code, count in found["more"].items()},
            "notices": {ProblemCode(code): Notice(**one) for code, one in found["notices"].items()},
        }
    )


def _problem(found: Mapping[str, Any]) -> Problem:
    code, severity = ProblemCode(found["code"]), Severity(found["severity"])
    return Problem(**dict(found) | {"code": code, "severity": severity})
