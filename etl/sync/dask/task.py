"""What a Dask worker does: read one batch of changes, or a part of a file, and stage it.

Each is staged in one transaction.

A task carries all that it needs, so a worker needs only the object store and PostgreSQL. Dask logs
and shows its `repr`, which names the batch and nothing else.
"""

from __future__ import annotations

import pickle
import time
import traceback
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from distributed import get_worker

from etl.db.engine import connect, translating
from etl.model.errors import EtlError
from etl.model.routing import Router
from etl.read.csv import ranges
from etl.read.rows.layout import AddedColumns
from etl.runtime.pools import flat_map_ahead
from etl.storage.client import ObjectStore
from etl.sync import stage, stream
from etl.sync.dask.versions import check_versions, versions
from etl.sync.parts import PartReader, as_json, fetching
from etl.sync.reading import BucketReading
from etl.sync.run_tables import ReadBatch, RunTables

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from datetime import date

    from sqlalchemy import Engine

    from etl.model.dataset import Dataset
    from etl.model.values import Change, SourceObject
    from etl.read.limits import ExpansionLimits
    from etl.settings import Settings
    from etl.sync.batch import Batch
    from etl.sync.parts import FilePart

MOST_TEXT = 4_000  # characters of a bug's traceback
_SETTINGS_KEPT = 4  # of different installations that use the same workers
# Secrets that workers do not need.
_LEFT_OUT = ("api_keys", "webhook_token", "alert_url", "alert_secret", "kafka_sasl_password")


@dataclass(frozen=True, repr=False)
class ReadingTask:
    """How to read the batches of one bucket in one run; `versions` are those of the run."""

    run_id: int
    settings: bytes
    versions: Mapping[str, str]
    bucket: str
    source_bucket: str
    datasets: Sequence[Dataset]
    added: Mapping[str, Sequence[str]]
    today: date
    limits: ExpansionLimits
    in_successor: frozenset[str]

    def __repr__(self) -> str:
        """The run; not its settings."""
        return f"<run {self.run_id}>"

    def reading(self) -> BucketReading:
        """The reading of the bucket's objects, as the run has it."""
        route = Router(self.datasets, self.source_bucket).for_bucket(self.bucket)
        added = {one.name: AddedColumns(self.added.get(one.name, ())) for one in self.datasets}
        return BucketReading(self.bucket, route, self.today, added, self.limits)


@dataclass(frozen=True, repr=False)
class BatchTask:
    """One batch to read: its number in the run, and its changes."""

    of: ReadingTask
    number: int
    changes: Sequence[Change]

    def __repr__(self) -> str:
        """The batch; not its keys."""
        return f"<batch {self.number} of run {self.of.run_id}: {len(self.changes)} objects>"

    def perform(self) -> ReadBatch:
        """Fetch, check and stage the batch, unless another attempt has.

        Raises:  LookupError when the run has given the batch up; as `stream.read_changes`.
        """
        reading = self.of.reading()
        return _staged(
            self.of,
            self.number,
            lambda store: stream.read_changes(store, reading, iter(self.changes)),
        )


@dataclass(frozen=True, repr=False)
class SurveyTask:
    """A range of a large CSV to survey; `head` are the first lines of the file."""

    of: ReadingTask
    source: SourceObject
    head: bytes
    start: int
    end: int

    def __repr__(self) -> str:
        """The run; not the key."""
        return f"<survey for run {self.of.run_id}: {self.end - self.start} bytes>"

    def perform(self) -> ranges.Surveyed | None:
        """Survey the range; None if the file cannot be cut.

        Raises:  ObjectChanged, UnreadableObject; as `batch.fetch`.
        """
        dataset = self.of.reading().dataset_of(self.source.key)
        head = ranges.read_head(self.source, dataset, self.head)
        if head is None:
            return None
        _, store = _services(self.of.settings)
        fetch = fetching(store, self.of.bucket, self.source)
        content = b"".join(fetch(max(self.start - 1, 0), self.end))
        return ranges.survey(content, head.header, is_first=self.start == 0)


@dataclass(frozen=True, repr=False)
class PartTask:
    """A part of a large file to read: its number among the batches of the run, and its place."""

    of: ReadingTask
    number: int
    source: SourceObject
    place: int
    part: FilePart

    def __repr__(self) -> str:
        """The part; not the key."""
        return f"<part {self.number} of run {self.of.run_id}>"

    def perform(self) -> ReadBatch:
        """Fetch, check and stage the part, unless another attempt has.

        Raises:  LookupError when the run has given the part up; as `PartReader.batches`.
        """
        reader = PartReader(self.of.reading(), self.source, self.part)
        return _staged(
            self.of,
            self.number,
            lambda store: flat_map_ahead(reader.batches, [store], stream.BATCHES_AHEAD),
            lambda: as_json(reader.found),
        )


class TaskFailed(Exception):
    """A batch that a worker could not read: with the expected `error`, or the text of a bug.

    Dask's client never learns of an exception whose traceback it cannot unpickle, so this has none
    of the original one.
    """

    def __init__(self, worker: str, error: EtlError | None, text: str) -> None:
        super().__init__(worker, error, text)
        self.worker, self.error, self.text = worker, error, text


def pickled(settings: Settings) -> bytes:
    """The settings, without the secrets that workers do not need."""
    return pickle.dumps(settings.model_copy(update=dict.fromkeys(_LEFT_OUT)))


Task: TypeAlias = BatchTask | SurveyTask | PartTask


def perform(task: Task) -> ReadBatch | ranges.Surveyed | None:
    """Perform the task on a worker; return what was staged or found.

    Raises:  TaskFailed.
    """
    worker = get_worker().address
    try:
        check_versions(task.of.versions, versions(), "The Dask worker", worker)
        return task.perform()
    except EtlError as error:
        failed = TaskFailed(worker, error, "")
    except Exception:  # noqa: BLE001 - the run raises it
        failed = TaskFailed(worker, None, traceback.format_exc()[-MOST_TEXT:])
    raise failed


def _staged(
    of: ReadingTask,
    number: int,
    read: Callable[[ObjectStore], Generator[Batch, None, None]],
    part: Callable[[], Mapping[str, Any]] | None = None,
) -> ReadBatch:
    """Stage what is read in one transaction, unless another attempt has; return what was staged."""
    engine, store = _services(of.settings)
    tables = RunTables(of.run_id, of.in_successor)
    with translating(), engine.connect() as connection:
        known = tables.begin_attempt(connection, number)
        if known is not None:
            return known
        began = time.process_time()
        found = ReadBatch()
        with closing(read(store)) as batches:
            for batch in batches:
                found = found.with_more(batch, stage.write(connection, batch, tables.staging))
        found = replace(
            found,
            cpu_seconds=time.process_time() - began,
            part=None if part is None else part(),
        )
        return tables.end_attempt(connection, number, found)


@lru_cache(_SETTINGS_KEPT)
def _services(settings: bytes) -> tuple[Engine, ObjectStore]:
    """The database and the store of these settings, kept for the next batch."""
    own: Settings = pickle.loads(settings)  # noqa: S301 - Dask itself sends pickles
    return connect(own), ObjectStore(own)
