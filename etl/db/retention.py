"""Remove old rows: closed problems, runs that no data refers to, handled events, retired rows.

Each page is a separate transaction that locks only the rows it removes, so that runs and queries
continue. Open problems, the last runs and pending events are always kept.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from etl.db import revisions, tallies
from etl.db.engine import connect, translating
from etl.db.sql import statements
from etl.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import timedelta

    from sqlalchemy import Connection, Engine

    from etl.settings import Settings

log = get_logger("etl.retention")

EVERY_SECONDS = 3600
SLICE_SECONDS = 1.0  # a run requested meanwhile waits at most this and one page
STATEMENT_TIMEOUT_SECONDS = 60
PAGE = 5_000
PAGE_BLOCKS = 200  # of a table without an index for its old rows
KEPT_RUNS = 100
# PostgreSQL's statistics predate the removal of rows, so it would scan a whole table with its dead
# rows for each row of a page, also for the foreign key's check.
_BY_INDEX = "; ".join(
    f"SET LOCAL enable_{kind} = off" for kind in ("seqscan", "hashjoin", "mergejoin")
)
_STATEMENT_TIMEOUT = "57014"


@dataclass(frozen=True, slots=True)
class RemovedPage:
    """The last id of a page, whether more pages may follow, and how many rows were removed."""

    last: int | None
    may_be_more: bool
    removed: int


class Retention:
    """Applies the retention settings, such as RUN_RETENTION, in slices of a second."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine: Engine = connect(
            settings,
            statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS,
            pool_size=1,
            checks_schema=True,
        )
        self._due = time.monotonic()
        self._pass: Iterator[None] | None = None

    def work(self) -> bool:
        """Remove old rows for a second; return whether any are left. A pass begins every hour.

        Raises:  DatabaseUnavailable; the next pass then begins in an hour.
        """
        if self._pass is None:
            if time.monotonic() < self._due:
                return False
            self._pass, self._due = self._whole_pass(), time.monotonic() + EVERY_SECONDS
        deadline = time.monotonic() + SLICE_SECONDS
        try:
            while time.monotonic() < deadline:
                next(self._pass)
        except StopIteration:
            self._end_pass()
        except BaseException:
            self._end_pass()
            raise
        return self._pass is not None

    def _end_pass(self) -> None:
        self._pass = None
        self._engine.dispose()  # no idle connection for an hour

    def _whole_pass(self) -> Iterator[None]:
        """Remove all old rows, one page per step."""
        removed = Counter[str]()
        try:
            for _ in self._each_table(removed):
                yield
        except DBAPIError as error:
            if getattr(error.orig, "pgcode", None) != _STATEMENT_TIMEOUT:
                raise
            log.warning("removed only some old rows", reason="a statement took too long")
        if removed.total():
            log.info("removed old rows", **removed)

    def _each_table(self, removed: Counter[str]) -> Iterator[None]:
        """Remove problems first, because a run is kept as long as one of its problems."""
        settings = self._settings
        if settings.problem_retention:
            remove = partial(remove_problems, age=settings.problem_retention)
            yield from self._pages("problems", remove, removed)
        if settings.run_retention:
            used = self._used_runs()
            yield
            remove = partial(remove_runs, age=settings.run_retention, used=used)
            yield from self._pages("runs", remove, removed)
            remove = partial(remove_alerts, age=settings.run_retention)
            yield from self._pages("alerts", remove, removed)
        if settings.event_retention:
            bucket = settings.source_bucket
            remove = partial(remove_events, age=settings.event_retention, bucket=bucket)
            yield from self._pages("events", remove, removed)
        if settings.retired_retention:
            for dataset, table in self._retired_tables():
                yield
                remove = partial(
                    remove_retired, dataset=dataset, table=table, age=settings.retired_retention
                )
                yield from self._pages("retired_rows", remove, removed)

        yield from self._pages("tallies", remove_hours, removed)

    def _pages(
        self, name: str, remove: Callable[[Connection, int], RemovedPage], removed: Counter[str]
    ) -> Iterator[None]:
        after = 0
        while True:
            with translating(), self._engine.begin() as connection:
                page = remove(connection, after)
            removed[name] += page.removed
            yield
            if page.last is None or not page.may_be_more:
                return
            after = page.last

    def _used_runs(self) -> set[int]:
        with translating(), self._engine.begin() as connection:
            return used_runs(connection, self._settings.database_schema)

    def _retired_tables(self) -> list[tuple[str, str]]:
        with translating(), self._engine.begin() as connection:
            rows = connection.execute(
                text(statements("retention")["retired_tables"]),
                {"schema": self._settings.database_schema},
            )
            return [(row.name, row.table_name) for row in rows]


def used_runs(connection: Connection, data_schema: str) -> set[int]:
    """The runs that the state or a row of any dataset refers to."""
    named = statements("retention")
    used = set(connection.scalars(text(named["used_runs"])))
    for table in connection.scalars(text(named["data_tables"]), {"schema": data_schema}).all():
        used.update(connection.exec_driver_sql(f"SELECT DISTINCT _run_id FROM {table}").scalars())
    return used


# -- one page of each table, after the id `after`; the caller commits


def remove_problems(connection: Connection, after: int, *, age: timedelta) -> RemovedPage:
    """Remove the closed problems that are older than `age`."""
    return RemovedPage(*_row(connection, "problems", {"after": after, "page": PAGE, "age": age}))


def remove_runs(
    connection: Connection, after: int, *, age: timedelta, used: set[int]
) -> RemovedPage:
    """Remove the runs that are older than `age` and not `used`."""
    parameters = {"after": after, "page": PAGE, "age": age, "kept": KEPT_RUNS}
    last, may_be_more, old = _row(connection, "old_runs", parameters)
    unused = [run_id for run_id in old if run_id not in used]
    connection.execute(text(statements("retention")["remove_runs"]), {"ids": unused})
    return RemovedPage(last, may_be_more, len(unused))


def remove_alerts(connection: Connection, after: int, *, age: timedelta) -> RemovedPage:
    """Remove the alerts that are older than `age`, and sent or given up."""
    return RemovedPage(*_row(connection, "alerts", {"after": after, "page": PAGE, "age": age}))


def remove_events(
    connection: Connection, after: int, *, age: timedelta, bucket: str
) -> RemovedPage:
    """Remove the handled events that are older than `age`."""
    parameters = {"after": after, "page": PAGE, "age": age, "bucket": bucket}
    return RemovedPage(*_row(connection, "events", parameters))


def remove_retired(
    connection: Connection, after: int, *, dataset: str, table: str, age: timedelta
) -> RemovedPage:
    """Remove rows older than `age` from the blocks of a table of retired rows, from `after` on."""
    last = after + PAGE_BLOCKS
    connection.execute(text(_BY_INDEX))
    row = connection.execute(
        text(statements("retention")["retired"].format(table=table)),
        {"first": f"({after},0)", "last": f"({last},0)", "table": table, "age": age},
    ).one()
    if row.removed:
        tallies.remove_retired(connection, dataset, row.removed)
        revisions.advance(connection, revisions.noun_of(dataset))
    return RemovedPage(last, last < row.blocks, row.removed)


def remove_hours(connection: Connection, _after: int) -> RemovedPage:
    """Remove the tallies of hours that are older than 90 days."""
    statement = text(statements("retention")["hours"])
    return RemovedPage(None, may_be_more=False, removed=int(connection.scalar(statement) or 0))


def _row(connection: Connection, name: str, parameters: Mapping[str, object]) -> Any:  # noqa: ANN401
    connection.execute(text(_BY_INDEX))
    return connection.execute(text(statements("retention")[name]), parameters).one()
