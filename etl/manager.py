"""One run, from the run lock to output.csv: every step by name, in order.

A run is all or nothing. It reads the bucket into staging, merges staging into the tables
in one transaction, and then publishes what is committed. A run that is killed at any
instant leaves the tables as they were, and the next one ends where it would have.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection, Engine, text

from etl import batch, events, load, publish, revisions, runs, stream
from etl.bucket import ObjectStore
from etl.changes import changes
from etl.database import connect_unpooled, run_lock, translating
from etl.errors import ConfigurationError, DatabaseUnavailable, EtlError, ObjectStoreUnavailable
from etl.executor import flat_map_ahead
from etl.keys import is_ignored
from etl.look import look
from etl.model import Change, Counts, RunReport, SourceObject, Trigger

if TYPE_CHECKING:
    from etl.settings import Settings

log = structlog.get_logger("etl.run")

Progress = Callable[[str, int], None]
MANIFEST_CHUNK = 5_000
BATCHES_AHEAD = 1
EVENTS_AT_A_TIME = 10_000


def _silent(_step: str, _done: int) -> None:
    """The progress nobody watches."""


def utc_now() -> datetime:
    """The one clock of a run."""
    return datetime.now(UTC)


@dataclass
class _Tally:
    """What the bucket showed, counted while it streams by."""

    listed: int = 0
    ignored: int = 0
    unchanged: int = 0
    staged: int = 0
    unreadable: int = 0
    vanished: int = 0
    untold: int = 0
    retired_before: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0) + time.perf_counter() - started


class DataManager:
    """Keeps the tables level with the bucket."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: ObjectStore | None = None,
        clock: Callable[[], datetime] = utc_now,
        progress: Progress = _silent,
    ) -> None:
        self._settings = settings
        self._engine: Engine = connect_unpooled(settings)
        self._store = store or ObjectStore(settings)
        self._clock = clock
        self._progress = progress

    def run(
        self, trigger: Trigger, *, allow_mass_retirement: bool = False, wait_seconds: float = 0
    ) -> RunReport:
        """Make one run now.

        Raises:  RunAlreadyActive when another holds the lock after `wait_seconds`;
                 any other EtlError after it was recorded as the run's error.
        """
        with run_lock(self._engine, wait_seconds=wait_seconds) as connection:
            runs.close_interrupted(connection)
            run_id = runs.begin_run(
                connection, trigger, allow_mass_retirement=allow_mass_retirement
            )
            return self._run(connection, run_id, allow_mass_retirement=allow_mass_retirement)

    def run_requested(self, *, wait_seconds: float = 0) -> RunReport | None:
        """Make the run that was asked for, if one was.

        Raises:  as `run`.
        """
        with run_lock(self._engine, wait_seconds=wait_seconds) as connection:
            runs.close_interrupted(connection)
            claimed = runs.claim_run(connection)
            if claimed is None:
                return None
            run_id, _trigger, allow = claimed
            return self._run(connection, run_id, allow_mass_retirement=allow)

    def run_events(self, *, wait_seconds: float = 0) -> RunReport | None:
        """Look at the keys that events wait for, and make a run as soon as one has changed.

        None when nothing waits any more; what had not changed then is handled without a run.

        Raises:  as `run`; what fails before a run began is recorded nowhere.
        """
        with run_lock(self._engine, wait_seconds=wait_seconds) as connection, translating():
            runs.close_interrupted(connection)
            self._check_bucket_is_ours(connection)
            while told := self._waiting(connection):
                tally = _Tally()
                with tally.step("look"):
                    found = list(self._changes_of(connection, told.keys, tally))
                    connection.commit()
                if found:
                    return self._run_told(connection, told, found, tally)
                events.handle(connection, told, events.NO_RUN)
                connection.commit()
        return None

    def _run(
        self, connection: Connection, run_id: int, *, allow_mass_retirement: bool
    ) -> RunReport:
        """Look at the whole bucket: what every trigger but an event asks for."""
        bucket, tally = self._settings.source_bucket, _Tally()
        with self._recording_failure(connection, run_id):
            self._check_bucket_is_ours(connection)
            load.empty_staging(connection)
            began = runs.database_now(connection)
            connection.commit()
            self._stage_changes(connection, self._changes(tally), tally)
            tally.untold = events.untold(connection, bucket=bucket) if tally.staged else 0
            events.handle_listed(connection, bucket=bucket, began=began, run_id=run_id)
            self._merge(connection, run_id, tally, allow_mass_retirement=allow_mass_retirement)
        self._publish(connection, run_id, tally)
        return self._ended(connection, run_id, tally)

    def _run_told(
        self, connection: Connection, told: events.Waiting, found: list[Change], tally: _Tally
    ) -> RunReport:
        """Look at the keys that events named; publication is gathered, not made here."""
        run_id = runs.begin_run(connection, Trigger.EVENT, allow_mass_retirement=False)
        with self._recording_failure(connection, run_id):
            load.empty_staging(connection)
            self._stage_changes(connection, iter(found), tally)
            tally.retired_before = runs.retired_by_events(connection)
            events.handle(connection, told, run_id)
            self._merge(connection, run_id, tally, allow_mass_retirement=False)
        return self._ended(connection, run_id, tally)

    def _ended(self, connection: Connection, run_id: int, tally: _Tally) -> RunReport:
        runs.record_steps(connection, run_id, tally.seconds)
        report = runs.report(connection, run_id)
        connection.commit()
        log.info("run ended", run=run_id, state=report.state, **report.counts.as_dict())
        return report

    @contextmanager
    def _recording_failure(self, connection: Connection, run_id: int) -> Iterator[None]:
        try:
            with translating():
                yield
        except Exception as error:
            facts = error.as_dict() if isinstance(error, EtlError) else _as_bug(error)
            with suppress(DatabaseUnavailable), translating():
                runs.fail_run(connection, run_id, facts)
            raise

    def _check_bucket_is_ours(self, connection: Connection) -> None:
        other = connection.scalar(
            text("SELECT bucket FROM source_object WHERE bucket <> :bucket LIMIT 1"),
            {"bucket": self._settings.source_bucket},
        )
        connection.commit()
        if other is not None:
            raise ConfigurationError(
                f"The tables hold the users of bucket {other!r},"
                f" but SOURCE_BUCKET is {self._settings.source_bucket!r}.",
                hint="Set SOURCE_BUCKET back, or give the other bucket a database of its own.",
            )

    # -- listing and staging

    def _stage_changes(
        self, connection: Connection, found: Iterator[Change], tally: _Tally
    ) -> None:
        """Read what changed in batches, and stage each batch as it comes."""
        bucket, today = self._settings.source_bucket, self._clock().date()

        def read(items: list[Change]) -> Iterator[batch.Batch]:
            return stream.read(self._store, bucket, items, today)

        batches = flat_map_ahead(read, batch.cut(found), BATCHES_AHEAD)
        while True:
            with tally.step("read"):  # listing, fetching and parsing, as far as we waited for it
                done = next(batches, None)
            if done is None:
                return
            with tally.step("stage"):
                load.stage(connection, done)
            tally.staged += len(done.objects)
            tally.unreadable += done.unreadable
            tally.vanished += done.vanished
            self._progress("read", tally.staged)

    def _changes(self, tally: _Tally) -> Iterator[Change]:
        """The changes between listing and manifest; whatever else is seen is only counted."""
        listing = self._store.list_objects(self._settings.source_bucket)
        with self._manifest() as manifest:
            yield from _differing(self._counted(listing, tally), manifest, tally)

    def _changes_of(
        self, connection: Connection, keys: list[str], tally: _Tally
    ) -> Iterator[Change]:
        """The changes among these keys between what the store says they are now and the manifest.

        Nothing that an event says of them is believed.
        """
        bucket = self._settings.source_bucket
        objects_known = runs.objects_listed_last(connection)
        found = look(self._store, bucket, keys, objects_known=objects_known)
        rows = connection.execute(
            text(_MANIFEST.format(condition="key = ANY(CAST(:keys AS text[]))")),
            {"bucket": bucket, "today": self._clock().date(), "keys": keys},
        ).all()
        known = (SourceObject(*row) for row in rows)
        yield from _differing(self._counted(found, tally), known, tally)

    def _waiting(self, connection: Connection) -> events.Waiting | None:
        """The events to look at next; None when there are none."""
        bucket = self._settings.source_bucket
        told = events.waiting(connection, bucket=bucket, limit=EVENTS_AT_A_TIME)
        connection.commit()
        return told if told.ids else None

    def _counted(self, listing: Iterable[SourceObject], tally: _Tally) -> Iterator[SourceObject]:
        """The objects that count; those that do not are only counted."""
        for source in listing:
            tally.listed += 1
            if tally.listed % 1000 == 0:
                self._progress("list", tally.listed)
            if is_ignored(source):
                tally.ignored += 1
            else:
                yield source

    @contextmanager
    def _manifest(self) -> Iterator[Iterator[SourceObject]]:
        """The committed source objects in key order, from a server-side cursor."""
        with translating(), self._engine.connect() as connection:
            rows = connection.execution_options(yield_per=MANIFEST_CHUNK).execute(
                text(_MANIFEST.format(condition="true")),
                {"bucket": self._settings.source_bucket, "today": self._clock().date()},
            )
            yield (SourceObject(*row) for row in rows)

    # -- merge and publication

    def _merge(
        self, connection: Connection, run_id: int, tally: _Tally, *, allow_mass_retirement: bool
    ) -> None:
        """Commit everything the run is to change, in one transaction."""
        with tally.step("merge"):
            if tally.staged or tally.unreadable:
                counts = load.merge(
                    connection,
                    run_id=run_id,
                    bucket=self._settings.source_bucket,
                    staged_objects=tally.staged,
                )
                if not allow_mass_retirement:
                    load.refuse_mass_retirement(counts, tally.retired_before)
            else:
                counts = _nothing_new(runs.last_counts(connection))
            counts = replace(
                counts,
                objects_listed=tally.listed,
                objects_ignored=tally.ignored,
                objects_unchanged=tally.unchanged,
                objects_unreadable=tally.unreadable,
                objects_vanished=tally.vanished,
                found_by_reconcile=tally.untold,
            )
            load.check_objects(counts)
            changed = bool(counts.users_changed)
            if changed:
                revisions.advance(connection, revisions.Noun.USERS)
            runs.succeed_run(connection, run_id, counts, publish_pending=changed)
            connection.commit()

    def _publish(self, connection: Connection, run_id: int, tally: _Tally) -> None:
        """Publish what is committed. A store that is down now costs nothing but time."""
        bucket = self._settings.processed_bucket
        try:
            with tally.step("publish"), translating():
                due = publish.is_due(connection, self._store, bucket)
                connection.commit()
                if due:
                    publish.publish(connection, self._store, bucket, run_id)
        except (ObjectStoreUnavailable, ConfigurationError) as error:
            log.warning("not published yet", run=run_id, reason=error.message, hint=error.advice)
            runs.record_publish_error(connection, run_id, error)


# A date that was in the future has come: what held it is no longer known.
_MANIFEST = (
    "SELECT key, CASE WHEN reread_on <= :today THEN '' ELSE etag END, size, last_modified"
    " FROM source_object WHERE bucket = :bucket AND {condition} ORDER BY key"
)


def _differing(
    present: Iterator[SourceObject], manifest: Iterator[SourceObject], tally: _Tally
) -> Iterator[Change]:
    for change in changes(present, manifest):
        if change is None:
            tally.unchanged += 1
        else:
            yield change


def _nothing_new(before: Counts) -> Counts:
    """The figures of a run that found no change: only the standing ones carry over."""
    return Counts(users_live=before.users_live, users_with_image=before.users_with_image)


def _as_bug(error: Exception) -> dict[str, object]:
    return {
        "code": "Bug",
        "message": f"{type(error).__name__}: {error}"[:1000],
        "hint": "This is a fault of Bucketline: please report it with the log.",
    }
