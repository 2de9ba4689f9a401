"""The listener: fetches bucket notifications over a connection that it opens to the store.

There is one connection per source bucket. It stays open, and the store writes one line per
notification. Notifications are lost while it is down, so a listener requests a full run each time
it connects.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING

from etl.db import event_messages, events, runs
from etl.db.engine import connect, translating
from etl.model.errors import (
    DatabaseUnavailable,
    EtlError,
    ObjectStoreUnavailable,
    WrongEvent,
)
from etl.model.values import Trigger
from etl.runtime.backoff import Backoff
from etl.runtime.logs import get_logger
from etl.runtime.service import ServiceLoop, in_thread, stop_on_signals
from etl.settings.values import duration_text
from etl.storage.client import ObjectStore
from etl.storage.notifications import event_lines, open_events

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Engine
    from urllib3 import BaseHTTPResponse

    from etl.db.event_messages import BucketEvent
    from etl.settings import Settings

    # One line; the error that ended the response; None when it ended, or on stop().
    _Received = bytes | Exception | None

log = get_logger("etl.listen")

FIRST_RECONNECT_SECONDS = 0.5
LAST_RECONNECT_SECONDS = 30
START_SECONDS = 5
STOP_SECONDS = 5
MAX_BATCH = 1000  # lines
POLL_SECONDS = 5  # for changes of the installed datasets
BATCH_SECONDS = 0.05  # to collect a burst in one transaction


class Listener(ServiceLoop):
    """Receives the events of one bucket and stores them in `bucket_event`."""

    def __init__(
        self, settings: Settings, bucket: str, *, prefix: str = "", suffix: str = ""
    ) -> None:
        super().__init__()
        self._settings = settings
        self._bucket = bucket
        self._prefix, self._suffix = prefix, suffix
        self._store = ObjectStore(settings)
        self._engine: Engine = connect(settings, pool_size=1, checks_schema=True)
        self._received: SimpleQueue[_Received] = SimpleQueue()
        self._has_tried = Event()
        self._reconnect = Backoff(FIRST_RECONNECT_SECONDS, LAST_RECONNECT_SECONDS)

    def stop(self) -> None:
        """End soon. Safe in a signal handler and in other threads."""
        super().stop()
        self._received.put(None)

    def wait_until_tried(self, seconds: float) -> None:
        """Return once it is connected or has failed to connect, or after `seconds`."""
        self._has_tried.wait(seconds)

    def serve(self) -> None:
        """Store events over one connection until it ends."""
        bucket = self._bucket
        with (
            self._store.translating(f"listen to {bucket}", bucket),
            closing(
                open_events(self._store.client, bucket, prefix=self._prefix, suffix=self._suffix)
            ) as response,
        ):
            self._request_full_run()
            self._received = SimpleQueue()
            self._has_tried.set()
            Thread(target=_read, args=(response, self._received), daemon=True).start()
            for lines in self._batches():
                self._store_events(lines)
                self._reconnect.reset()
        self.stopping.wait(self._reconnect.next())

    def handle_failure(self, error: Exception) -> float:
        """Log an outage; raise if the store rejects the request or does not support listening."""
        self._has_tried.set()
        if isinstance(error, ObjectStoreUnavailable | DatabaseUnavailable):
            log.warning("listening failed; will retry", reason=error.message, hint=error.hint)
        elif isinstance(error, EtlError):
            raise error
        else:  # a bug of ours; the run requested on reconnect finds the changes
            log.error("listening failed; will retry", exc_info=error)
        return self._reconnect.next()

    def _request_full_run(self) -> None:
        with translating(), self._engine.begin() as connection:
            runs.request_run(connection, Trigger.INTERVAL)

    def _batches(self) -> Iterator[list[bytes]]:
        """Yield all lines received so far, until the connection ends or stop() is called."""
        while not self.stopping.is_set():
            batch = [self._received.get(), *_queued(self._received)]
            if len(batch) > 1:  # a commit waits for the disk, and delays the store as well
                self.stopping.wait(BATCH_SECONDS)
                batch += _queued(self._received)
            yield [item for item in batch if isinstance(item, bytes)]
            for item in batch:
                if isinstance(item, Exception):
                    raise item
                if item is None:
                    return

    def _store_events(self, lines: Iterable[bytes]) -> None:
        parsed = [event for line in lines if line.strip() for event in _events_of(line)]
        if parsed:
            with translating(), self._engine.begin() as connection:
                source_bucket = self._settings.source_bucket
                events.store(connection, parsed, source_bucket=source_bucket, is_alone=True)


class Listeners(ServiceLoop):
    """Listens to the source bucket of every installed dataset, and follows their changes.

    If the store rejects the request or does not support listening, `run_forever` raises the error.
    An optional listener (`is_optional`) ends with a warning instead, and the others continue.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        prefix: str = "",
        suffix: str = "",
        is_optional: bool = False,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        super().__init__()
        self._settings = settings
        self._prefix, self._suffix = prefix, suffix
        self._is_optional = is_optional
        self._poll_seconds = poll_seconds
        self._engine: Engine = connect(settings, pool_size=1, checks_schema=True)
        self._running: dict[str, tuple[Listener, Thread]] = {}
        self._errors: SimpleQueue[EtlError] = SimpleQueue()
        self._ended_readable, self._ended_writable = os.pipe()
        self._has_tried = Event()

    def wait_until_tried(self, seconds: float) -> None:
        """Return once each has connected or has failed to connect, or after `seconds`."""
        self._has_tried.wait(seconds)

    def run_forever(self) -> None:
        """Listen until stop().

        Raises:  the error of a listener that is not optional.
        """
        try:
            super().run_forever()
        finally:
            for bucket in list(self._running):
                self._stop(bucket)
            self._engine.dispose()

    def serve(self) -> None:
        """Start and stop listeners as datasets are installed."""
        while not self.stopping.is_set():
            with translating(), self._engine.connect() as connection:
                wanted = events.source_buckets(connection, self._settings.source_bucket)
            for bucket in [one for one in self._running if one not in wanted]:
                self._stop(bucket)
            new = [self._start(bucket) for bucket in wanted if bucket not in self._running]
            for listener in new:
                listener.wait_until_tried(START_SECONDS)
            self._has_tried.set()
            self.stopping.wait(self._poll_seconds, self._ended_readable)
            with suppress(Empty):
                raise self._errors.get_nowait()

    def handle_failure(self, error: Exception) -> float:
        """Log an outage of the database; the listeners have retries of their own."""
        self._has_tried.set()
        if isinstance(error, DatabaseUnavailable):
            log.warning("cannot read the datasets; will retry", reason=error.message)
        elif isinstance(error, EtlError):
            raise error
        else:  # a bug of ours
            log.error("listening failed; will retry", exc_info=error)
        return self._poll_seconds

    def _start(self, bucket: str) -> Listener:
        listener = Listener(self._settings, bucket, prefix=self._prefix, suffix=self._suffix)
        thread = Thread(target=self._listen, args=(listener, bucket), name=f"listener {bucket}")
        thread.daemon = True
        self._running[bucket] = (listener, thread)
        log.info("listening", bucket=bucket)
        thread.start()
        return listener

    def _stop(self, bucket: str) -> None:
        listener, thread = self._running.pop(bucket)
        listener.stop()
        thread.join(STOP_SECONDS)

    def _listen(self, listener: Listener, bucket: str) -> None:
        """Listen in a thread; an ended listener is not restarted until its bucket is new again."""
        try:
            listener.run_forever()
        except EtlError as error:
            if not self._is_optional:
                self._errors.put(error)
                os.write(self._ended_writable, b".")
                return
            log.warning(
                "stopped listening; only full runs find changes",
                bucket=bucket,
                reason=error.message,
                hint=error.hint,
                interval=duration_text(self._settings.etl_interval),
            )


def _read(response: BaseHTTPResponse, received: SimpleQueue[_Received]) -> None:
    """Queue every line. The store sends a blank line to show that the connection is alive."""
    try:
        for line in event_lines(response):
            received.put(line)
    except Exception as error:  # noqa: BLE001 - raised where the queue is read
        received.put(error)
    else:
        received.put(None)


def _queued(received: SimpleQueue[_Received]) -> Iterator[_Received]:
    with suppress(Empty):
        for _ in range(MAX_BATCH):
            yield received.get_nowait()


def _events_of(line: bytes) -> list[BucketEvent]:
    try:
        return event_messages.parse(line, keys_are_quoted=False)
    except WrongEvent as error:
        log.warning("discarded an invalid notification", reason=error.message)
        return []


def listen(settings: Settings, *, prefix: str = "", suffix: str = "") -> None:
    """Listen in this process until SIGTERM or SIGINT."""
    listeners = Listeners(settings, prefix=prefix, suffix=suffix)
    with stop_on_signals(listeners.stop):
        listeners.run_forever()


def listening(settings: Settings) -> AbstractContextManager[None]:
    """Listen in a thread while the block runs, if EVENT_LISTEN is set.

    The block begins after the first request for a run, so that a run requested in the block joins
    that request.
    """
    return _listening(settings) if settings.event_listen else nullcontext()


@contextmanager
def _listening(settings: Settings) -> Iterator[None]:
    listeners = Listeners(settings, is_optional=True)
    with in_thread(listeners, "listeners", STOP_SECONDS):
        listeners.wait_until_tried(START_SECONDS)
        yield
