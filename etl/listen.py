"""Pull instead of push: hear of changes from a store that cannot reach us.

The connection stays open, and the store writes a line for each event. What happens while it is
broken is told to nobody; so a whole run is asked for each time it is made anew.
"""

from __future__ import annotations

import signal
import time
from contextlib import closing
from typing import TYPE_CHECKING

import structlog

from etl import events, runs
from etl.bucket import ObjectStore
from etl.database import connect, translating
from etl.errors import DatabaseUnavailable, ObjectStoreUnavailable, WrongEvent
from etl.model import Trigger
from etl.subscriptions import EVENTS

if TYPE_CHECKING:
    from types import FrameType

    from sqlalchemy import Engine
    from urllib3 import BaseHTTPResponse

    from etl.settings import Settings

log = structlog.get_logger("etl.listen")

FIRST_WAIT_SECONDS = 0.5
LAST_WAIT_SECONDS = 30


class Listener:
    """One bucket's events, from the store into the table."""

    def __init__(self, settings: Settings, *, prefix: str = "", suffix: str = "") -> None:
        self._settings = settings
        self._prefix, self._suffix = prefix, suffix
        self._store = ObjectStore(settings)
        self._engine: Engine = connect(settings)
        self._wait_seconds = FIRST_WAIT_SECONDS

    def run_forever(self) -> None:
        """Listen, and again after each break, ever more patiently, until SystemExit.

        Raises:  ConfigurationError when the store refuses us or cannot be listened to.
        """
        while True:
            try:
                self._listen()
            except (ObjectStoreUnavailable, DatabaseUnavailable) as error:
                log.warning("not listening", reason=error.message, again_in=self._wait_seconds)
            time.sleep(self._wait_seconds)
            self._wait_seconds = min(self._wait_seconds * 2, LAST_WAIT_SECONDS)

    def _listen(self) -> None:
        bucket = self._settings.source_bucket
        with (
            self._store.translating(f"listen to {bucket}", bucket),
            closing(self._answer(bucket)) as answer,
        ):
            self._catch_up()
            for line in answer:
                if line.strip():  # a blank one only says that the store is there
                    self._keep(line)
                self._wait_seconds = FIRST_WAIT_SECONDS

    def _answer(self, bucket: str) -> BaseHTTPResponse:
        """The open answer; the client's own reader would hide from us that it broke."""
        query: dict[str, str | list[str] | tuple[str]] = {
            "prefix": self._prefix,
            "suffix": self._suffix,
            "events": list(EVENTS),
        }
        return self._store.client._execute(  # noqa: SLF001
            "GET", bucket, query_params=query, preload_content=False
        )

    def _catch_up(self) -> None:
        with translating(), self._engine.begin() as connection:
            runs.request_run(connection, Trigger.INTERVAL)

    def _keep(self, message: bytes) -> None:
        try:
            told = events.parse(message)
        except WrongEvent as error:
            log.warning("what the store told is not understood", reason=error.message)
            return
        with translating(), self._engine.begin() as connection:
            events.store(connection, told, source_bucket=self._settings.source_bucket)


def listen(settings: Settings, *, prefix: str = "", suffix: str = "") -> None:
    """Listen in this process until SIGTERM or SIGINT."""

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    log.info("listening", bucket=settings.source_bucket)
    Listener(settings, prefix=prefix, suffix=suffix).run_forever()
