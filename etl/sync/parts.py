"""Read a part of one large object, whose other parts are read elsewhere.

The rows of a part are staged like those of a batch, without an entry for the manifest. Its problems
and figures are kept until all parts are read, since they depend on each other: only the first 1,000
problems of an object are stored. Then the object is complete, or all of it is discarded and it is
read as a whole.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from etl.model.values import Problem, ProblemCode, Severity, SourceObject
from etl.read.csv import ranges
from etl.read.file_rules import Span
from etl.read.parquet.reader import read_groups
from etl.read.parquet.row_groups import RowGroups, content_of
from etl.read.pieces import ObjectPart, ObjectValidator
from etl.read.rows.notices import Notice, Notices
from etl.sync import batch
from etl.sync.batch import Batch
from etl.sync.copy_text import staged_rows
from etl.sync.reading import entry
from etl.sync.stream import PART_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping
    from typing import TypeAlias

    from etl.model.dataset import Dataset
    from etl.model.values import Change
    from etl.read.rows.extract import Extract
    from etl.storage.client import ObjectStore
    from etl.sync.reading import BucketReading

    # The bytes of an object from one place to another
    Fetch: TypeAlias = Callable[[int, int], Generator[bytes, None, None]]


class FilePart(Protocol):
    """A part of an object that can be read by itself."""

    def extracts(
        self, source: SourceObject, dataset: Dataset, fetch: Fetch, notices: Notices
    ) -> Generator[Extract, None, None]:
        """The rows of the part. Its warnings about lines are added to `notices`."""
        ...


@dataclass(frozen=True)
class CsvPart:
    """A part of a CSV; `head` are the first lines of the file, until its header."""

    head: bytes
    lines: ranges.LineRange

    def extracts(
        self, source: SourceObject, dataset: Dataset, fetch: Fetch, notices: Notices
    ) -> Generator[Extract, None, None]:
        """As FilePart."""
        with closing(fetch(self.lines.start, self.lines.end)) as contents:
            yield from ranges.read_lines(source, dataset, self.head, self.lines, contents, notices)


@dataclass(frozen=True)
class ParquetPart:
    """Some row groups of a Parquet file."""

    groups: RowGroups

    def extracts(
        self,
        source: SourceObject,
        dataset: Dataset,
        fetch: Fetch,
        notices: Notices,  # noqa: ARG002 - lines of CSVs have them
    ) -> Generator[Extract, None, None]:
        """As FilePart."""
        with content_of(source.size, self.groups, fetch) as content:
            yield from read_groups(source, dataset, self.groups, content)


class PartReader:
    """Reads one part of an object."""

    def __init__(self, reading: BucketReading, source: SourceObject, part: FilePart) -> None:
        self._reading, self._source, self._part = reading, source, part
        self._dataset = reading.dataset_of(source.key)
        self._validator = ObjectValidator(source, self._dataset, reading.today)
        self._notices = Notices()
        self._problems: list[Problem] = []

    def batches(self, store: ObjectStore) -> Generator[Batch, None, None]:
        """The rows of the part.

        Raises:  RefusedObject, ObjectChanged, UnreadableObject; as `batch.fetch`.
        """
        bucket, source, dataset = self._reading.bucket, self._source, self._dataset
        fetch = fetching(store, bucket, source)
        with closing(self._part.extracts(source, dataset, fetch, self._notices)) as extracts:
            for extract in extracts:
                found = self._validator.validate(extract)
                self._problems += found.problems
                rows = staged_rows(found.rows, dataset)
                yield Batch(bucket, {dataset.name: rows} if len(found.rows) else {}, [], [])
        pa.default_memory_pool().release_unused()

    @property
    def found(self) -> ObjectPart:
        """What the part has besides its rows, once all of them are read."""
        return self._validator.part(self._problems, self._notices)


def fetching(store: ObjectStore, bucket: str, source: SourceObject) -> Fetch:
    """Fetches the bytes of this version of an object from one place to another."""
    return lambda start, end: store.fetch_in_parts(bucket, source, PART_BYTES, (start, end))


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
