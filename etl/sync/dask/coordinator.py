"""How a run has its batches read on Dask workers.

Few batches are in flight at once. What a batch staged is read from PostgreSQL, not from Dask: it
does not matter which attempt of Dask ended how, once one has committed.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from distributed.scheduler import KilledWorker
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from etl.model.dataset import UnknownColumns
from etl.model.errors import DatabaseUnavailable, TransientError
from etl.runtime.logs import get_logger
from etl.sync import batch as batches
from etl.sync import stream
from etl.sync.dask.cluster import DaskCluster
from etl.sync.dask.task import (
    BatchTask,
    ReadingTask,
    TaskFailed,
    pickled,
    read_batch,
)
from etl.sync.dask.versions import not_installed, versions
from etl.sync.run_tables import RunTables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from etl.model.dataset import Dataset
    from etl.model.values import Change
    from etl.settings import Settings
    from etl.storage.client import ObjectStore
    from etl.sync.batch import Batch
    from etl.sync.executor import BucketWork
    from etl.sync.reading import BucketReading
    from etl.sync.run import CurrentRun
    from etl.sync.run_tables import ReadBatch

log = get_logger("etl.dask")

TASK_BATCHES = 8  # of `batch.MAX_BYTES` at most: a task should take a second or so
TICK_SECONDS = 1.0
MOST_TRIES = 5  # of a batch whose worker cannot reach the store or the database
PARTS = 8  # that a batch which kills workers is cut into


class _Piece(NamedTuple):
    """Changes to read together: by this process, or by a worker."""

    changes: list[Change]
    is_local: bool


class ReadingCost(NamedTuple):
    """CPU seconds of reading a bucket: of this process, with the listing, and of workers."""

    here: float = 0.0
    workers: float = 0.0


class DaskWorkers:
    """Has batches read on the workers of DASK_SCHEDULER. A single batch is read here."""

    def __init__(self, settings: Settings, store: ObjectStore) -> None:
        self.cost = ReadingCost()
        self._settings, self._store = settings, store
        self._cluster = DaskCluster(str(settings.dask_scheduler))

    def read(self, work: BucketWork) -> Iterator[Batch | ReadBatch]:
        """As Executor."""
        pieces = _cut(work.changes, work.reading)
        first = list(islice(pieces, 2))
        if len(first) < 2:  # noqa: PLR2004 - nothing to spread
            changes = chain.from_iterable(one.changes for one in first)
            yield from stream.read_changes(self._store, work.reading, changes, work.comparisons)
            return
        self._cluster.connect()
        began, of_workers = time.process_time(), work.run.stats.elsewhere_seconds
        with _Flight(work, self._cluster, self._settings) as flight:
            yield from self._read_elsewhere(work, flight, chain(first, pieces))
        self.cost = ReadingCost(
            time.process_time() - began, work.run.stats.elsewhere_seconds - of_workers
        )
        log.info("read on Dask workers", bucket=work.reading.bucket, **self.cost._asdict())

    def _read_elsewhere(
        self, work: BucketWork, flight: _Flight, pieces: Iterator[_Piece]
    ) -> Iterator[Batch | ReadBatch]:
        """Keep the workers busy until all pieces are read."""
        is_over = False
        while not is_over or flight.is_busy:
            while not is_over and flight.has_room:
                piece = next(pieces, None)
                if piece is None:
                    is_over = True
                elif piece.is_local:
                    changes = iter(piece.changes)
                    yield from stream.read_changes(
                        self._store, work.reading, changes, work.comparisons
                    )
                else:
                    flight.send(piece.changes)
            yield from flight.landed()
        flight.collect()

    def finish(self, run: CurrentRun) -> None:
        """As Executor."""
        if run.successors.run_tables is not None:
            run.connection.rollback()
            run.successors.run_tables.drop(run.connection)

    def close(self) -> None:
        """As Executor."""
        self._cluster.close()


@dataclass
class _Sent:
    """A batch in flight."""

    task: BatchTask
    tries: int = 1
    future: Any = None


class _Flight:
    """The batches of one bucket that workers read."""

    def __init__(self, work: BucketWork, cluster: DaskCluster, settings: Settings) -> None:
        self._run, self._reading, self._cluster = work.run, work.reading, cluster
        self._tables = _tables(work.run)
        self._names = self._create_tables(work, settings.source_bucket)
        self._of = ReadingTask(
            run_id=work.run.id,
            settings=pickled(settings),
            versions=versions(),
            bucket=work.reading.bucket,
            source_bucket=settings.source_bucket,
            datasets=work.known.values,
            added={sql.dataset.name: sql.added for sql in work.known.datasets},
            today=work.reading.today,
            limits=work.reading.limits,
            in_successor=self._tables.in_successor,
        )
        self._sent: dict[int, _Sent] = {}
        self._ended: SimpleQueue[tuple[int, Any]] = SimpleQueue()
        self._avoided: set[str] = set()
        self._objects = 0
        self._ticked_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        """End what is still in flight. What it stages is not collected."""
        if not self._sent:
            return
        for one in self._sent.values():
            if one.future is not None and self._cluster.is_connected:
                one.future.cancel()
        with suppress(DBAPIError):  # the error that ended the run is raised
            self._run.connection.rollback()
            self._tables.end_attempts(self._run.connection)

    def _create_tables(self, work: BucketWork, source_bucket: str) -> list[str]:
        """Create the staging tables of the datasets of this bucket; return their names."""
        run = work.run
        own = [
            sql
            for sql in work.known.datasets
            if (sql.dataset.bucket or source_bucket) == work.reading.bucket
            and not _adds_columns(sql.dataset)
            and not run.leaves_out(sql.dataset)
            and sql.dataset.name not in run.failures
        ]
        run.successors.prepare_for_run(run.connection, own, run.id)
        self._tables.in_successor |= run.successors.names
        self._tables.create_for(run.connection, own)
        return [sql.dataset.name for sql in own]

    @property
    def is_busy(self) -> bool:
        """Whether batches are in flight."""
        return bool(self._sent)

    @property
    def has_room(self) -> bool:
        """Whether another batch may be sent: each thread has one, and one that waits."""
        return len(self._sent) <= 2 * self._cluster.threads()

    def send(self, changes: Sequence[Change]) -> None:
        """Have the changes read as one batch."""
        number = next(self._tables.numbers)
        self._sent[number] = _Sent(BatchTask(self._of, number, changes))
        self._submit(number)

    def _submit(self, number: int) -> None:
        one = self._sent[number]
        one.future = self._cluster.submit(
            read_batch, one.task, lambda ended: self._ended.put((number, ended)), self._avoided
        )

    def landed(self) -> Iterator[Batch | ReadBatch]:
        """Wait for a batch to end, for a second at most; return what was staged."""
        self._tick()
        try:
            number, future = self._ended.get(timeout=TICK_SECONDS if self._sent else 0)
        except Empty:
            return
        one = self._sent.get(number)
        if one is None or one.future is not future:
            return  # of an earlier connection to the scheduler
        found = self._tables.find(self._run.connection, number)
        self._run.connection.commit()
        if found is not None:
            yield self._acknowledged(number, found)
        elif future.status == "error":
            yield from self._failed(number, future.exception())
        elif self._cluster.is_connected:
            self._submit(number)
        else:
            self._send_again()

    def _acknowledged(self, number: int, found: ReadBatch) -> ReadBatch:
        del self._sent[number]
        self._objects += found.objects
        return found

    def _failed(self, number: int, error: BaseException) -> Iterator[Batch | ReadBatch]:
        """Try again elsewhere, or read the parts of a batch that killed its workers.

        Raises:  the error, unless it is one of these.
        """
        one = self._sent[number]
        if isinstance(error, KilledWorker):
            found = self._tables.give_up(self._run.connection, number)
            if found is not None:
                yield self._acknowledged(number, found)
                return
            del self._sent[number]
            yield from self._split(one.task.changes)
            return
        if isinstance(error, ImportError):
            raise not_installed("A Dask worker") from error
        if not isinstance(error, TaskFailed):
            raise error
        if not isinstance(error.error, TransientError):
            raise error.error or RuntimeError(f"Reading failed on {error.worker}: {error.text}")
        log.warning("reading a batch elsewhere", batch=number, reason=error.error.message)
        self._avoided.add(error.worker)
        if one.tries >= MOST_TRIES or self._avoided >= self._cluster.workers:
            raise error.error
        one.tries += 1
        self._submit(number)

    def _split(self, changes: Sequence[Change]) -> Iterator[Batch]:
        """Read the parts of a batch that killed its workers; a single object has a problem."""
        if len(changes) == 1:
            yield self._read_alone(changes[0])
            return
        log.warning("a batch killed its workers; reading its parts", objects=len(changes))
        size = -(-len(changes) // PARTS)
        for start in range(0, len(changes), size):
            self.send(changes[start : start + size])

    def _read_alone(self, change: Change) -> Batch:
        """The batch of an object whose workers were killed; none is at fault that is not read."""
        if not self._reading.is_read(change):
            return batches.check(batches.Fetched([change], {}), self._reading)
        log.warning("an object kills the workers that read it", key=change.source.key)
        return batches.crashed(change.source, self._reading)

    def _send_again(self) -> None:
        """Send all batches in flight again, after the connection to the scheduler was lost.

        Raises:  DaskUnavailable when it does not come back.
        """
        log.warning("lost the Dask scheduler; connecting again", batches=len(self._sent))
        self._cluster.connect()
        for number in self._sent:
            self._submit(number)

    def _tick(self) -> None:
        """Once a second: record progress, and use the connection that holds the run lock.

        Raises:  RunCanceled; DatabaseUnavailable, because a lost lock is never taken again.
        """
        if time.monotonic() - self._ticked_at < TICK_SECONDS:
            return
        self._ticked_at = time.monotonic()
        self._run.connection.execute(text("SELECT 1"))
        self._run.connection.commit()
        self._run.progress.report("read", self._run.stats.staged)
        if self._sent and not self._cluster.is_connected:
            self._send_again()
        self._cluster.threads()

    def collect(self) -> None:
        """Stage the objects of the bucket for the merge; all of its batches are claimed.

        Raises:  DatabaseUnavailable when staging is not what the batches claimed.
        """
        found = self._tables.collect(self._run.connection, self._reading.bucket, self._names)
        if found != self._objects:
            raise DatabaseUnavailable(
                f"Staging holds {found} of the {self._objects} objects read: PostgreSQL was"
                " restarted."
            )


def _tables(run: CurrentRun) -> RunTables:
    """The staging tables of the run, created with its first bucket."""
    if run.successors.run_tables is None:
        run.successors.run_tables = RunTables(run.id)
        run.successors.run_tables.create(run.connection)
    return run.successors.run_tables


def _adds_columns(dataset: Dataset) -> bool:
    """Whether the files of the dataset add columns, in the order in which they are read."""
    return dataset.unknown_columns is UnknownColumns.ADD


def _cut(changes: Iterator[Change], reading: BucketReading) -> Iterator[_Piece]:
    """Cut changes into pieces of at most 5,000 objects and 16 MB of files, or one larger file."""
    piles: dict[bool, list[Change]] = {False: [], True: []}
    sizes = {False: 0, True: 0}
    for change in changes:
        weight = batches.weight(change, reading)
        is_local = reading.is_read(change) and _adds_columns(reading.dataset_of(change.source.key))
        is_full = len(piles[is_local]) >= batches.MAX_OBJECTS
        if piles[is_local] and (
            is_full or sizes[is_local] + weight > TASK_BATCHES * batches.MAX_BYTES
        ):
            yield _Piece(piles[is_local], is_local)
            piles[is_local], sizes[is_local] = [], 0
        piles[is_local].append(change)
        sizes[is_local] += weight
    for is_local, pile in piles.items():
        if pile:
            yield _Piece(pile, is_local)
