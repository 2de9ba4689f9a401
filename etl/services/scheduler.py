"""The scheduler process: makes a run at each interval, for each request and for bucket events.

APScheduler only inserts requests. The runs are made here, one at a time, under the run lock.
Several schedulers can run at once: a request is claimed once, and handled events start no run.
"""

from __future__ import annotations

from contextlib import closing, contextmanager, suppress
from enum import Enum, auto
from time import monotonic
from typing import TYPE_CHECKING

from apscheduler.schedulers.background import BackgroundScheduler

from etl.db import events, runs
from etl.db.engine import (
    channel_of,
    connect_unpooled,
    driver,
    listen,
    show_scheduler,
    translating,
)
from etl.db.retention import Retention
from etl.model.errors import (
    DatabaseMisconfigured,
    DatabaseUnavailable,
    DatasetsFailed,
    EtlError,
    RightMissing,
    RunAlreadyActive,
    RunCanceled,
    TransientError,
)
from etl.model.values import RunReport, Trigger
from etl.runtime.backoff import Backoff
from etl.runtime.logs import get_logger
from etl.runtime.service import ServiceLoop, stop_on_signals
from etl.services.alerts.sender import alerting
from etl.services.alerts.unrecorded import UnrecordedFailures
from etl.services.datasets_file import DatasetsFile
from etl.services.image_worker import processing_images
from etl.services.kafka import announcing
from etl.services.listener import listening
from etl.services.subscriptions import Subscriptions
from etl.settings.values import duration_text
from etl.sync import publish
from etl.sync.manager import DataManager

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

    from etl.settings import Settings

log = get_logger("etl.schedule")

POLL_SECONDS = 5  # in case a notification is lost
BUSY_RETRY_SECONDS = 1  # another process holds the run lock
FIRST_RETRY_SECONDS = 5
LAST_RETRY_SECONDS = 300
LAST_PUBLISH_RETRY_SECONDS = 60
FIRST_RECONNECT_SECONDS = 0.5
LAST_RECONNECT_SECONDS = 15
BURST = 10  # events in one debounce window that extend it by another
MAX_DEBOUNCE_WINDOWS = 40


class Wake(Enum):
    """Why a wait ended."""

    REQUEST = auto()  # a run was requested, whatever else was notified
    EVENTS = auto()
    TIMEOUT = auto()  # or stop() was called


class Retries:
    """The back-offs of a scheduler, one for each kind of work that can fail."""

    def __init__(self, first_seconds: float = FIRST_RETRY_SECONDS) -> None:
        self.error = Backoff(first_seconds, LAST_RETRY_SECONDS)
        self.run = Backoff(first_seconds, LAST_RETRY_SECONDS)
        self.events = Backoff(first_seconds, LAST_RETRY_SECONDS)
        self.refused = Backoff(first_seconds, LAST_RETRY_SECONDS)
        self.publish = Backoff(first_seconds, LAST_PUBLISH_RETRY_SECONDS)


class Scheduler(ServiceLoop):
    """Makes requested runs and event runs until stop()."""

    def __init__(  # noqa: PLR0913 - tests replace each
        self,
        settings: Settings,
        manager: DataManager,
        *,
        datasets_file: DatasetsFile | None = None,
        retries: Retries | None = None,
        poll_seconds: float = POLL_SECONDS,
        unrecorded: UnrecordedFailures | None = None,
    ) -> None:
        super().__init__()
        self._unrecorded = unrecorded or UnrecordedFailures()
        self._datasets_file = datasets_file
        self._settings = settings
        self._manager = manager
        self._poll_seconds = poll_seconds
        self._engine: Engine = connect_unpooled(settings)
        self._retention = Retention(settings)
        self._subscriptions = Subscriptions(settings)
        self._reconnect = Backoff(FIRST_RECONNECT_SECONDS, LAST_RECONNECT_SECONDS)
        self._retries = retries or Retries()
        self._worked_at = float("-inf")

    def run_forever(self) -> None:
        """Make runs until stop(), and wait while the database is down or its tables are newer.

        A run starts immediately after the start and after each outage, so that earlier changes do
        not wait for the interval.
        """
        with self._ticking():
            super().run_forever()

    def serve(self) -> None:
        """Make runs on one database connection: do the pending work, then wait for more."""
        with self._notified_connection() as connection:
            self._insert_request()
            self._reconnect.reset()
            has_events = False
            while not self.stopping.is_set():
                self._follow_file(connection)
                if self._retries.run.is_due():
                    self._insert_request()
                # Both in each round, so that many events cannot delay requests, or vice versa.
                did_work = self._run_for_events(connection, is_known=has_events)
                did_work |= self._run_requested(connection)
                has_events = False
                self._publish_if_due(connection)
                has_more_to_remove = self._retention.work()
                if did_work:
                    self._worked_at = monotonic()
                elif has_more_to_remove or self._wait(connection) is not Wake.EVENTS:
                    continue
                # The next event of a stream waits no longer than one that came during the run.
                is_next = (
                    monotonic() - self._worked_at < self._settings.event_gather.total_seconds()
                )
                if not (did_work or is_next) or self._has_burst(connection):
                    has_events = self.debounce(connection)

    def handle_failure(self, error: Exception) -> float:
        """Log the failure; return the delay before the next connection."""
        if error not in self._manager.recorded:
            self._unrecorded.began(error)
        if not isinstance(error, DatabaseUnavailable):
            log.error("scheduler failed; will retry", exc_info=error)  # a bug of ours
            return self._retries.error.next()
        # An outage ends by itself; a wrong setting does not.
        level = log.error if isinstance(error, DatabaseMisconfigured) else log.warning
        level("waiting for the database", code=error.code, reason=error.message, hint=error.hint)
        # A missing right shows only in a run: connecting succeeds, and resets the other delay.
        retry = self._retries.error if isinstance(error, RightMissing) else self._reconnect
        return retry.next()

    @contextmanager
    def _ticking(self) -> Iterator[None]:
        """Request a run at each interval; a late tick still does, several late ones request one."""
        ticks = BackgroundScheduler(timezone="UTC")
        ticks.add_job(
            self._request_run,
            "interval",
            seconds=self._settings.etl_interval.total_seconds(),
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
        ticks.start()
        try:
            yield
        finally:
            ticks.shutdown(wait=False)

    @contextmanager
    def _notified_connection(self) -> Iterator[Connection]:
        with translating(), self._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            show_scheduler(connection)
            for channel in (runs.REQUEST_CHANNEL, events.CHANNEL):
                listen(connection, channel)
            yield connection

    # -- work

    def _follow_file(self, connection: Connection) -> None:
        """Install the datasets with a full run now if their file changed."""
        if self._datasets_file is None:
            return
        changed = self._datasets_file.changed()
        if changed is not None:
            self._manager.declare(changed)
            self._request_run()
        self._datasets_file.record(connection)

    def _insert_request(self) -> None:
        with translating(), self._engine.begin() as connection:
            runs.request_run(connection, Trigger.INTERVAL)

    def _request_run(self) -> None:
        try:
            self._insert_request()
        except DatabaseUnavailable as error:
            log.warning("could not request a run", reason=error.message, hint=error.hint)

    def _run_requested(self, connection: Connection) -> bool:
        """Make one requested run; return whether there was one.

        The run may have installed datasets of other buckets. Their events are then subscribed to,
        and another run finds what changed in the meantime.
        """
        ran = runs.any_to_make(connection) and self._make_requested_run()
        if ran or not self._retries.run.is_armed():  # another process makes it
            self._unrecorded.ended()
        if ran and self._subscriptions.cover(connection):
            self._request_run()
        return ran

    def _make_requested_run(self) -> bool:
        try:
            report = self._manager.run_requested()
        except RunAlreadyActive:
            self.stopping.wait(BUSY_RETRY_SECONDS)
            return False
        except DatabaseUnavailable:
            self._retries.run.arm()
            raise
        except TransientError as error:
            log.warning("run failed; will retry", reason=error.message, hint=error.hint)
            self._retries.run.arm()
            return True
        except RunCanceled as error:
            log.info("run canceled", reason=error.message)
            return True
        except EtlError as error:
            reason = " ".join(error.message.splitlines())
            log.error("run failed", code=error.code, reason=reason, hint=error.hint)
            return True
        if report is not None:
            self._reset_retries(report)
        return report is not None

    def _reset_retries(self, report: RunReport) -> None:
        """Reset the back-offs after a full run; retry the run if it could not publish."""
        retries = self._retries
        for retry in (retries.error, retries.events, retries.refused):
            retry.reset()
        if report.error is None:
            retries.run.reset()
            retries.publish.reset()
        else:  # committed, but not published
            retries.run.arm()

    def _run_for_events(self, connection: Connection, *, is_known: bool) -> bool:
        """Check the keys of pending events once; return whether they were checked.

        `is_known`: an event is pending whose object was not refused.

        Events whose run failed stay pending and delay all others, because the next event does not
        remove the cause. Events whose object could not be synced, because the store, its bucket or
        its dataset refused it, delay no others. Both are retried with back-off.
        """
        include_refused = not self._retries.refused.is_waiting()
        if self._retries.events.is_waiting():
            return False
        if not (is_known or events.any_pending(connection, include_refused=include_refused)):
            return False
        try:
            self._manager.run_events(include_refused=include_refused)
        except RunAlreadyActive:
            self.stopping.wait(BUSY_RETRY_SECONDS)
            return False
        except DatabaseUnavailable:
            raise
        except EtlError as error:
            reason = " ".join(error.message.splitlines())
            log.warning("event run failed; will retry", code=error.code, reason=reason)
            if not self._only_refused_wait(connection, error):
                self._retries.events.arm()
                return False
        self._retries.events.reset()
        if include_refused:  # otherwise their next attempt is already scheduled
            self._schedule_refused(connection)
        return True

    @staticmethod
    def _only_refused_wait(connection: Connection, error: EtlError) -> bool:
        """Whether the error leaves only events pending that delay no others."""
        return isinstance(error, DatasetsFailed) or not events.any_pending(
            connection, include_refused=False
        )

    def _schedule_refused(self, connection: Connection) -> None:
        """Retry the refused objects later if there still are any."""
        if events.any_refused(connection):
            self._retries.refused.arm()
        else:
            self._retries.refused.reset()

    @staticmethod
    def _has_burst(connection: Connection) -> bool:
        return events.count_pending(connection, include_refused=False) >= BURST

    def _publish_if_due(self, connection: Connection) -> None:
        """Publish what event runs committed once it is due, with back-off while that fails."""
        if self._retries.publish.is_waiting() or publish.pending_run(connection) is None:
            return
        since = publish.published(connection).since_last
        if publish.is_due(None, since, self._settings.publish_interval):
            with suppress(RunAlreadyActive):  # that run publishes
                if self._manager.publish_if_due():
                    self._retries.publish.reset()
                else:
                    self._retries.publish.arm()

    # -- waiting

    def _wait(self, connection: Connection) -> Wake:
        """Sleep until a notification, the next retry, the next poll or stop()."""
        # psycopg2 may have received notifications with a statement; `select` does not see those.
        wake = _wake_reason(connection)
        if wake is Wake.TIMEOUT:
            retries = self._retries
            waiting = (retries.run, retries.events, retries.refused)
            seconds = min(self._poll_seconds, *(retry.seconds_left() for retry in waiting))
            self.stopping.wait(seconds, driver(connection))
            wake = _wake_reason(connection)
        return wake

    def debounce(self, connection: Connection) -> bool:
        """Wait for EVENT_GATHER, and again while a burst continues, unless a run is requested.

        A run would read from a store that is busy with the burst. A slow stream of events does
        not extend the window. Returns whether an event is then known to be pending.
        """
        pending = 0
        for _ in range(MAX_DEBOUNCE_WINDOWS):
            self.stopping.wait(self._settings.event_gather.total_seconds())
            if _wake_reason(connection) is Wake.REQUEST:
                return False
            before = pending
            pending = events.count_pending(connection, include_refused=False)
            if pending - before < BURST:
                break
        return pending > 0


def _wake_reason(connection: Connection) -> Wake:
    """The most urgent notification since the last call; TIMEOUT if there was none."""
    listened = driver(connection)
    listened.poll()
    channels = {notification.channel for notification in listened.notifies}
    listened.notifies.clear()
    if channels - {channel_of(connection, events.CHANNEL)}:
        return Wake.REQUEST
    return Wake.EVENTS if channels else Wake.TIMEOUT


def schedule(settings: Settings) -> None:
    """Run the scheduler in this process until SIGTERM or SIGINT.

    Raises:  ConfigurationError with each fault of the datasets file.
    """
    datasets_file = DatasetsFile(settings)
    manager = DataManager(settings, datasets=datasets_file.datasets)
    unrecorded = UnrecordedFailures()
    scheduler = Scheduler(settings, manager, datasets_file=datasets_file, unrecorded=unrecorded)
    with stop_on_signals(scheduler.stop):
        log.info("scheduler started", interval=duration_text(settings.etl_interval))
        with (
            listening(settings),
            processing_images(settings),
            announcing(settings),
            alerting(settings, unrecorded),
            closing(manager),
        ):
            scheduler.run_forever()
