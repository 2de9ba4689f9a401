"""Where the batches of a run are read: in threads of this process, or on Dask workers.

Both get the same changes and stage the same rows. Event runs, previews and rebuilds always read in
threads: they are small, or use tables that only their own connection sees.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from etl.db.engine import translating
from etl.model.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.model.values import Change
    from etl.storage.client import ObjectStore
    from etl.sync.batch import Batch
    from etl.sync.declared import Declared
    from etl.sync.reading import BucketReading
    from etl.sync.run import CurrentRun
    from etl.sync.run_tables import ReadBatch
    from etl.sync.unchanged import Comparisons


@dataclass(frozen=True)
class BucketWork:
    """The changes of one bucket that are to be read, as `reading` says."""

    run: CurrentRun
    known: Declared
    reading: BucketReading
    changes: Iterator[Change]
    comparisons: Comparisons


class Executor(Protocol):
    """Reads the changes of buckets in batches."""

    def read(self, work: BucketWork) -> Iterator[Batch | ReadBatch]:
        """The batches read: to be staged by the caller, or staged already.

        Raises:  ObjectStoreUnavailable, ConfigurationError; DaskUnavailable.
        """
        ...

    def finish(self, run: CurrentRun) -> None:
        """Remove what the run left in the database; called once it has ended in any way."""
        ...

    def close(self) -> None:
        """End the connections and processes of this executor."""
        ...


class Threads:
    """Reads batches in threads of this process, each while another is staged."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def read(self, work: BucketWork) -> Iterator[Batch]:
        """As Executor."""
        from etl.sync import stream  # noqa: PLC0415 - pyarrow, which only runs with changes need

        return stream.read_changes(self._store, work.reading, work.changes, work.comparisons)

    def finish(self, run: CurrentRun) -> None:
        """Do nothing: the next run removes what is left."""

    def close(self) -> None:
        """Do nothing."""


@contextmanager
def finishing(executor: Executor, run: CurrentRun) -> Iterator[None]:
    """Remove what a run left in the database when the block ends; the next run removes the rest."""
    try:
        yield
    finally:
        with suppress(DatabaseUnavailable), translating():
            executor.finish(run)
