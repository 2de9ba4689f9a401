"""The progress of a run: shown by its process, and recorded for all others."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from etl.db.active_runs import record_progress
from etl.db.engine import translating
from etl.model.errors import DatabaseUnavailable
from etl.model.snapshot import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Connection, Engine

    Progress: TypeAlias = "Callable[[str, int], None]"

INTERVAL_SECONDS = 1.0

Item = TypeVar("Item")


class RunProgress:
    """What a run has done so far.

    It is recorded once a second, over a connection of its own. Runs that end within a second record
    nothing. `engine` None records nothing at all.
    """

    def __init__(self, engine: Engine | None, run_id: int, tell: Progress) -> None:
        self._engine = engine
        self._run_id = run_id
        self._tell = tell
        self._recorded_at = time.monotonic()
        self._connection: Connection | None = None
        self._found = 0
        self._is_complete = False

    def report(self, name: str, done: int) -> None:
        """Report what a step has done.

        Raises:  RunCanceled.
        """
        self._tell(name, done)
        if time.monotonic() - self._recorded_at >= INTERVAL_SECONDS:
            total = self._found if name == "read" and self._is_complete else None
            self._record(Step(name, done, total))
            self._recorded_at = time.monotonic()

    def counting(self, changes: Iterable[Item], *, is_last: bool) -> Iterator[Item]:
        """The changes; after those of the last bucket, their number is known."""
        for change in changes:
            self._found += 1
            yield change
        self._is_complete = is_last

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            with suppress(DatabaseUnavailable), translating():
                self._connection.close()
            self._connection = None

    def _record(self, step: Step) -> None:
        """Record the step; an outage of the database fails the run elsewhere."""
        if self._engine is None:
            return
        with suppress(DatabaseUnavailable), translating():
            if self._connection is None:
                autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")
                self._connection = autocommit.connect()
            record_progress(self._connection, self._run_id, step)
