"""Objects that all routes share: settings, database connections, object store, current date."""

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

from api.state.catalog import Catalog
from api.state.checks import FileChecks
from api.state.group_commit import GroupCommit
from api.state.measures import Measures
from api.state.slots import Slots
from api.state.sources import SourceBuckets
from api.state.watch import Watch
from api.state.write_checks import WriteChecks
from etl.db import events
from etl.db.engine import check_after, connect, translating
from etl.model.errors import DatabaseMisconfigured, DatabaseUnavailable
from etl.storage.client import ObjectStore
from etl.storage.documents import DocumentStore, StripedLocks
from etl.storage.objects import Objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from flask import Flask
    from sqlalchemy import Connection, Engine

    from etl.model.dataset import Dataset
    from etl.settings import Settings

IDLE_TIMEOUT_SECONDS = 30
JSON_SCALAR_VERSION = 170_000  # PostgreSQL 17 added json_scalar()
MAX_WAITING_REQUESTS = 4
MAX_STREAMS = 8
MAX_STATISTICS = 2

_KEY = "bucketline"

# SQLSTATEs that report the state of the database rather than a bug.
QUERY_CANCELED = "57014"
_UNDEFINED_TABLE, _UNDEFINED_COLUMN = "42P01", "42703"
_OUTAGE_HINT = (
    "Try again in a few seconds. If the error persists, check that PostgreSQL is reachable at"
    " DATABASE_URL."
)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Timeouts in seconds. `idle` applies to clients that stop reading a streamed response.

    A request computes `statistics` that long, or waits for another one that does.
    """

    statement: float = 60
    statistics: float = 60
    idle: float = IDLE_TIMEOUT_SECONDS
    event_statement: float = 5
    probe: float = 3
    metrics: float = 5  # Prometheus gives up after 10 s


TIMEOUTS = Timeouts()


class Probe:
    """Runs a check that may hang in a separate thread, one at a time."""

    def __init__(self, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        self._pool = ThreadPoolExecutor(1)
        self._pending: Future[Any] | None = None

    def run(self, check: Callable[[], Any]) -> Any:  # noqa: ANN401 - any result
        """The result of the check, or of the previous one if that is still running.

        Raises:  TimeoutError when there is no result in time; any error of the check.
        """
        if self._pending is None or self._pending.done():
            self._pending = self._pool.submit(check)
        return self._pending.result(self.timeout_seconds)


@dataclass
class Services:
    """One instance per app. Semaphores limit how many requests may occupy a thread for long.

    `waiting` counts requests that wait for a run, `streams` counts streamed responses.
    """

    settings: Settings
    engine: Engine
    today: Callable[[], date]
    timeouts: Timeouts = TIMEOUTS
    json_scalar_version: int = JSON_SCALAR_VERSION
    waiting: BoundedSemaphore = field(
        default_factory=lambda: BoundedSemaphore(MAX_WAITING_REQUESTS)
    )
    streams: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(MAX_STREAMS))
    statistics: Slots = field(default_factory=lambda: Slots(MAX_STATISTICS))
    document_locks: StripedLocks = field(default_factory=StripedLocks)
    catalog: Catalog = field(default_factory=Catalog)
    checks: FileChecks = field(init=False)
    database_probe: Probe = field(init=False)
    metrics_probe: Probe = field(init=False)
    event_commits: GroupCommit = field(init=False)
    measures: Measures = field(default_factory=Measures)
    store_watch: Watch = field(init=False)
    sources: SourceBuckets = field(init=False)

    def __post_init__(self) -> None:
        """Connect separately for events, so that a burst of them cannot block other requests."""
        self.checks = FileChecks(self.settings)
        self.database_probe = Probe(self.timeouts.probe)
        self.metrics_probe = Probe(self.timeouts.metrics)
        self.store_watch = Watch(self.store_latency)
        self.measures.watch(self.engine)
        engine = connect(
            self.settings,
            statement_timeout_seconds=self.timeouts.event_statement,
            pool_size=1,
            checks_schema=True,
        )

        self.measures.watch(engine)

        def store(batch: Sequence[events.BucketEvent]) -> int:
            with self.database(engine) as connection:
                source_bucket = self.settings.source_bucket
                return events.store(connection, batch, source_bucket=source_bucket, is_alone=True)

        self.event_commits = GroupCommit(store)

        def sources() -> list[str]:
            with self.database(engine) as connection:
                found = events.source_buckets(connection, self.settings.source_bucket)
            return sorted({*found, *self._own_buckets()})

        self.sources = SourceBuckets(sources, (self.settings.source_bucket,))

    def bucket_of(self, dataset: Dataset) -> str:
        """The bucket that a dataset is read from."""
        return dataset.bucket or self.settings.source_bucket

    def _own_buckets(self) -> list[str]:
        """The further buckets of the embedded store, which has no other users."""
        if not self.settings.embeds_object_store:
            return []
        return [one for one in self.store.bucket_names() if one not in self.settings.buckets]

    @cached_property
    def store(self) -> ObjectStore:
        """The object store, connected on first use because /data must work without it.

        Raises:  ConfigurationError when its settings are incomplete.
        """
        return ObjectStore(self.settings)

    def store_latency(self) -> float:
        """How many seconds the store took to respond; raises its error if it did not."""
        return self.store.check()

    @cached_property
    def write_checks(self) -> WriteChecks:
        """Cached checks whether the buckets are writable."""
        return WriteChecks(self.objects)

    @cached_property
    def objects(self) -> Objects:
        """Operations on single objects.

        Raises:  ConfigurationError when its settings are incomplete.
        """
        return Objects(self.store, self.settings)

    @cached_property
    def documents(self) -> DocumentStore:
        """The store of JSON documents.

        Raises:  ConfigurationError when the store's settings are incomplete.
        """
        return DocumentStore(self.objects, self.settings.document_bucket, self.document_locks)

    @cached_property
    def autocommit(self) -> Engine:
        """An engine for single statements, without the round trips of BEGIN and COMMIT."""
        return self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def database(self, engine: Engine | None = None) -> Iterator[Connection]:
        """A connection for one transaction, committed unless the block raises.

        Raises:  DatabaseUnavailable with a message for clients; its facts hold the reason.
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
        except (DBAPIError, psycopg2.Error) as error:  # COPY raises the driver's error
            cause = error.orig if isinstance(error, DBAPIError) else error
            check_after(self.engine, cause)  # SQLAlchemy does not see errors of COPY
            unavailable = self._unavailable(getattr(cause, "pgcode", None))
            if unavailable is None:
                raise
            raise unavailable from error

    @contextmanager
    def copy_connection(self) -> Iterator[Connection]:
        """A connection for one COPY, closed if the block raises because the COPY may still run.

        Raises:  the errors of `database`.
        """
        with self.database() as connection:
            try:
                yield connection
            except BaseException:
                connection.invalidate()
                raise

    def query_timeout(self) -> DatabaseUnavailable:
        """The error of a query that was canceled because it exceeded the timeout."""
        return DatabaseUnavailable(
            f"The query took longer than {self.timeouts.statement:g} s and was canceled.",
            hint="Request fewer rows: set `limit`, or narrow the filters.",
        )

    def _unavailable(self, sqlstate: str | None) -> DatabaseUnavailable | None:
        if sqlstate == QUERY_CANCELED:
            return self.query_timeout()
        if sqlstate == _UNDEFINED_TABLE:
            return DatabaseUnavailable(
                "The tables are missing.",
                hint="Run `./run.sh migrate` or `./run.sh up`; both create them.",
            )
        if sqlstate == _UNDEFINED_COLUMN:
            return DatabaseUnavailable(
                "A table does not have the columns that its dataset had when the request began.",
                hint="Send the request again: the dataset may have been rebuilt. If it fails again,"
                " another client changed the table, and the dataset has to be rebuilt.",
            )
        return None


def utc_today() -> date:
    """Today's date in UTC."""
    return datetime.now(UTC).date()


def install(app_extensions: dict[str, object], services: Services) -> None:
    """Store the services in an app."""
    app_extensions[_KEY] = services


def services_of(app: Flask) -> Services:
    """The services of an app."""
    return cast("Services", app.extensions[_KEY])


def services() -> Services:
    """The services of the current app."""
    return cast("Services", current_app.extensions[_KEY])
