"""The batches of one bucket that are in flight: sent to Dask workers, awaited, and sent again.

What a batch staged is read from PostgreSQL, not from Dask: it does not matter which attempt of Dask
ended how, once one has committed.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from distributed.scheduler import KilledWorker
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from etl.model.errors import DatabaseUnavailable, SourceError, TransientError
from etl.runtime.logs import get_logger
from etl.sync import batch as batches
from etl.sync.dask.cut_file import CutFile
from etl.sync.dask.pieces import adds_columns
from etl.sync.dask.task import (
    BatchTask,
    PartTask,
    ReadingTask,
    SurveyTask,
    TaskFailed,
    perform,
    pickled,
)
from etl.sync.dask.versions import not_installed, versions
from etl.sync.run_tables import RunTables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from etl.model.values import Change
    from etl.read.csv.ranges import Surveyed
    from etl.settings import Settings
    from etl.storage.client import ObjectStore
    from etl.sync.batch import Batch
    from etl.sync.dask.cluster import DaskCluster
    from etl.sync.dask.task import Task
    from etl.sync.executor import BucketWork
    from etl.sync.run import CurrentRun
    from etl.sync.run_tables import ReadBatch

log = get_logger("etl.dask")

TICK_SECONDS = 1.0
MOST_TRIES = 5  # of a batch whose worker cannot reach the store or the database
PARTS = 8  # that a batch which kills workers is cut into


@dataclass
class _Sent:
    """A task in flight, or one that waits; `file` is the one that it reads a part of."""

    task: Task
    file: CutFile | None = None
    tries: int = 1
    future: Any = None


class Flight:
    """The batches of one bucket that workers read."""

    def __init__(
        self, work: BucketWork, cluster: DaskCluster, settings: Settings, store: ObjectStore
    ) -> None:
        self._run, self._reading, self._cluster = work.run, work.reading, cluster
        self._store = store
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
        self._waiting: deque[_Sent] = deque()
        self._ended: SimpleQueue[tuple[int, Any]] = SimpleQueue()
        self._avoided: set[str] = set()
        self._objects = 0
        self._ticked_at = time.monotonic()

    def __enter__(self) -> Self:
        """The batches, which `__exit__` ends."""
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
            and not adds_columns(sql.dataset)
            and not run.leaves_out(sql.dataset)
            and sql.dataset.name not in run.failures
        ]
        run.successors.prepare_for_run(run.connection, own, run.id)
        self._tables.in_successor |= run.successors.names
        self._tables.create_for(run.connection, own)
        return [sql.dataset.name for sql in own]

    @property
    def is_busy(self) -> bool:
        """Whether batches are in flight, or wait."""
        return bool(self._sent or self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether another batch may be sent: each thread has one, and one that waits."""
        return len(self._sent) <= 2 * self._cluster.threads()

    def send(self, changes: Sequence[Change]) -> None:
        """Have the changes read as one batch."""
        number = next(self._tables.numbers)
        self._launch(number, _Sent(BatchTask(self._of, number, changes)))

    def send_in_parts(self, change: Change) -> None:
        """Have a large file read in parts, or as one batch if it cannot be cut."""
        file = CutFile.of(change, self._reading, self._store)
        if file is None:
            self.send([change])
            return
        for start, end in file.spans:
            task = SurveyTask(self._of, change.source, file.head, start, end)
            self._waiting.append(_Sent(task, file))
        self._send_parts(file)

    def send_waiting(self) -> None:
        """Have the next ranges and parts of files read, while there is room."""
        while self._waiting and self.has_room:
            one = self._waiting.popleft()
            number = one.task.number if isinstance(one.task, PartTask) else None
            self._launch(number or next(self._tables.numbers), one)

    def _launch(self, number: int, one: _Sent) -> None:
        self._sent[number] = one
        self._submit(number)

    def _submit(self, number: int) -> None:
        one = self._sent[number]
        one.future = self._cluster.submit(
            perform, one.task, lambda ended: self._ended.put((number, ended)), self._avoided
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
        if isinstance(one.task, SurveyTask) and future.status == "finished":
            self._surveyed(number, one.task, future.result())
            return
        found = self._tables.find(self._run.connection, number)
        self._run.connection.commit()
        if found is not None:
            yield from self._acknowledged(number, found)
        elif future.status == "error":
            yield from self._failed(number, future.exception())
        elif self._cluster.is_connected:
            self._submit(number)
        else:
            self._send_again()

    def _acknowledged(self, number: int, found: ReadBatch) -> Iterator[Batch | ReadBatch]:
        """What was staged of a batch; of a file in parts, once all of them are."""
        one = self._sent.pop(number)
        self._objects += found.objects
        if one.file is None or not isinstance(one.task, PartTask):
            yield found
        elif one.file.add_part(one.task.place, found):
            completed = one.file.completed(self._reading)
            if completed is None:
                self._read_whole(one.file)
                return
            yield from one.file.staged
            yield completed

    def _surveyed(self, number: int, task: SurveyTask, found: Surveyed | None) -> None:
        """Have the parts of a file read, once all of its ranges are surveyed."""
        file = self._sent.pop(number).file
        if file is None:
            return
        if found is not None:
            file.add_survey(task.start, found)
        if found is None or len(file.parts) == 1:
            self._read_whole(file)
        else:
            self._send_parts(file)

    def _send_parts(self, file: CutFile) -> None:
        source = file.change.source
        for place, part in enumerate(file.parts):
            number = next(self._tables.numbers)
            file.numbers.append(number)
            self._waiting.append(_Sent(PartTask(self._of, number, source, place, part), file))

    def _read_whole(self, file: CutFile) -> None:
        """Discard what was read of a file in parts; have it read by one worker."""
        key = file.change.source.key
        log.warning("reading a file as a whole, which was not read in parts", key=key)
        for number in [number for number, one in self._sent.items() if one.file is file]:
            self._sent.pop(number).future.cancel()
        self._waiting = deque(one for one in self._waiting if one.file is not file)
        if file.numbers:
            dataset = self._reading.dataset_of(key).name
            self._tables.discard(self._run.connection, file.numbers, dataset, key)
        self.send([file.change])

    def _failed(self, number: int, error: BaseException) -> Iterator[Batch | ReadBatch]:
        """Try again elsewhere, or read the parts of a batch that killed its workers.

        Raises:  the error, unless it is one of these.
        """
        one = self._sent[number]
        if isinstance(error, KilledWorker):
            yield from self._killed(number, one)
            return
        if isinstance(error, ImportError):
            raise not_installed("A Dask worker") from error
        if not isinstance(error, TaskFailed):
            raise error
        if one.file is not None and isinstance(error.error, SourceError):
            self._read_whole(one.file)  # it changed, or cannot be read
            return
        if not isinstance(error.error, TransientError):
            raise error.error or RuntimeError(f"Reading failed on {error.worker}: {error.text}")
        log.warning("reading a batch elsewhere", batch=number, reason=error.error.message)
        self._avoided.add(error.worker)
        if one.tries >= MOST_TRIES or self._avoided >= self._cluster.workers:
            raise error.error
        one.tries += 1
        self._submit(number)

    def _killed(self, number: int, one: _Sent) -> Iterator[Batch | ReadBatch]:
        """Read the parts of a batch that killed its workers, unless an attempt has committed."""
        if one.file is not None:
            self._read_whole(one.file)
            return
        found = self._tables.give_up(self._run.connection, number)
        if found is not None:
            yield from self._acknowledged(number, found)
            return
        del self._sent[number]
        if isinstance(one.task, BatchTask):
            yield from self._split(one.task.changes)

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
