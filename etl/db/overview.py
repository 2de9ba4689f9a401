"""The facts of the overview, read from the database in one transaction."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from etl.db import datasets_file
from etl.db.engine import schemas_of
from etl.db.installed import installed
from etl.db.names import Lock, lock_key, scheduler_key
from etl.db.sql import statements
from etl.model.dataset import USERS
from etl.model.errors import ObjectStoreUnavailable
from etl.model.routing import Router
from etl.model.snapshot import (
    ActiveRun,
    DatasetFacts,
    FaultyObject,
    FileFault,
    HoldFacts,
    Outage,
    Part,
    RunFailure,
    Snapshot,
    Step,
)
from etl.model.values import RunOutcome, Trigger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Row

    from etl.model.dataset import Dataset
    from etl.model.errors import EtlError
    from etl.settings import Settings

SHOWN_OBJECTS = 10


def without_database(settings: Settings, error: EtlError) -> Snapshot:
    """What is known while the database does not answer."""
    outage = Outage(Part.DATABASE, error.message, error.hint)
    return Snapshot(datetime.now(UTC), settings.source_bucket, outage=outage)


def read(connection: Connection, settings: Settings, *, store_error: EtlError | None) -> Snapshot:
    """The facts; `store_error` is that of a check of the object store, None if it answered.

    Raises:  DatabaseUnavailable.
    """
    reader = _Reader(connection, settings)
    now = reader.one("now", run=reader.key(Lock.RUN), scheduler=reader.scheduler_key)
    last_commit = reader.value("committed")
    tallies = {row.name: row for row in reader.all("datasets")}
    outage = None if store_error is None else reader.outage(store_error, last_commit)
    full = reader.one("last_full")
    fault = datasets_file.fault(connection)
    return Snapshot(
        now=now.now,
        bucket=settings.source_bucket,
        datasets=reader.datasets(tallies),
        outage=outage,
        has_scheduler=now.has_scheduler,
        is_requested=bool(reader.value("requested")),
        last_full_at=full.ended_at,
        due_at=_due(full, settings),
        settled_at=reader.value("settled"),
        last_commit_at=last_commit,
        running=reader.running() if now.has_run else None,
        failed_run=reader.failed_run(is_store_down=outage is not None),
        failed_datasets=reader.failed_datasets(),
        datasets_file=None if fault is None else FileFault(fault["message"], fault["hint"]),
        unpublished=reader.unpublished(),
        holds=reader.holds(),
        faulty=tuple(map(_faulty, reader.all("faulty", limit=SHOWN_OBJECTS))),
        faulty_count=sum(row.faulty_objects for row in tallies.values()),
    )


def read_schedule(connection: Connection, settings: Settings) -> Snapshot:
    """The facts about the scheduler and the last runs only; the other fields are empty.

    Raises:  DatabaseUnavailable.
    """
    reader = _Reader(connection, settings)
    now = reader.one("now", run=reader.key(Lock.RUN), scheduler=reader.scheduler_key)
    return Snapshot(
        now=now.now,
        bucket=settings.source_bucket,
        has_scheduler=now.has_scheduler,
        due_at=_due(reader.one("last_full"), settings),
        last_commit_at=reader.value("committed"),
        running=reader.running() if now.has_run else None,
    )


def read_dataset(
    connection: Connection,
    settings: Settings,
    facts: DatasetFacts,
    known: Sequence[Dataset],
    *,
    store_error: EtlError | None,
) -> Snapshot:
    """What the line of one dataset needs; `facts` are its totals, `known` the installed datasets.

    Raises:  DatabaseUnavailable.
    """
    reader = _Reader(connection, settings)
    now = reader.one("now", run=reader.key(Lock.RUN), scheduler=reader.scheduler_key)
    last_commit = reader.value("committed")
    waiting_since = reader.waiting(known).get(facts.name)
    return Snapshot(
        now=now.now,
        bucket=settings.source_bucket,
        datasets=(replace(facts, waiting_since=waiting_since),),
        outage=None if store_error is None else reader.outage(store_error, last_commit),
        due_at=_due(reader.one("last_full"), settings),
        last_commit_at=last_commit,
        running=reader.running() if now.has_run else None,
        failed_datasets=reader.failed_datasets(),
        holds=reader.holds(),
    )


class _Reader:
    """Reads the facts over one connection."""

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self._connection = connection
        self._settings = settings
        self._schemas = schemas_of(connection.engine)
        self._statements = statements("overview")

    @property
    def scheduler_key(self) -> int:
        return scheduler_key(self._schemas.state)

    def key(self, lock: Lock) -> int:
        return lock_key(lock, self._schemas.state)

    def all(self, name: str, **values: object) -> Sequence[Row[Any]]:
        return self._connection.execute(text(self._statements[name]), values).all()

    def one(self, name: str, **values: object) -> Row[Any]:
        return self.all(name, **values)[0]

    def first(self, name: str, **values: object) -> Row[Any] | None:
        return next(iter(self.all(name, **values)), None)

    def value(self, name: str, **values: object) -> Any:  # noqa: ANN401 - any type of SQL
        return self.one(name, **values)[0]

    def outage(self, error: EtlError, last_commit: datetime | None) -> Outage:
        since = self.value("store_failing_since", last_commit=last_commit)
        return Outage(Part.OBJECT_STORE, error.message, error.hint, since)

    # -- runs

    def running(self) -> ActiveRun | None:
        row = self.first("running")
        return None if row is None else _active(row)

    def failed_run(self, *, is_store_down: bool) -> RunFailure | None:
        """The run that ended last, if it failed, was not canceled and no outage explains it."""
        last = max(self.all("last_ended"), key=lambda row: row.finished_at, default=None)
        if last is None or last.outcome not in {RunOutcome.FAILED, RunOutcome.INTERRUPTED}:
            return None
        is_explained = is_store_down and last.error["code"] == ObjectStoreUnavailable.__name__
        return None if is_explained else _failure(last)

    def failed_datasets(self) -> tuple[RunFailure, ...]:
        """By run, the datasets that no run has committed since."""
        found: dict[int, RunFailure] = {}
        for row in self._connection.execute(text(statements("status")["failing_datasets"])):
            before = found.get(row.id)
            names = (*before.datasets, row.name) if before else (row.name,)
            found[row.id] = _failure(row, datasets=names)
        return tuple(found.values())

    def unpublished(self) -> RunFailure | None:
        row = self.first("unpublished")
        return None if row is None else _failure(row)

    # -- datasets

    def datasets(self, tallies: Mapping[str, Row[Any]]) -> tuple[DatasetFacts, ...]:
        """Each installed dataset; before the first run, that is `users`."""
        known = [one.dataset for one in installed(self._connection, self._schemas.data)] or [USERS]
        waiting = self.waiting(known)
        return tuple(_facts(one.name, tallies.get(one.name), waiting) for one in known)

    def waiting(self, known: Sequence[Dataset]) -> dict[str, datetime]:
        """By dataset, when its oldest event arrived that no run has handled."""
        router = Router(known, self._settings.source_bucket)
        found: dict[str, datetime] = {}
        for row in self.all("waiting"):
            if row.bucket in router.buckets:
                dataset = router.for_bucket(row.bucket)(row.key).dataset
                if dataset is not None:
                    found.setdefault(dataset.name, row.received_at)
        return found

    def holds(self) -> tuple[HoldFacts, ...]:
        rows = self._connection.execute(text(statements("status")["holds"]))
        return tuple(
            HoldFacts(row.dataset, row.run_id, row.opened_at, row.rows, row.live, row.objects)
            for row in rows
        )


def _active(row: Row[Any]) -> ActiveRun:
    stored = row.progress
    return ActiveRun(
        run_id=row.id,
        trigger=Trigger(row.trigger),
        started_at=row.started_at,
        step=None if stored is None else Step(stored["step"], stored["done"], stored["total"]),
        is_canceled=row.cancel_requested_at is not None,
    )


def _due(full: Row[Any], settings: Settings) -> datetime | None:
    """When the next full run is due, at the latest."""
    if full.any_at is None:
        return None
    due: datetime = (full.tick_at or full.any_at) + settings.etl_interval
    return due if due > full.any_at else full.any_at + settings.etl_interval


def _failure(row: Row[Any], datasets: tuple[str, ...] | None = None) -> RunFailure:
    facts = row.error.get("facts", {})
    names = tuple(_names(facts.get("failed", ""))) if datasets is None else datasets
    return RunFailure(
        run_id=row.id,
        at=row.finished_at,
        message=row.error["message"],
        hint=row.error["hint"],
        datasets=names,
        committed=len(_names(facts.get("committed", ""))),
    )


def _names(text_of_names: str) -> list[str]:
    return text_of_names.split(", ") if text_of_names else []


def _facts(name: str, tally: Row[Any] | None, waiting: Mapping[str, datetime]) -> DatasetFacts:
    since = waiting.get(name)
    if tally is None:
        return DatasetFacts(name, waiting_since=since)
    return DatasetFacts(
        name=name,
        rows=tally.rows,
        objects=tally.objects,
        errors=tally.errors,
        warnings=tally.warnings,
        changed_at=tally.changed_at,
        waiting_since=since,
    )


def _faulty(row: Row[Any]) -> FaultyObject:
    return FaultyObject(
        bucket=row.bucket,
        key=row.key,
        dataset=row.dataset or None,
        codes=tuple(sorted(row.codes.items(), key=lambda one: (-one[1], one[0]))),
        rows_read=row.rows_read,
        rows_rejected=row.rows_rejected,
        is_refused=row.is_refused,
        run_id=row.run_id,
        since=row.since,
    )
