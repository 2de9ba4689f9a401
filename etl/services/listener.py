"""Pull instead of push: hear of changes from a store that cannot reach us.

The connection stays open, and the store writes a line for each event. What happens while it is
broken is told to nobody; so a whole run is asked for each time it is made anew.
"""

from __future__ import annotations

import signal
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING

import structlog
from minio.error import MinioException

from etl.db import events, runs
from etl.db.engine import connect, translating
from etl.model.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    EtlError,
    ObjectStoreUnavailable,
    WrongEvent,
)
from etl.model.values import Trigger
from etl.runtime.backoff import Backoff
from etl.settings.values import duration_text
from etl.storage.client import ObjectStore
from etl.storage.notifications import EVENTS, is_unsupported

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType

    from minio import Minio
    from sqlalchemy import Engine
    from urllib3 import BaseHTTPResponse

    from etl.db.events import BucketEvent
    from etl.settings import Settings

    _Told = bytes | Exception | None

log = structlog.get_logger("etl.listen")

FIRST_WAIT_SECONDS = 0.5
LAST_WAIT_SECONDS = 30
START_SECONDS = 5
STOP_SECONDS = 5
MOST_AT_ONCE = 1000  # messages
BURST_SECONDS = 0.05  # of several events for one transaction


class Listener:
    """One bucket's events, from the store into the table."""

    def __init__(self, settings: Settings, *, prefix: str = "", suffix: str = "") -> None:
        self._settings = settings
        self._prefix, self._suffix = prefix, suffix
        self._store = ObjectStore(settings)
        self._engine: Engine = connect(settings, pool_size=1, checks_schema=True)
        self._told: SimpleQueue[_Told] = SimpleQueue()
        self._stopping = Event()
        self._tried = Event()
        self._again = Backoff(FIRST_WAIT_SECONDS, LAST_WAIT_SECONDS)

    def stop(self) -> None:
        """End soon. Safe in a signal handler and in another thread."""
        self._stopping.set()
        self._told.put(None)

    def wait_until_tried(self, seconds: float) -> None:
        """Return when it listens, or could not, or after so long."""
        self._tried.wait(seconds)

    def run_forever(self) -> None:
        """Listen, and again after each break, ever more patiently, until stop().

        Raises:  ConfigurationError when the store refuses us or cannot be listened to.
        """
        while not self._stopping.is_set():
            try:
                self._listen()
            except (ObjectStoreUnavailable, DatabaseUnavailable) as error:
                log.warning("not listening", reason=error.message, hint=error.hint)
            except EtlError:
                raise
            except Exception:
                log.exception("not listening")  # a fault of ours; the run asked for next mends it
            finally:
                self._tried.set()
            self._stopping.wait(self._again.next())

    def _listen(self) -> None:
        bucket = self._settings.source_bucket
        with (
            self._store.translating(f"listen to {bucket}", bucket),
            closing(
                open_events(self._store.client, bucket, prefix=self._prefix, suffix=self._suffix)
            ) as answer,
        ):
            self._catch_up()
            self._told = SimpleQueue()
            self._tried.set()
            Thread(target=_read, args=(answer, self._told), daemon=True).start()
            for messages in self._gathered():
                self._keep(messages)
                self._again.reset()

    def _catch_up(self) -> None:
        with translating(), self._engine.begin() as connection:
            runs.request_run(connection, Trigger.INTERVAL)

    def _gathered(self) -> Iterator[list[bytes]]:
        """What the store told, as much at once as has come, until it breaks off or stop()."""
        while not self._stopping.is_set():
            came = [self._told.get(), *_at_hand(self._told)]
            if len(came) > 1:  # each commit waits for the disk, and the store with it
                self._stopping.wait(BURST_SECONDS)
                came += _at_hand(self._told)
            yield [told for told in came if isinstance(told, bytes)]
            for told in came:
                if isinstance(told, Exception):
                    raise told
                if told is None:
                    return

    def _keep(self, messages: Iterable[bytes]) -> None:
        told = [event for message in messages if message.strip() for event in _events_of(message)]
        if told:
            with translating(), self._engine.begin() as connection:
                events.store(connection, told, source_bucket=self._settings.source_bucket)


def open_events(
    client: Minio, bucket: str, *, prefix: str = "", suffix: str = ""
) -> BaseHTTPResponse:
    """The open answer with the bucket's events; the client's own reader would hide a break.

    Raises:  ConfigurationError when the store does not support it; the client's own errors.
    """
    query: dict[str, str | list[str] | tuple[str]] = {
        "prefix": prefix,
        "suffix": suffix,
        "events": list(EVENTS),
    }
    try:
        answer = client._execute(  # noqa: SLF001
            "GET", bucket, query_params=query, preload_content=False
        )
    except MinioException as error:
        if is_unsupported(error):
            raise _cannot_be_listened_to(bucket) from error
        raise
    kind = answer.headers.get("Content-Type", "")
    if "xml" in kind:  # a listing of the bucket: the store ignores what it does not know
        answer.close()
        raise _cannot_be_listened_to(bucket)
    return answer


def _cannot_be_listened_to(bucket: str) -> ConfigurationError:
    return ConfigurationError(
        f"The object store does not support listening to the events of {bucket}.",
        hint="No change is lost: full runs find every change. Set EVENT_LISTEN=0 to stop trying to"
        " listen. If the store can send events, name its targets in EVENT_ARNS.",
    )


def _read(answer: BaseHTTPResponse, told: SimpleQueue[_Told]) -> None:
    """Hand on every line, a blank one too, which only says that the store is there."""
    try:
        for line in answer:
            told.put(line)
    except Exception as error:  # noqa: BLE001 - whoever keeps the lines has to know
        told.put(error)
    else:
        told.put(None)


def _at_hand(told: SimpleQueue[_Told]) -> Iterator[_Told]:
    """What has come by now."""
    with suppress(Empty):
        for _ in range(MOST_AT_ONCE):
            yield told.get_nowait()


def _events_of(message: bytes) -> list[BucketEvent]:
    try:
        return events.parse(message, keys_are_quoted=False)
    except WrongEvent as error:
        log.warning("what the store told is not understood", reason=error.message)
        return []


def listen(settings: Settings, *, prefix: str = "", suffix: str = "") -> None:
    """Listen in this process until SIGTERM or SIGINT."""
    listener = Listener(settings, prefix=prefix, suffix=suffix)

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        listener.stop()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    log.info("listening", bucket=settings.source_bucket)
    listener.run_forever()


def listening(settings: Settings) -> AbstractContextManager[None]:
    """Listen in a thread for as long as the block runs, if EVENT_LISTEN says so.

    The block begins when that has asked for its first run: what others ask for is that same run.
    """
    return _listening(settings) if settings.event_listen else nullcontext()


@contextmanager
def _listening(settings: Settings) -> Iterator[None]:
    listener = Listener(settings)
    thread = Thread(target=_listen_or_say, args=(listener, settings), daemon=True)
    thread.start()
    listener.wait_until_tried(START_SECONDS)
    try:
        yield
    finally:
        listener.stop()
        thread.join(STOP_SECONDS)


def _listen_or_say(listener: Listener, settings: Settings) -> None:
    try:
        listener.run_forever()
    except EtlError as error:
        log.warning("not listening", reason=error.message, hint=error.hint)
        log.warning("changes are seen by interval", interval=duration_text(settings.etl_interval))
