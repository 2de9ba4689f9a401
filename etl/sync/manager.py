"""One run, from the run lock to output.csv: every step by name, in order.

A run is all or nothing. It reads the bucket into staging, merges staging into the tables
in one transaction, and then publishes what is committed. A run that is killed at any
instant leaves the tables as they were, and the next one ends where it would have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection, Engine, text

from etl.db import events, revisions, runs
from etl.db.engine import connect_unpooled, run_lock, translating
from etl.db.manifest import cuts, known, manifest
from etl.model.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    EtlError,
    ObjectStoreUnavailable,
)
from etl.model.keys import is_ignored
from etl.model.values import Change, Counts, RunReport, Trigger
from etl.storage.client import ObjectStore
from etl.storage.listing import STRETCH_OBJECTS
from etl.sync import merge, publish, staging
from etl.sync.diff import changes, changes_by_page
from etl.sync.probe import confirmed, look
from etl.sync.stats import RunStats

if TYPE_CHECKING:
    from etl.model.values import ListingEntry
    from etl.settings import Settings

log = structlog.get_logger("etl.run")

Progress = Callable[[str, int], None]
EVENTS_AT_A_TIME = 10_000


def _silent(_step: str, _done: int) -> None:
    """The progress nobody watches."""


def utc_now() -> datetime:
    """The one clock of a run."""
    return datetime.now(UTC)


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
            return self._run(
                connection, run_id, trigger, allow_mass_retirement=allow_mass_retirement
            )

    def run_requested(self, *, wait_seconds: float = 0) -> RunReport | None:
        """Make the run that was asked for, if one was.

        Raises:  as `run`.
        """
        with run_lock(self._engine, wait_seconds=wait_seconds) as connection:
            runs.close_interrupted(connection)
            claimed = runs.claim_run(connection)
            if claimed is None:
                return None
            run_id, trigger, allow = claimed
            return self._run(connection, run_id, trigger, allow_mass_retirement=allow)

    def run_events(self, *, wait_seconds: float = 0, refused_too: bool = True) -> RunReport | None:
        """Look once at the keys that events wait for, and make a run if one has changed.

        None when none has, or no event waits; they are handled without a run. Events whose object
        a run could not read are left alone unless they are asked for, `refused_too`.

        Whether more wait then is for the caller to ask: as long as events keep coming, others want
        the run lock too.

        Raises:  as `run`; what fails before a run began is recorded nowhere.
        """
        with run_lock(self._engine, wait_seconds=wait_seconds) as connection, translating():
            runs.close_interrupted(connection)
            self._check_bucket_is_ours(connection)
            told, tally = self._waiting(connection, refused_too=refused_too), RunStats()
            if told is None:
                return None
            with tally.profile.step("look"):
                found = self._changes_of(connection, told.keys, tally)
            if found:
                return self._run_told(connection, told, found, tally)
            events.handle(connection, told, events.NO_RUN)
            connection.commit()
            return None

    def publish_if_due(self, *, wait_seconds: float = 0) -> bool:
        """Publish what event runs left to be gathered, once PUBLISH_INTERVAL is over.

        Whether it did. A store that is down is no failure: the next call tries again.

        Raises:  RunAlreadyActive when a run holds the lock after `wait_seconds`: it publishes.
        """
        with run_lock(self._engine, wait_seconds=wait_seconds) as connection:
            run_id = publish.pending_run(connection)
            connection.commit()
            return run_id is not None and self._publish(connection, run_id, None, RunStats())

    def _run(
        self,
        connection: Connection,
        run_id: int,
        trigger: Trigger,
        *,
        allow_mass_retirement: bool,
    ) -> RunReport:
        """Look at the whole bucket: what every trigger but an event asks for."""
        bucket, tally = self._settings.source_bucket, RunStats()
        with self._recording_failure(connection, run_id):
            self._check_bucket_is_ours(connection)
            staging.empty_staging(connection)
            began = runs.database_now(connection)
            connection.commit()
            self._stage_changes(connection, self._changes(tally), tally)
            tally.untold = events.untold(connection, bucket=bucket) if tally.staged else 0
            tally.retired_before = runs.retired_by_events(connection)
            events.handle_listed(connection, bucket=bucket, began=began, run_id=run_id)
            self._merge(connection, run_id, tally, allow_mass_retirement=allow_mass_retirement)
        return self._ended(connection, run_id, trigger, tally)

    def _run_told(
        self, connection: Connection, told: events.Waiting, found: list[Change], tally: RunStats
    ) -> RunReport:
        """Look at the keys that events named, of which these have changed."""
        run_id = runs.begin_run(connection, Trigger.EVENT, allow_mass_retirement=False)
        with self._recording_failure(connection, run_id):
            staging.empty_staging(connection)
            self._stage_changes(connection, iter(found), tally)
            tally.retired_before = runs.retired_by_events(connection)
            events.handle(connection, told, run_id, refused=tally.unreadable)
            self._merge(connection, run_id, tally, allow_mass_retirement=False)
        return self._ended(connection, run_id, Trigger.EVENT, tally)

    def _ended(
        self, connection: Connection, run_id: int, trigger: Trigger, tally: RunStats
    ) -> RunReport:
        """Publish what is committed, and report."""
        self._publish(connection, run_id, trigger, tally)
        runs.record_steps(connection, run_id, tally.profile.seconds, tally.profile.rows)
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
            text(  # the first and the last of an index, however many there are
                "SELECT bucket FROM (SELECT min(bucket) AS bucket FROM source_object"
                " UNION SELECT max(bucket) FROM source_object) AS held WHERE bucket <> :bucket"
                " LIMIT 1"
            ),
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
        self, connection: Connection, found: Iterator[Change], tally: RunStats
    ) -> None:
        """Find what changed, read it in batches, and stage each batch as it comes."""
        bucket, today = self._settings.source_bucket, self._clock().date()

        coming = tally.profile.each("list", found)
        with tally.profile.step("read"):
            first = next(coming, None)
        if first is None:
            tally.profile.count("list", tally.listed)
            return
        from etl.sync import stage, stream  # pandas: a run without changes needs none

        batches = stream.read_changes(self._store, bucket, chain([first], coming), today)
        while True:
            with tally.profile.step("read"):  # fetching and parsing, as far as we waited for it
                done = next(batches, None)
            if done is None:
                tally.profile.count("list", tally.listed)
                return
            with tally.profile.step("stage"):
                stage.stage(connection, done)
            tally.profile.count("stage", len(done.rows))
            tally.staged += len(done.objects)
            tally.unreadable.update(done.unreadable)
            tally.vanished += done.vanished
            self._progress("read", tally.staged)

    def _changes(self, tally: RunStats) -> Iterator[Change]:
        """The changes between listing and manifest; whatever else is seen is only counted."""
        bucket, today = self._settings.source_bucket, self._clock().date()
        with manifest(self._engine, bucket, today) as committed:
            apart = changes_by_page(self._listing(tally), committed)
            for found in confirmed(self._store, bucket, apart, tally):
                if isinstance(found, int):
                    tally.unchanged += found
                else:
                    yield found

    def _changes_of(self, connection: Connection, keys: list[str], tally: RunStats) -> list[Change]:
        """The changes among these keys between what the store says they are now and the manifest.

        Nothing that an event says of them is believed.
        """
        bucket, today = self._settings.source_bucket, self._clock().date()
        objects_known = runs.objects_listed_last(connection)
        there = look(self._store, bucket, keys, objects_known=objects_known)
        committed = known(connection, bucket, keys, today)
        connection.commit()
        counting = [source for source in there if not is_ignored(source)]
        found = list(changes(counting, committed))
        tally.listed, tally.ignored = len(there), len(there) - len(counting)
        tally.unchanged = found.count(None)
        return [change for change in found if change is not None]

    def _waiting(self, connection: Connection, *, refused_too: bool) -> events.Waiting | None:
        """The events to look at next; None when there are none."""
        bucket = self._settings.source_bucket
        told = events.waiting(
            connection, bucket=bucket, limit=EVENTS_AT_A_TIME, refused_too=refused_too
        )
        connection.commit()
        return told if told.ids else None

    def _listing(self, tally: RunStats) -> Iterator[list[ListingEntry]]:
        for page in self._store.list_pages(self._settings.source_bucket, self._cuts()):
            tally.listed += len(page.rows) + page.ignored
            tally.ignored += page.ignored
            self._progress("list", tally.listed)
            yield page.rows

    def _cuts(self) -> list[str]:
        """Where the listing is cut into stretches, if several are to be listed at once."""
        if self._settings.list_concurrency == 1:
            return []
        return cuts(self._engine, self._settings.source_bucket, STRETCH_OBJECTS)

    # -- merge and publication

    def _merge(
        self, connection: Connection, run_id: int, tally: RunStats, *, allow_mass_retirement: bool
    ) -> None:
        """Commit everything the run is to change, in one transaction."""
        with tally.profile.step("merge"):
            before = runs.last_counts(connection)
            has_images = staging.holds_images(connection)  # the merge empties staging
            if tally.staged or tally.unreadable:
                counts = merge.merge(
                    connection,
                    run_id=run_id,
                    bucket=self._settings.source_bucket,
                    staged_objects=tally.staged,
                    before=before,
                    allow_mass_retirement=allow_mass_retirement,
                    retired_before=tally.retired_before,
                )
            else:
                counts = _nothing_new(before)
            counts = replace(
                counts,
                objects_listed=tally.listed,
                objects_ignored=tally.ignored,
                objects_unchanged=tally.unchanged,
                objects_unreadable=len(tally.unreadable),
                objects_vanished=tally.vanished,
                found_by_reconcile=tally.untold,
            )
            merge.check_objects(counts)
            tally.profile.count("read", counts.rows_read)
            tally.profile.count("merge", counts.rows_read - counts.rows_rejected)
            changed = bool(counts.users_changed)
            if changed:
                revisions.advance(connection, revisions.Resource.USERS)
            if has_images:  # a replaced picture waits again, and changes no user
                revisions.advance(connection, revisions.Resource.IMAGES)
            runs.succeed_run(connection, run_id, counts, publish_pending=changed)
            connection.commit()

    def _publish(
        self, connection: Connection, run_id: int, trigger: Trigger | None, tally: RunStats
    ) -> bool:
        """Publish what is committed, if it is time. A store that is down costs nothing but time."""
        bucket, names = self._settings.processed_bucket, list[str]()
        try:
            with tally.profile.step("publish"), translating():
                if self._is_time_to_publish(connection, trigger):
                    outputs = publish.outputs(self._settings)
                    publish.withdraw(connection, self._store, bucket, outputs)
                    names = self._to_publish(connection, outputs)
                if names:
                    publish.publish(connection, self._store, bucket, run_id, names)
                    publish.settle(connection, run_id)
                    users = runs.last_counts(connection).users_live
                    tally.profile.count("publish", users * len(names))
        except DatabaseUnavailable:
            raise
        except (ObjectStoreUnavailable, ConfigurationError) as error:
            log.warning("not published yet", run=run_id, reason=error.message, hint=error.hint)
            runs.record_publish_error(connection, run_id, error)
            return False
        return bool(names)

    def _is_time_to_publish(self, connection: Connection, trigger: Trigger | None) -> bool:
        since = publish.since_last(connection)
        connection.commit()
        return publish.is_time(trigger, since, self._settings.publish_interval)

    def _to_publish(self, connection: Connection, outputs: list[str]) -> list[str]:
        """What is to be put now: all of it behind a change, else what got lost."""
        is_pending = publish.pending_run(connection) is not None
        connection.commit()
        if is_pending:
            return outputs
        lost = publish.lost(connection, self._store, self._settings.processed_bucket, outputs)
        connection.commit()
        return lost


def _nothing_new(before: Counts) -> Counts:
    """The figures of a run that found no change: only the standing ones carry over."""
    return Counts(users_live=before.users_live, users_with_image=before.users_with_image)


def _as_bug(error: Exception) -> dict[str, object]:
    """Its name alone: what it says may hold addresses, statements and data."""
    return {
        "code": "Bug",
        "message": f"{type(error).__name__}; what it says is in the log.",
        "hint": "This is a fault of Bucketline: please report it with the log.",
    }
