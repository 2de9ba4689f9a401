"""One run: list, diff, read, stage, merge, publish.

A run is atomic. It reads changed objects into staging, merges staging into the tables of all
datasets in one transaction, and then publishes the committed rows. A run that is killed leaves the
tables as they were, and the next run completes the work.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from etl.db import events, runs
from etl.db.engine import connect_keeping_one, connect_unpooled, schemas_of, translating
from etl.db.locks import run_lock
from etl.db.manifest import stored_buckets
from etl.model.routing import Router
from etl.model.values import RunReport, Trigger
from etl.runtime.logs import get_logger
from etl.storage.client import ObjectStore
from etl.storage.listing import RANGE_OBJECTS
from etl.sync import buckets, declared, event_reading, handling, publish, staging_tables, tracing
from etl.sync.commit import commit, preview
from etl.sync.dask import executor_of
from etl.sync.executor import Threads, finishing
from etl.sync.find import Finder
from etl.sync.merge import THRESHOLDS, Thresholds
from etl.sync.preview import Previewed
from etl.sync.preview import begin as begin_preview
from etl.sync.progress import RunProgress
from etl.sync.publishing import Publishing
from etl.sync.recording import locked, record_interrupted, recording_failure
from etl.sync.run import CurrentRun, no_progress
from etl.sync.staging import Stager
from etl.sync.stats import RunStats
from etl.sync.successor import Successors

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from sqlalchemy import Connection, Engine

    from etl.model.dataset import Dataset
    from etl.model.errors import DatasetsFailed
    from etl.model.values import Change
    from etl.settings import Settings
    from etl.sync.declared import Declared
    from etl.sync.event_reading import EventReading
    from etl.sync.executor import Executor
    from etl.sync.progress import Progress
    from etl.sync.rebuild import Rebuilt
    from etl.sync.staging import Route

log = get_logger("etl.run")

EVENTS_PER_RUN = 10_000
_ROUTES_KEPT = 10_000  # each object is routed several times in a row


def utc_now() -> datetime:
    """The current time; the default clock of runs."""
    return datetime.now(UTC)


class DataManager:
    """Syncs the tables with the buckets of `datasets`; without any, of the installed ones."""

    def __init__(  # noqa: PLR0913 - tests replace each
        self,
        settings: Settings,
        *,
        store: ObjectStore | None = None,
        clock: Callable[[], datetime] = utc_now,
        progress: Progress = no_progress,
        range_objects: int = RANGE_OBJECTS,
        events_per_run: int = EVENTS_PER_RUN,
        thresholds: Thresholds = THRESHOLDS,
        datasets: tuple[Dataset, ...] | None = None,
        executor: Executor | None = None,
    ) -> None:
        self._settings = settings
        self._source_bucket = settings.source_bucket
        self.engine: Engine = connect_unpooled(settings)
        self.run_engine: Engine = connect_keeping_one(settings)  # a run may follow at once
        self._data_schema = schemas_of(self.engine).data
        self._store = store or ObjectStore(settings)
        self.recorded = deque[Exception](maxlen=1)  # the last error that a run has as its own
        has_alerts = settings.alert_url is not None
        self._current = partial(CurrentRun, has_alerts=has_alerts, recorded=self.recorded)
        self._locked = partial(locked, has_alerts=has_alerts)
        self._record_interrupted = partial(record_interrupted, has_alerts=has_alerts)
        self._clock = clock
        self._progress = progress
        self._range_objects = range_objects
        self._events_per_run = events_per_run
        self._thresholds = thresholds
        self._declarations = declared.Declarations(self._data_schema, self._source_bucket, datasets)
        self._publishing = Publishing(self._store, settings, self._data_schema)
        self._executor = executor or executor_of(settings, self._store)
        self._stager = Stager(
            engine=self.engine,
            threads=Threads(self._store),
            executor=self._executor,
            today=self._today,
            expanded_max_size=settings.expanded_max_size,
            many=thresholds.many,
        )

    def close(self) -> None:
        """End the connections to Dask, and its workers if they are of this process."""
        self._executor.close()

    def declare(self, datasets: tuple[Dataset, ...]) -> None:
        """Install these datasets with the next full run, because their file changed."""
        self._declarations.to_install = datasets

    def run(
        self,
        trigger: Trigger,
        *,
        allowed_retirements: runs.Allowed | None = None,
        wait_seconds: float = 0,
        only: frozenset[str] | None = None,
    ) -> RunReport:
        """Make a full run now. It may retire as many rows by dataset as are allowed.

        All datasets but those in `only` stay as they are; None: every dataset is synced.

        Raises:  RunAlreadyActive when another run holds the lock after `wait_seconds`;
                 any other EtlError after it was recorded as the run's error. After DatasetsFailed,
                 the datasets not named in it are committed.
        """
        allowed = allowed_retirements or {}
        with self._locked(self.run_engine, wait_seconds) as connection:
            run_id = runs.begin_run(connection, trigger, allowed_retirements=allowed)
            run = self._current(run_id, trigger, connection, allowed_retirements=allowed, only=only)
            return self._run_full(run)

    def rebuild(
        self, name: str, *, allowed_retirements: runs.Allowed | None = None, wait_seconds: float = 0
    ) -> Rebuilt:
        """Rebuild the tables of a dataset now, by a full run of it alone.

        Raises:  RebuildRefused when it would retire most rows without being allowed to; else as
                 `run`. Nothing is changed then.
        """
        allowed = allowed_retirements or {}
        with self._locked(self.engine, wait_seconds) as connection:
            run_id = runs.begin_run(connection, Trigger.CLI, allowed_retirements=allowed)
            from etl.sync.rebuild import Rebuild

            rebuild = Rebuild(name, self._declarations)
            run = self._current(run_id, Trigger.CLI, connection, allowed_retirements=allowed)
            return rebuild.ended(self._run_full(run.rebuilding(rebuild)))

    def preview(
        self,
        *,
        allowed_retirements: runs.Allowed | None = None,
        wait_seconds: float = 0,
        only: frozenset[str] | None = None,
        rebuilt: str | None = None,
    ) -> Previewed:
        """Find what `run` would change now, and change nothing: no table, row, run or event.

        With `rebuilt`, find what `rebuild` of this dataset would change.

        Raises:  as `run` or `rebuild`, but DatasetsFailed.
        """
        from etl.sync.rebuild import Rebuild

        rebuild = None if rebuilt is None else Rebuild(rebuilt, self._declarations, is_preview=True)
        with run_lock(self.engine, wait_seconds=wait_seconds) as connection, translating():
            known, begun = begin_preview(connection, self._declarations, rebuild)
            run = CurrentRun(0, Trigger.CLI, connection, only=only, preview=begun)
            run = replace(
                run,
                progress=RunProgress(None, run.id, self._progress),
                allowed_retirements=allowed_retirements or {},
                successors=Successors(is_allowed=False),
            )
            run = run if rebuild is None else run.rebuilding(rebuild)
            run.failures.update(known.failures)
            known, _ = self._stage_all(run, known)
            return preview(run, known, self._source_bucket, self._thresholds)

    def run_requested(self, *, wait_seconds: float = 0) -> RunReport | None:
        """Make the requested full run; None if none is requested.

        Raises:  as `run`.
        """
        with self._locked(self.run_engine, wait_seconds) as connection:
            claimed = runs.claim_run(connection)
            if claimed is None:
                return None
            run_id, trigger, allowed = claimed
            run = self._current(run_id, trigger, connection, allowed_retirements=allowed)
            return self._run_full(run)

    def run_events(
        self, *, wait_seconds: float = 0, include_refused: bool = True
    ) -> RunReport | None:
        """Check the keys of pending events once, and make a run if an object changed.

        Returns None if no event is pending or no object changed; the events are then handled
        without a run. `include_refused` includes events whose object an earlier run could not read.
        The caller checks whether more events are pending, so that other runs can take the lock.
        While changed declarations wait for a full run, it only requests one.

        Raises:  as `run`; an error before the run began is not recorded.
        """
        with run_lock(self.run_engine, wait_seconds=wait_seconds) as connection, translating():
            reading = self._read_events(connection, include_refused=include_refused)
            known = reading.declared
            if known.is_new or known.failures:
                runs.request_run(connection, Trigger.EVENT)
                connection.commit()
                return None
            buckets.check_source(connection, known, self._source_bucket, reading.buckets)
            connection.commit()
            if not reading.pending:
                return None
            pending = reading.pending_in(self._router(known).buckets)
            run = self._current(0, Trigger.EVENT, connection, RunStats())
            with run.stats.profile.step("look"):  # the name in `step_seconds`
                changed = buckets.look(
                    connection,
                    pending,
                    reading.entries,
                    lambda bucket: self._finder(run, known, bucket, self._route(known, bucket)),
                )
            if not any(changed.values()):
                for one in pending.values():
                    events.handle(connection, one, events.NO_RUN)
                connection.commit()
                return None
            return self._run_for_events(run, reading, pending, changed)

    def publish_if_due(self, *, wait_seconds: float = 0) -> bool:
        """Publish the changes of event runs if PUBLISH_INTERVAL has passed; return whether it did.

        If the store is unavailable, it returns False and the next call tries again.

        Raises:  RunAlreadyActive when a run, which publishes, holds the lock after `wait_seconds`.
        """
        with run_lock(self.run_engine, wait_seconds=wait_seconds) as connection:
            run_id = publish.pending_run(connection)
            connection.commit()
            return run_id is not None and self._publishing.publish(
                CurrentRun(run_id, None, connection)
            )

    # -- the two kinds of run

    def _run_full(self, run: CurrentRun) -> RunReport:
        """Sync all buckets. List, diff and read are generators that `_stage` consumes."""
        run = self._followed(run)
        with recording_failure(run), finishing(self._executor, run):
            begin = self._declarations.of_full_run if run.rebuild is None else run.rebuild.begin
            known = begin(run.connection)
            run.failures.update(known.failures)
            known, began = self._stage_all(run, known)
            if run.only is None and run.stats.staged:
                run.stats.missed_by_events = events.missed_by_events(run.connection)
            failures = commit(
                run,
                known,
                self._source_bucket,
                self._thresholds,
                partial(handling.handle_listed, run, began, partial(self._route, known)),
            )
        self._publishing.publish(run, known.datasets)
        return self._finish(run, failures)

    def _stage_all(self, run: CurrentRun, known: Declared) -> tuple[Declared, dict[str, datetime]]:
        """Stage all changes of the buckets; return when each listing began."""
        stored = stored_buckets(run.connection)
        buckets.check_source(run.connection, known, self._source_bucket, stored)
        staging_tables.empty_staging(run.connection, known.datasets)
        began = {}
        router = self._router(known)
        wanted = buckets.wanted(run, known, router.buckets, self._source_bucket)
        for bucket in wanted:
            began[bucket] = runs.database_now(run.connection)
            run.connection.commit()
            with buckets.skipping(run, known, bucket, router.buckets):
                route = self._route(known, bucket)
                finder = self._finder(run, known, bucket, route)
                listed = finder.listed(self._range_objects, run.progress.report)
                changed = run.progress.counting(listed, is_last=bucket == wanted[-1])
                known = self._stager.stage(run, known, bucket, route, changed)
        if run.only is None:
            buckets.stage_former(run, known, stored, router.buckets)
        if run.rebuild is not None:
            run.stats.staged += run.rebuild.stage_rest(run.connection, run.stats.unreadable)
        return known, began

    def _run_for_events(
        self,
        run: CurrentRun,
        reading: EventReading,
        pending: dict[str, events.PendingEvents],
        changed: dict[str, list[Change]],
    ) -> RunReport:
        """Begin the run, and sync the changed objects among the keys of the pending events."""
        known = reading.declared
        run_id, left_over = runs.begin_and_ask(
            run.connection, Trigger.EVENT, staging_tables.left_over(known.datasets)
        )
        run = self._followed(replace(run, id=run_id))
        with recording_failure(run):
            staging_tables.remove(run.connection, known.datasets, left_over)
            last = next(reversed(changed))
            for bucket, found in changed.items():
                counted = run.progress.counting(found, is_last=bucket == last)
                with buckets.skipping(run, known, bucket, self._router(known).buckets):
                    route = self._route(known, bucket)
                    known = self._stager.stage(run, known, bucket, route, counted)
            failures = commit(
                run,
                known,
                self._source_bucket,
                self._thresholds,
                partial(handling.handle_checked, run, pending, partial(self._route, known)),
            )
        self._publishing.publish(run, known.datasets, reading.published)
        return self._finish(run, failures)

    def _followed(self, run: CurrentRun) -> CurrentRun:
        """The run, which other processes can follow and cancel."""
        return replace(run, progress=RunProgress(self.engine, run.id, self._progress))

    def _finish(self, run: CurrentRun, failures: DatasetsFailed | None) -> RunReport:
        """Record the time of each step; return the report of the run.

        Raises:  DatasetsFailed, already recorded.
        """
        profile = run.stats.profile
        report = runs.record_steps(
            run.connection, run.id, profile.seconds, profile.rows, profile.spans
        )
        log.info("run ended", run=run.id, state=report.state, **report.counts.as_dict())
        tracing.record(run, None if failures is None else type(failures).__name__)
        if failures is not None:
            failures.report = report
            raise failures
        return report

    # -- datasets

    def _router(self, known: Declared) -> Router:
        return Router(known.values, self._source_bucket)

    def _route(self, known: Declared, bucket: str) -> Route:
        return lru_cache(_ROUTES_KEPT)(self._router(known).for_bucket(bucket))

    def _today(self) -> date:
        return self._clock().date()

    def _finder(self, run: CurrentRun, known: Declared, bucket: str, route: Route) -> Finder:
        paused = {one.name for one in known.values if run.leaves_out(one)}
        return Finder(
            store=self._store,
            engine=self.engine,
            bucket=bucket,
            route=route,
            left_out=frozenset(paused | run.failures.keys()),
            hashes=known.hashes,
            is_new=known.is_new,
            today=self._today(),
            stats=run.stats,
        )

    # -- events

    def _read_events(self, connection: Connection, *, include_refused: bool) -> EventReading:
        """What an event run needs to know; before the first run, datasets are installed."""
        read = partial(
            event_reading.read,
            connection,
            self._today(),
            limit=self._events_per_run,
            include_refused=include_refused,
        )
        found = read()
        if found.is_running:
            self._record_interrupted(connection)
        if found.declared.datasets:
            return found
        known = self._declarations.first(connection)
        return read()._replace(declared=known)
