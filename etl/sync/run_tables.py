"""The staging tables of one run, which other processes fill: `staging_<run>_…`.

A run whose batches are read elsewhere cannot know when an attempt to read one ends: its worker may
be cut off and go on. Therefore

- each attempt is one transaction. It stages all objects, problems and rows of its batch, and
  claims the batch. The first that commits counts; all others write nothing.
- a batch that is given up is claimed by the run, so that no attempt can commit afterwards.
- no two runs share tables. They are dropped by their run, or by the next one if it was killed; a
  COPY of an attempt that is still running fails then.

PostgreSQL tags each row with the transaction that wrote it (`xmin`), so also with the attempt.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from etl.db import dataset_tables
from etl.db.connection import LOCK_NOT_AVAILABLE
from etl.db.dataset_names import run_staging_table, successor_table
from etl.db.identifiers import in_text
from etl.db.sql import statements
from etl.model.errors import DatabaseUnavailable
from etl.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from etl.db.dataset_sql import DatasetSql
    from etl.sync.batch import Batch

log = get_logger("etl.run")

READER = "bucketline reader"  # the application_name of the sessions of attempts
LOCK_TIMEOUT = "2s"
_DROP_ATTEMPTS = 3
LEFT_OVER = (
    "SELECT CAST(relname AS text) FROM pg_class"
    " WHERE relnamespace = to_regnamespace(quote_ident(current_schema()))"
    " AND relkind = 'r' AND CAST(relname AS text) ~ '^(staging|successor)_[0-9]+_'"
)


class Staging(NamedTuple):
    """The tables that take batches: of objects, of problems, and by dataset that of its rows."""

    objects: str
    problems: str
    rows_of: Callable[[str], str]


@dataclass(frozen=True)
class ReadBatch:
    """What one attempt staged of a batch that was read elsewhere: numbers, and no rows.

    Shapes:  rows: by dataset, the number of its valid rows. unreadable, vanished: as of Batch.
             part: what was found in a part of one object, as JSON; see `etl.sync.parts`.
    Units:   cpu_seconds of the process that read it.
    """

    objects: int = 0
    rows: Mapping[str, int] = field(default_factory=dict)
    unreadable: Sequence[str] = field(default_factory=list)
    vanished: int = 0
    cpu_seconds: float = 0.0
    part: Mapping[str, Any] | None = None

    @property
    def row_count(self) -> int:
        """The number of rows of all datasets."""
        return sum(self.rows.values())

    def with_more(self, batch: Batch, discarded: int) -> ReadBatch:
        """What is staged after another part, which discarded that many rows staged before it."""
        rows = Counter(self.rows)
        rows.update({name: one.count for name, one in batch.rows.items()})
        if batch.discards is not None:
            rows[batch.discards.dataset] -= discarded
        return replace(
            self,
            objects=self.objects + len(batch.objects),
            rows=dict(rows),
            unreadable=[*self.unreadable, *batch.unreadable],
            vanished=self.vanished + batch.vanished,
        )


class RunTables:
    """The staging tables of one run: those of `datasets`, and of its batches by `numbers`."""

    def __init__(self, run_id: int, in_successor: Iterable[str] = ()) -> None:
        self.run_id = run_id
        self.in_successor = frozenset(in_successor)  # datasets whose rows have that instead
        self.datasets: set[str] = set()
        self.numbers = count(1)
        # Names of datasets begin with a letter.
        self._object, self._problem, self._claim = (
            run_staging_table(run_id, name) for name in ("_object", "_problem", "_claim")
        )
        self.staging = Staging(self._object, self._problem, self._rows_of)

    # -- of the run

    def create(self, connection: Connection) -> None:
        """Create the tables that all datasets share, and commit."""
        connection.execute(text(self._statement("create")))
        connection.commit()

    def create_for(self, connection: Connection, datasets: Sequence[DatasetSql]) -> None:
        """Create the tables of the rows of some datasets, and commit."""
        created = {
            sql.dataset.name: dataset_tables.create_staging(
                sql, table=in_text(self._rows_of(sql.dataset.name))
            )
            for sql in datasets
            if sql.dataset.name not in self.in_successor
        }
        if created:
            connection.execute(text("; ".join(created.values())))
        connection.commit()
        self.datasets.update(sql.dataset.name for sql in datasets)

    def give_up(self, connection: Connection, batch: int) -> ReadBatch | None:
        """Make sure that no attempt of the batch can commit any more, and commit.

        Returns what was staged if an attempt has committed already.
        """
        if self._claim_for(connection, batch, None):
            connection.commit()
            return None
        found = self.find(connection, batch)
        connection.commit()
        return found

    def discard(
        self, connection: Connection, batches: Sequence[int], dataset: str, key: str
    ) -> None:
        """Remove what batches of parts of one object have staged, and commit; none stages more."""
        for batch in batches:
            self.give_up(connection, batch)
        staged = in_text(self._rows_of(dataset))
        parameters = {"key": key, "batches": list(batches)}
        connection.execute(text(self._statement("discard", staged=staged)), parameters)
        connection.commit()

    def _claim_for(self, connection: Connection, batch: int, result: str | None) -> bool:
        """Claim the batch; end the attempt that is about to, if it does not end by itself."""
        for _ in range(_DROP_ATTEMPTS):
            try:
                connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
                found = connection.execute(
                    text(self._statement("claim")), {"batches": [batch], "result": result}
                )
            except DBAPIError as error:
                if getattr(error.orig, "pgcode", None) != LOCK_NOT_AVAILABLE:
                    raise
                connection.rollback()
                end_attempts(connection, [self._claim])
            else:
                return bool(found.rowcount)
        raise DatabaseUnavailable(f"An attempt to read batch {batch} does not end.")

    def collect(self, connection: Connection, bucket: str, datasets: Iterable[str]) -> int:
        """Check what was staged of the bucket, and stage its objects for the merge; commit.

        All of its batches are claimed. Returns the number of objects.

        Raises:  DatabaseUnavailable when rows are missing, as after a crash of PostgreSQL.
        """
        self.end_attempts(connection)  # none can commit any more
        for name in datasets:
            staged = in_text(self._rows_of(name))
            unlike = connection.execute(
                text(self._statement("unlike", staged=staged)), {"dataset": name}
            ).first()
            if unlike is not None:
                raise DatabaseUnavailable(
                    f"Staging holds {unlike.staged} of the {unlike.claimed} rows of dataset"
                    f" {name!r} in batch {unlike.batch}: PostgreSQL was restarted."
                )
        collected = connection.scalar(text(self._statement("collect")), {"bucket": bucket})
        connection.commit()
        return int(collected or 0)

    def end_attempts(self, connection: Connection) -> None:
        """End the sessions of attempts that are still open, and commit."""
        end_attempts(connection, [self._claim])

    def drop(self, connection: Connection) -> None:
        """Drop the tables that can be dropped now, and commit; the next run drops the others."""
        own = f"{LEFT_OVER} AND relname ~ '^[a-z]+_{self.run_id}_'"
        tables = connection.scalars(text(own)).all()
        connection.commit()
        drop(connection, tables)

    # -- of an attempt

    def begin_attempt(self, connection: Connection, batch: int) -> ReadBatch | None:
        """Begin the transaction of an attempt; return what was staged if another has committed.

        Raises:  LookupError when the run has given the batch up.
        """
        connection.execute(text(f"SET application_name = '{READER}'"))
        connection.commit()
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
        return self.find(connection, batch)

    def end_attempt(self, connection: Connection, batch: int, found: ReadBatch) -> ReadBatch:
        """Claim the batch and commit; return what was staged, by this attempt or another.

        Raises:  LookupError when the run has given the batch up.
        """
        parameters = {"batches": [batch], "result": json.dumps(asdict(found))}
        if connection.execute(text(self._statement("claim")), parameters).rowcount:
            connection.commit()
            return found
        connection.rollback()
        staged = self.find(connection, batch)
        if staged is None:
            raise LookupError(batch)
        return staged

    def find(self, connection: Connection, batch: int) -> ReadBatch | None:
        """What was staged of the batch; None if no attempt has committed.

        Raises:  LookupError when the run has given the batch up.
        """
        row = connection.execute(text(self._statement("claimed")), {"batch": batch}).first()
        if row is None:
            return None
        if row.result is None:
            raise LookupError(batch)
        return ReadBatch(**row.result)

    # -- names

    def _rows_of(self, dataset: str) -> str:
        if dataset in self.in_successor:
            return successor_table(dataset, self.run_id)
        return run_staging_table(self.run_id, dataset)

    def _statement(self, name: str, **others: str) -> str:
        return statements("run_tables")[name].format(
            object=in_text(self._object),
            problem=in_text(self._problem),
            claim=in_text(self._claim),
            **others,
        )


def end_attempts(connection: Connection, tables: Sequence[str]) -> None:
    """End the sessions of attempts that use the tables, and commit."""
    named = text(statements("run_tables")["end_attempts"])
    ended = connection.scalar(named, {"tables": list(tables), "reader": READER})
    connection.commit()
    if ended:
        log.warning("ended attempts to read that do not count any more", sessions=ended)


def drop(connection: Connection, tables: Sequence[str]) -> None:
    """Drop tables of runs, each with a commit, after attempts that still use them were ended.

    A table that another client has locked stays, for the next run.
    """
    if not tables:
        return
    end_attempts(connection, tables)
    for table in tables:
        try:
            connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
            connection.execute(text(f"DROP TABLE IF EXISTS {in_text(table)}"))
            connection.commit()
        except DBAPIError as error:
            if getattr(error.orig, "pgcode", None) != LOCK_NOT_AVAILABLE:
                raise
            connection.rollback()
            log.warning("left a staging table, which is locked", table=table)
