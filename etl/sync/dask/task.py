"""What a Dask worker does: read one batch of changes, and stage it in one transaction.

A task carries all that it needs, so a worker needs only the object store and PostgreSQL. Dask logs
and shows its `repr`, which names the batch and nothing else.
"""

from __future__ import annotations

import pickle
import time
import traceback
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from distributed import get_worker

from etl.db.engine import connect, translating
from etl.model.errors import EtlError
from etl.model.routing import Router
from etl.read.rows.layout import AddedColumns
from etl.storage.client import ObjectStore
from etl.sync import stage, stream
from etl.sync.dask.versions import check_versions, versions
from etl.sync.reading import BucketReading
from etl.sync.run_tables import ReadBatch, RunTables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from sqlalchemy import Engine

    from etl.model.dataset import Dataset
    from etl.model.values import Change
    from etl.read.limits import ExpansionLimits
    from etl.settings import Settings

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


def read_batch(task: BatchTask) -> ReadBatch:
    """Fetch, check and stage the batch, unless another attempt has; return what was staged.

    Raises:  TaskFailed.
    """
    worker = get_worker().address
    try:
        check_versions(task.of.versions, versions(), "The Dask worker", worker)
        return _read(task)
    except EtlError as error:
        failed = TaskFailed(worker, error, "")
    except Exception:  # noqa: BLE001 - the run raises it
        failed = TaskFailed(worker, None, traceback.format_exc()[-MOST_TEXT:])
    raise failed


def _read(task: BatchTask) -> ReadBatch:
    """As `read_batch`.

    Raises:  LookupError when the run has given the batch up; as `stream.read_changes`.
    """
    engine, store = _services(task.of.settings)
    tables = RunTables(task.of.run_id, task.of.in_successor)
    with translating(), engine.connect() as connection:
        known = tables.begin_attempt(connection, task.number)
        if known is not None:
            return known
        began = time.process_time()
        found = ReadBatch()
        for batch in stream.read_changes(store, task.of.reading(), iter(task.changes)):
            found = found.with_more(batch, stage.write(connection, batch, tables.staging))
        found = replace(found, cpu_seconds=time.process_time() - began)
        return tables.end_attempt(connection, task.number, found)


@lru_cache(_SETTINGS_KEPT)
def _services(settings: bytes) -> tuple[Engine, ObjectStore]:
    """The database and the store of these settings, kept for the next batch."""
    own: Settings = pickle.loads(settings)  # noqa: S301 - Dask itself sends pickles
    return connect(own), ObjectStore(own)
