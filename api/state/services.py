"""What the routes share: settings, the database, the object store, the calendar."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any, cast

import psycopg2
from flask import current_app
from sqlalchemy.exc import DBAPIError

from api.state.intake import Intake
from api.state.write_checks import WriteChecks
from etl.db import events
from etl.db.engine import check_after, connect, translating
from etl.model.errors import DatabaseMisconfigured, DatabaseUnavailable
from etl.storage.client import ObjectStore
from etl.storage.documents import DocumentStore, StripedLocks
from etl.storage.objects import Objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection, Engine

    from etl.settings import Settings

STATEMENT_TIMEOUT_SECONDS = 60
IDLE_TIMEOUT_SECONDS = 30  # how long a long answer waits for its reader
INTAKE_TIMEOUT_SECONDS = 5
PROBE_SECONDS = 3
MAX_WAITING_REQUESTS = 4
MAX_STREAMS = 8

_KEY = "bucketline"

# Faults of a statement that are the database's state rather than ours, by SQLSTATE.
_TOO_LONG = "57014"
_STATES = {
    _TOO_LONG: (
        f"The query took longer than {STATEMENT_TIMEOUT_SECONDS} s and was stopped.",
        "Ask for less: set `limit`, or narrow the filters.",
    ),
    "42P01": (
        "The tables are missing.",
        "Run `./run.sh migrate`; `./run.sh up` does it as well.",
    ),
}
_OUTAGE_HINT = "Try again in a few seconds; if it lasts, check that DATABASE_URL answers."


class Probe:
    """Asks something that may hang, without hanging: one question at a time, in its own thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._asked: Future[Any] | None = None

    def ask(self, question: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever is asked
        """The answer, also one to the same question asked before and not answered yet.

        Raises:  TimeoutError when there is none within 3 s; whatever the question raises.
        """
        if self._asked is None or self._asked.done():
            self._asked = self._pool.submit(question)
        return self._asked.result(PROBE_SECONDS)


@dataclass
class Services:
    """One per app. Semaphores bound how many requests may hold a thread for long.

    `waiting` are those that wait for a run, `streams` those whose answer goes out in pieces.
    """

    settings: Settings
    engine: Engine
    today: Callable[[], date]
    patience_seconds: float = IDLE_TIMEOUT_SECONDS
    waiting: BoundedSemaphore = field(
        default_factory=lambda: BoundedSemaphore(MAX_WAITING_REQUESTS)
    )
    streams: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(MAX_STREAMS))
    document_turns: StripedLocks = field(default_factory=StripedLocks)
    database_probe: Probe = field(default_factory=Probe)
    intake: Intake = field(init=False)

    def __post_init__(self) -> None:
        """Events go over a connection of their own: a burst leaves the others to readers."""
        engine = connect(
            self.settings,
            statement_timeout_seconds=INTAKE_TIMEOUT_SECONDS,
            pool_size=1,
            checks_schema=True,
        )

        def keep(told: Sequence[events.BucketEvent]) -> int:
            with self.database(engine) as connection:
                return events.store(connection, told, source_bucket=self.settings.source_bucket)

        self.intake = Intake(keep)

    @cached_property
    def store(self) -> ObjectStore:
        """The object store; made when first asked for, because /data must not need it.

        Raises:  ConfigurationError when its settings are incomplete.
        """
        return ObjectStore(self.settings)

    def store_latency(self) -> float:
        """How many seconds the store takes for a sign of life; raises what it fails with."""
        return self.store.check()

    @cached_property
    def write_checks(self) -> WriteChecks:
        """Whether our buckets can be written, as far as it was tried of late."""
        return WriteChecks(self.objects)

    @cached_property
    def objects(self) -> Objects:
        """Single objects of the store.

        Raises:  ConfigurationError when its settings are incomplete.
        """
        return Objects(self.store, self.settings)

    @cached_property
    def documents(self) -> DocumentStore:
        """The JSON documents.

        Raises:  ConfigurationError when the store's settings are incomplete.
        """
        return DocumentStore(self.objects, self.settings.document_bucket, self.document_turns)

    @cached_property
    def reading(self) -> Engine:
        """For statements that each stand alone: BEGIN and COMMIT cost a round trip each."""
        return self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def database(self, engine: Engine | None = None) -> Iterator[Connection]:
        """A connection for one transaction, committed when the block ends well.

        Raises:  DatabaseUnavailable, in words fit for a client; the reason is in its facts.
                 DatabaseMisconfigured, such as NewerSchema.
        """
        try:
            with translating(), (engine or self.engine).begin() as connection:
                yield connection
        except DatabaseMisconfigured:
            raise
        except DatabaseUnavailable as error:
            raise DatabaseUnavailable(
                "PostgreSQL is not available.", hint=_OUTAGE_HINT, reason=error.message
            ) from error
        except (DBAPIError, psycopg2.Error) as error:  # the driver's own comes from COPY
            cause = error.orig if isinstance(error, DBAPIError) else error
            check_after(self.engine, cause)  # COPY goes past SQLAlchemy
            state = getattr(cause, "pgcode", None)
            if state not in _STATES:
                raise
            raise _unavailable(state) from error

    @contextmanager
    def lent(self) -> Iterator[Connection]:
        """A connection for one COPY, thrown away unless the block ends well.

        Whatever is still under way over it, or still to be cancelled, concerns nobody then.

        Raises:  as `database` does.
        """
        with self.database() as connection:
            try:
                yield connection
            except BaseException:
                connection.invalidate()
                raise


def took_too_long() -> DatabaseUnavailable:
    """The error of a query that was stopped because its time was up."""
    return _unavailable(_TOO_LONG)


def _unavailable(state: str) -> DatabaseUnavailable:
    message, hint = _STATES[state]
    return DatabaseUnavailable(message, hint=hint)


def utc_today() -> date:
    """Today's date in UTC."""
    return datetime.now(UTC).date()


def install(app_extensions: dict[str, object], services: Services) -> None:
    """Hand the services to an app."""
    app_extensions[_KEY] = services


def services() -> Services:
    """The services of the app that handles this request."""
    return cast("Services", current_app.extensions[_KEY])
