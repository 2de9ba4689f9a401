"""One run: list, diff, read, stage, merge, publish.

A run is atomic. It reads changed objects into staging, merges staging into the tables in one
transaction, and then publishes the committed rows. A run that is killed leaves the tables as
they were, and the next run completes the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection, Engine, text

from etl.db import events, revisions, runs
from etl.db.dataset_sql import DatasetSql
from etl.db.engine import connect_unpooled, run_lock, schemas_of, translating
from etl.db.manifest import known, manifest, split_points
from etl.model.dataset import USERS, Dataset
from etl.model.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    EtlError,
    ObjectStoreUnavailable,
)
from etl.model.keys import is_ignored
from etl.model.values import Change, RunReport, Trigger
from etl.storage.client import ObjectStore
from etl.storage.listing import RANGE_OBJECTS
from etl.sync import publish, staging_tables
from etl.sync.diff import changes, changes_by_page
from etl.sync.merge import THRESHOLDS, Thresholds
from etl.sync.merge_run import Merged, check_objects, merge_all, summed, totals
from etl.sync.probe import confirm_removals, stat_keys
from etl.sync.run import CurrentRun
from etl.sync.stats import RunStats

if TYPE_CHECKING:
    from etl.model.values import ListingEntry
    from etl.settings import Settings
    from etl.sync.batch import Batch

log = structlog.get_logger("etl.run")

Progress = Callable[[str, int], None]
EVENTS_PER_RUN = 10_000


def _no_progress(_step: str, _done: int) -> None:
    """Discard the progress."""


def utc_now() -> datetime:
    """The current time; the default clock of runs."""
    return datetime.now(UTC)


class DataManager:
    """Syncs the tables with the bucket."""

    def __init__(  # noqa: PLR0913 - tests replace each
        self,
        settings: Settings,
        *,
        store: ObjectStore | None = None,
        clock: Callable[[], datetime] = utc_now,
        progress: Progress = _no_progress,
        range_objects: int = RANGE_OBJECTS,
        events_per_run: int = EVENTS_PER_RUN,
        thresholds: Thresholds = THRESHOLDS,
        datasets: tuple[Dataset, ...] = (USERS,),
    ) -> None:
        self._settings = settings
        self._bucket = settings.source_bucket
        self._engine: Engine = connect_unpooled(settings)
        self._store = store or ObjectStore(settings)
        self._clock = clock
        self._progress = progress
        self._range_objects = range_objects
        self._events_per_run = events_per_run
        self._thresholds = thresholds
        data = schemas_of(self._engine).data
        self._datasets = [DatasetSql(dataset, data) for dataset in datasets]

    def run(
        self,
        trigger: Trigger,
        *,
        allowed_retirements: runs.Allowed | None = None,
        wait_seconds: float = 0,
    ) -> RunReport:
        """Make a full run now. It may retire as many rows by dataset as are allowed.

        Raises:  RunAlreadyActive when another run holds the lock after `wait_seconds`;
                 any other EtlError after it was recorded as the run's error.
        """
        with run_lock(self._engine, wait_seconds=wait_seconds) as connection:
            runs.close_interrupted(connection)
            allowed = allowed_retirements or {}
            run_id = runs.begin_run(connection, trigger, allowed_retirements=allowed)
            return self._run_full(
                CurrentRun(run_id, trigger, connection, allowed_retirements=allowed)
            )

    def run_requested(self, *, wait_seconds: float = 0) -> RunReport | None:
        """Make the requested full run; None if none is requested.

        Raises:  as `run`.
        """
        with run_lock(self._engine, wait_seconds=wait_seconds) as connection:
            runs.close_interrupted(connection)
            claimed = runs.claim_run(connection)
            if claimed is None:
                return None
            run_id, trigger, allowed = claimed
            return self._run_full(
                CurrentRun(run_id, trigger, connection, allowed_retirements=allowed)
            )

    def run_events(
        self, *, wait_seconds: float = 0, include_refused: bool = True
    ) -> RunReport | None:
        """Check the keys of pending events once, and make a run if an object changed.

        Returns None if no event is pending or no object changed; the events are then handled
        without a run. `include_refused` includes events whose object an earlier run could not read.
        The caller checks whether more events are pending, so that other runs can take the lock.

        Raises:  as `run`; an error before the run began is not recorded.
        """
        with run_lock(self._engine, wait_seconds=wait_seconds) as connection, translating():
            runs.close_interrupted(connection)
            self._check_bucket_is_ours(connection)
            pending = self._pending_events(connection, include_refused=include_refused)
            if not pending.ids:
                return None
            stats = RunStats()
            with stats.profile.step("look"):  # the name in `step_seconds`
                changed = self._changes_of(connection, pending.keys, stats)
            if not changed:
                events.handle(connection, pending, events.NO_RUN)
                connection.commit()
                return None
            run_id = runs.begin_run(connection, Trigger.EVENT)
            return self._run_for_events(
                CurrentRun(run_id, Trigger.EVENT, connection, stats), pending, changed
            )

    def publish_if_due(self, *, wait_seconds: float = 0) -> bool:
        """Publish the changes of event runs if PUBLISH_INTERVAL has passed; return whether it did.

        If the store is unavailable, it returns False and the next call tries again.

        Raises:  RunAlreadyActive when a run, which publishes, holds the lock after `wait_seconds`.
        """
        with run_lock(self._engine, wait_seconds=wait_seconds) as connection:
            run_id = publish.pending_run(connection)
            connection.commit()
            return run_id is not None and self._publish(CurrentRun(run_id, None, connection))

    # -- the two kinds of run

    def _run_full(self, run: CurrentRun) -> RunReport:
        """Sync the whole bucket. List, diff and read are generators that `_stage` consumes."""
        with self._recording_failure(run):
            self._check_bucket_is_ours(run.connection)
            began = self._begin_listing(run)
            listed = self._list(run)
            changed = self._diff(run, listed)
            batches = self._read(run, changed)
            self._stage(run, batches)
            self._handle_listed_events(run, began)
            self._merge(run)
        self._publish(run)
        return self._finish(run)

    def _run_for_events(
        self, run: CurrentRun, pending: events.PendingEvents, changed: list[Change]
    ) -> RunReport:
        """Sync the changed objects among the keys of the pending events."""
        with self._recording_failure(run):
            staging_tables.empty_staging(run.connection, self._datasets)
            batches = self._read(run, changed)
            self._stage(run, batches)
            events.handle(run.connection, pending, run.id, refused=run.stats.unreadable)
            self._merge(run)
        self._publish(run)
        return self._finish(run)

    @contextmanager
    def _recording_failure(self, run: CurrentRun) -> Iterator[None]:
        try:
            with translating():
                yield
        except Exception as error:
            recorded = error.as_dict() if isinstance(error, EtlError) else _as_bug(error)
            with suppress(DatabaseUnavailable), translating():
                runs.fail_run(run.connection, run.id, recorded)
            raise

    def _check_bucket_is_ours(self, connection: Connection) -> None:
        other = connection.scalar(
            text(  # the first and the last index entry, in constant time
                "SELECT bucket FROM (SELECT min(bucket) AS bucket FROM source_object"
                " UNION SELECT max(bucket) FROM source_object) AS stored WHERE bucket <> :bucket"
                " LIMIT 1"
            ),
            {"bucket": self._bucket},
        )
        connection.commit()
        if other is not None:
            raise ConfigurationError(
                f"The tables contain the users of bucket {other!r},"
                f" but SOURCE_BUCKET is {self._bucket!r}.",
                hint="Set SOURCE_BUCKET back, or use a separate database for the other bucket.",
            )

    def _finish(self, run: CurrentRun) -> RunReport:
        """Record the time of each step; return the report of the run."""
        profile = run.stats.profile
        runs.record_steps(run.connection, run.id, profile.seconds, profile.rows)
        report = runs.report(run.connection, run.id)
        run.connection.commit()
        log.info("run ended", run=run.id, state=report.state, **report.counts.as_dict())
        return report

    # -- events

    def _pending_events(
        self, connection: Connection, *, include_refused: bool
    ) -> events.PendingEvents:
        pending = events.oldest_pending(
            connection,
            bucket=self._bucket,
            limit=self._events_per_run,
            include_refused=include_refused,
        )
        connection.commit()
        return pending

    def _changes_of(self, connection: Connection, keys: list[str], stats: RunStats) -> list[Change]:
        """The differences of these keys between the store and the manifest.

        Only the keys come from the events; everything else comes from the store.
        """
        objects_known = runs.objects_listed_last(connection)
        stored = stat_keys(self._store, self._bucket, keys, objects_known=objects_known)
        committed = known(connection, self._bucket, keys, self._clock().date())
        connection.commit()
        relevant = [source for source in stored if not is_ignored(source)]
        found = list(changes(relevant, committed))
        stats.listed, stats.ignored = len(stored), len(stored) - len(relevant)
        stats.unchanged = found.count(None)
        return [change for change in found if change is not None]

    def _handle_listed_events(self, run: CurrentRun, began: datetime) -> None:
        """Mark the events that the listing covers as handled, and count missed changes."""
        stats = run.stats
        if stats.staged:
            stats.missed_by_events = events.missed_by_events(run.connection)
        events.handle_listed(run.connection, bucket=self._bucket, began=began, run_id=run.id)

    # -- list, diff, read, stage

    def _begin_listing(self, run: CurrentRun) -> datetime:
        """Empty staging; return the time at which the listing begins."""
        staging_tables.empty_staging(run.connection, self._datasets)
        began = runs.database_now(run.connection)
        run.connection.commit()
        return began

    def _list(self, run: CurrentRun) -> Iterator[list[ListingEntry]]:
        stats = run.stats
        for page in self._store.list_pages(self._bucket, self._split_points()):
            stats.listed += len(page.rows) + page.ignored
            stats.ignored += page.ignored
            self._progress("list", stats.listed)
            yield page.rows

    def _split_points(self) -> list[str]:
        """The keys between the ranges that are listed concurrently."""
        if self._settings.list_concurrency == 1:
            return []
        return split_points(self._engine, self._bucket, self._range_objects)

    def _diff(self, run: CurrentRun, listed: Iterator[list[ListingEntry]]) -> Iterator[Change]:
        """The changes between listing and manifest; unchanged objects are only counted."""
        with manifest(self._engine, self._bucket, self._clock().date()) as committed:
            found = changes_by_page(listed, committed)
            for change in confirm_removals(self._store, self._bucket, found, run.stats):
                if isinstance(change, int):
                    run.stats.unchanged += change
                else:
                    yield change

    def _read(self, run: CurrentRun, changed: Iterable[Change]) -> Iterator[Batch]:
        """Fetch and parse the changed objects in batches, each while another is staged."""
        today, profile = self._clock().date(), run.stats.profile
        coming = profile.each("list", changed)
        with profile.step("read"):
            first = next(coming, None)
        if first is None:
            return
        from etl.sync import stream  # pandas, which a run without changes does not need

        batches = stream.read_changes(self._store, self._bucket, chain([first], coming), today)
        yield from profile.each("read", batches)  # the time that the run waits for a batch

    def _stage(self, run: CurrentRun, batches: Iterator[Batch]) -> None:
        stats = run.stats
        for batch in batches:
            from etl.sync.stage import stage  # pyarrow, as in `_read`

            with stats.profile.step("stage"):
                stage(run.connection, batch, self._bucket)
            stats.profile.count("stage", len(batch.rows))
            stats.staged += len(batch.objects)
            stats.unreadable.update(batch.unreadable)
            stats.vanished += batch.vanished
            self._progress("read", stats.staged)
        stats.profile.count("list", stats.listed)

    # -- merge and publish

    def _merge(self, run: CurrentRun) -> None:
        """Commit all changes of the run in one transaction."""
        connection, stats = run.connection, run.stats
        stats.retired_before = runs.retired_by_events(connection)
        with stats.profile.step("merge"):
            before = runs.last_committed(connection)
            has_images = staging_tables.holds_images(connection)  # the merge empties staging
            merged = self._merge_staging(run, before)
            counts = stats.added_to(merged.committed.counts)
            check_objects(counts)
            stats.profile.count("read", counts.rows_read)
            stats.profile.count("merge", counts.rows_read - counts.rows_rejected)
            has_changes = bool(counts.users_changed)
            if has_changes:
                revisions.advance(connection, revisions.Resource.USERS)
            if has_images:  # a replaced image becomes pending, and changes no user
                revisions.advance(connection, revisions.Resource.IMAGES)
            runs.complete_run(
                connection,
                run.id,
                replace(merged.committed, counts=counts),
                publish_pending=has_changes,
            )
            connection.commit()

    def _merge_staging(self, run: CurrentRun, before: runs.Committed) -> Merged:
        if not (run.stats.staged or run.stats.unreadable):  # only the totals carry over
            names = [sql.dataset.name for sql in self._datasets]
            same = {name: totals(before.datasets.get(name)) for name in names}
            return Merged(runs.Committed(summed(same), same))
        return merge_all(
            run,
            self._datasets,
            source_bucket=self._bucket,
            before=before,
            thresholds=self._thresholds,
        )

    def _publish(self, run: CurrentRun) -> bool:
        """Publish the outputs that are due. If the store is unavailable, a later call does it."""
        connection = run.connection
        try:
            with run.stats.profile.step("publish"), translating():
                names = self._outputs_to_publish(run)
                if names:
                    publish.publish(
                        connection, self._store, self._settings.processed_bucket, run.id, names
                    )
                    publish.mark_published(connection, run.id)
                    users = runs.last_counts(connection).users_live
                    run.stats.profile.count("publish", users * len(names))
        except DatabaseUnavailable:
            raise
        except (ObjectStoreUnavailable, ConfigurationError) as error:
            log.warning(
                "publishing failed; will retry", run=run.id, reason=error.message, hint=error.hint
            )
            runs.record_publish_error(connection, run.id, error)
            return False
        return bool(names)

    def _outputs_to_publish(self, run: CurrentRun) -> list[str]:
        """All outputs after a change, else those missing from the bucket; none before it is due."""
        settings, connection = self._settings, run.connection
        since = publish.since_last(connection)
        connection.commit()
        if not publish.is_due(run.trigger, since, settings.publish_interval):
            return []
        bucket, outputs = settings.processed_bucket, publish.outputs(settings)
        publish.remove_unconfigured(connection, self._store, bucket, outputs)
        is_pending = publish.pending_run(connection) is not None
        connection.commit()
        if is_pending:
            return outputs
        missing = publish.missing_outputs(connection, self._store, bucket, outputs)
        connection.commit()
        return missing


def _as_bug(error: Exception) -> dict[str, object]:
    """The error's class only, because its message may contain addresses, statements and data."""
    return {
        "code": "Bug",
        "message": f"{type(error).__name__}; the log has the details.",
        "hint": "This is a bug in Bucketline. Please report it with the log.",
    }
