"""How a run has its batches read on Dask workers; few of them are in flight at once."""

from __future__ import annotations

import time
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from etl.runtime.logs import get_logger
from etl.sync import stream
from etl.sync.dask.cluster import DaskCluster
from etl.sync.dask.flight import Flight
from etl.sync.dask.pieces import Piece, ReadingPlace, cut, is_for_workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.settings import Settings
    from etl.storage.client import ObjectStore
    from etl.sync.batch import Batch
    from etl.sync.executor import BucketWork
    from etl.sync.run import CurrentRun
    from etl.sync.run_tables import ReadBatch

log = get_logger("etl.dask")


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
        pieces = cut(work.changes, work.reading)
        first = list(islice(pieces, 2))
        if not is_for_workers(first):
            changes = chain.from_iterable(one.changes for one in first)
            yield from stream.read_changes(self._store, work.reading, changes, work.comparisons)
            return
        self._cluster.connect()
        began, of_workers = time.process_time(), work.run.stats.elsewhere_seconds
        with Flight(work, self._cluster, self._settings, self._store) as flight:
            yield from self._read_elsewhere(work, flight, chain(first, pieces))
        self.cost = ReadingCost(
            time.process_time() - began, work.run.stats.elsewhere_seconds - of_workers
        )
        log.info("read on Dask workers", bucket=work.reading.bucket, **self.cost._asdict())

    def _read_elsewhere(
        self, work: BucketWork, flight: Flight, pieces: Iterator[Piece]
    ) -> Iterator[Batch | ReadBatch]:
        """Keep the workers busy until all pieces are read."""
        is_over = False
        while not is_over or flight.is_busy:
            flight.send_waiting()
            while not is_over and flight.has_room:
                piece = next(pieces, None)
                if piece is None:
                    is_over = True
                elif piece.place is ReadingPlace.HERE:
                    changes = iter(piece.changes)
                    yield from stream.read_changes(
                        self._store, work.reading, changes, work.comparisons
                    )
                elif piece.place is ReadingPlace.WORKERS:
                    flight.send_in_parts(piece.changes[0])
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
