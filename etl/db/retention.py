"""Remove old rows: closed problems, runs that no data refers to, handled events.

Each page is a separate transaction that locks only the rows it removes, so that runs and queries
continue. Open problems, the last runs and pending events are always kept.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from etl.db.engine import connect, translating
from etl.db.sql import statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import Connection, Engine

    from etl.settings import Settings

log = structlog.get_logger("etl.retention")

EVERY_SECONDS = 3600
SLICE_SECONDS = 1.0  # a run requested meanwhile waits at most this and one page
STATEMENT_TIMEOUT_SECONDS = 60
PAGE = 5_000
KEPT_RUNS = 100
# PostgreSQL's statistics predate the removal of rows, so it would scan a whole table with its dead
# rows for each row of a page, also for the foreign key's check.
_BY_INDEX = "; ".join(
    f"SET LOCAL enable_{kind} = off" for kind in ("seqscan", "hashjoin", "mergejoin")
)
_TOO_LONG = "57014"


@dataclass(frozen=True, slots=True)
class _Page:
    last: int | None
    may_be_more: bool
    gone: int


class Retention:
    """Applies PROBLEM_RETENTION, RUN_RETENTION and EVENT_RETENTION, in slices of a second."""

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
        gone: Counter[str] = Counter()
        try:
            for _ in self._each_table(gone):
                yield
        except DBAPIError as error:
            if getattr(error.orig, "pgcode", None) != _TOO_LONG:
                raise
            log.warning("removed only some old rows", reason="a statement took too long")
        if gone.total():
            log.info("removed old rows", **gone)

    def _each_table(self, gone: Counter[str]) -> Iterator[None]:
        """Remove problems first, because a run is kept as long as one of its problems."""
        settings = self._settings
        if settings.problem_retention:
            yield from self._pages("problems", self._remove_problems, gone)
        if settings.run_retention:
            used = self._used_runs()
            yield
            yield from self._pages("runs", partial(self._remove_runs, used), gone)
        if settings.event_retention:
            yield from self._pages("events", self._remove_events, gone)

    def _pages(
        self, name: str, remove: Callable[[Connection, int], _Page], gone: Counter[str]
    ) -> Iterator[None]:
        after = 0
        while True:
            with translating(), self._engine.begin() as connection:
                page = remove(connection, after)
            gone[name] += page.gone
            yield
            if page.last is None or not page.may_be_more:
                return
            after = page.last

    # -- a page of each

    def _remove_problems(self, connection: Connection, after: int) -> _Page:
        parameters = {"after": after, "page": PAGE, "age": self._settings.problem_retention}
        return _Page(*_row(connection, "problems", parameters))

    def _remove_runs(self, used: set[int], connection: Connection, after: int) -> _Page:
        age = self._settings.run_retention
        parameters = {"after": after, "page": PAGE, "age": age, "kept": KEPT_RUNS}
        last, may_be_more, old = _row(connection, "old_runs", parameters)
        unused = [run_id for run_id in old if run_id not in used]
        connection.execute(text(statements("retention")["remove_runs"]), {"ids": unused})
        return _Page(last, may_be_more, len(unused))

    def _remove_events(self, connection: Connection, after: int) -> _Page:
        age, bucket = self._settings.event_retention, self._settings.source_bucket
        parameters = {"after": after, "page": PAGE, "age": age, "bucket": bucket}
        return _Page(*_row(connection, "events", parameters))

    def _used_runs(self) -> set[int]:
        with translating(), self._engine.begin() as connection:
            return set(connection.scalars(text(statements("retention")["used_runs"])))


def _row(connection: Connection, name: str, parameters: Mapping[str, object]) -> Any:  # noqa: ANN401
    connection.execute(text(_BY_INDEX))
    return connection.execute(text(statements("retention")[name]), parameters).one()
