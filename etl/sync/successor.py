"""The successor of an empty table: a new table that a first load fills instead of staging.

The successor then replaces the table and gets its indexes, so that each row is written only once.
The merge can also read it as it reads staging. It inserts the rows into the table as usual

- if the rows are not in key order, in which the table should have them, or have images,
- if another client added something to the table that its successor would not have: a grant, an
  index, a trigger, a view, a comment,
- if a transaction is open that began before the last row was written. Batches are committed one
  by one, and its snapshot may contain some of them.

A killed run leaves the successor in the schema of the state; the next run drops it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from etl.db import dataset_tables
from etl.db.dataset_names import SUCCESSOR_PREFIX, indexes, successor_table
from etl.db.dataset_sql import DatasetSql, StagedIn
from etl.db.engine import is_outage
from etl.db.identifiers import in_text
from etl.db.sql import statements
from etl.runtime.logs import get_logger
from etl.sync.key_order import KeyOrders

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from etl.sync.batch import Batch
    from etl.sync.run_tables import RunTables

log = get_logger("etl.merge")

# Columns of pg_class and pg_attribute in which tables that are alike may differ.
_VARYING = [
    *("oid", "relname", "relnamespace", "reltype", "relfilenode", "reltoastrelid", "reloptions"),
    *("relpages", "reltuples", "relallvisible", "relallfrozen", "relfrozenxid", "relminmxid"),
    *("relhasindex", "relnatts", "attrelid", "attnum", "atthasmissing", "attmissingval"),
]
_ADDED_LAST = ["_run_id", "_updated_at"]
_NOT_IN_ORDER = "the rows are not in key order"
_NOT_REPLACEABLE = "the table has rows, or another client has changed it"
# The successors that a killed run left.
LEFT_OVER = (
    "SELECT CAST(relname AS text) FROM pg_class"
    " WHERE relnamespace = to_regnamespace(quote_ident(current_schema()))"
    f" AND CAST(relname AS text) ~ '^{SUCCESSOR_PREFIX}[^0-9]' AND relkind = 'r'"
)
WAIT_SECONDS = 2.0  # for short transactions of other clients, before the usual merge
_POLL_SECONDS = 0.05


@dataclass
class Successors:
    """The datasets of a run whose rows are in the successors of their tables.

    `taken` are those whose successor has replaced the table. `orders` tells for all datasets of the
    run whether their rows arrive in key order. Other datasets have their rows in the
    `run_tables`, if those were created.
    """

    is_allowed: bool = True
    orders: KeyOrders = field(default_factory=KeyOrders)
    names: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    run_tables: RunTables | None = None
    _considered: set[str] = field(default_factory=set)
    _earlier: list[str] = field(default_factory=list)

    def prepare(
        self, connection: Connection, datasets: Iterable[DatasetSql], batch: Batch, many: int
    ) -> None:
        """Create the successor of each dataset with at least `many` rows in the batch; commit."""
        if batch.discards is not None:  # the discarded rows leave gaps
            self.orders.add(batch.discards.dataset, None)
        for name, rows in batch.rows.items():
            self.orders.add(name, rows.keys)
            if self.is_allowed and rows.count >= many and name not in self._considered:
                self._considered.add(name)
                (sql,) = (one for one in datasets if one.dataset.name == name)
                in_order = self.orders.is_ascending(name)
                reason = _create(connection, sql) if in_order else _NOT_IN_ORDER
                if not reason:
                    self.names.add(name)
                else:
                    log.info("staging the rows of a first load", dataset=name, reason=reason)

    def prepare_for_run(
        self, connection: Connection, datasets: Iterable[DatasetSql], run_id: int
    ) -> None:
        """Create the successor of each empty table, for processes that fill it; commit.

        Their rows arrive in no order. If keys are repeated, the successor is merged.
        """
        for sql in datasets:
            name = sql.dataset.name
            self.orders.add(name, None)
            if self.is_allowed and name not in self._considered:
                self._considered.add(name)
                if not _create(connection, replace(sql, of_run=run_id)):
                    self.names.add(name)

    def staged(self, sql: DatasetSql) -> DatasetSql:
        """The statements of the dataset, which read its rows from where they are staged."""
        name = sql.dataset.name
        of_run = self._run_of(name)
        others = StagedIn.STAGING if of_run is None else StagedIn.RUN
        staged_in = StagedIn.SUCCESSOR if name in self.names else others
        return replace(sql, staged_in=staged_in, of_run=of_run)

    def _run_of(self, name: str) -> int | None:
        """The run that has tables of its own for the rows of the dataset."""
        tables = self.run_tables
        return tables.run_id if tables is not None and name in tables.datasets else None

    def drop(self, connection: Connection) -> None:
        """Drop the successors that are left. The caller commits, or tries the merge again."""
        for name in sorted(self.names):
            drop(connection, successor_table(name, self._run_of(name)))

    def leave_out(self, connection: Connection, name: str) -> None:
        """Drop the successor of a dataset, if it has one. The caller commits."""
        if name in self.names:
            self.names.remove(name)
            drop(connection, successor_table(name, self._run_of(name)))

    def note_transactions(self, connection: Connection) -> None:
        """Note the transactions of other clients that are open after the last batch."""
        if self.names:
            self._earlier = list(connection.scalars(text(_named()["open_transactions"])))

    def take_over(
        self, connection: Connection, sql: DatasetSql, run_id: int, *, with_images: bool
    ) -> bool:
        """Replace the empty table by its successor, with all rows and all indexes.

        Returns False if the rows have to be inserted or merged; nothing is changed then.
        """
        name = sql.dataset.name
        self.taken.discard(name)
        if sql.staged_in is not StagedIn.SUCCESSOR:
            return False
        if with_images or not (sql.is_sorted or sql.of_run is not None):
            reason = "rows have images" if with_images else _NOT_IN_ORDER
        elif not self._have_ended(connection):
            reason = "a transaction of another client is open"
        else:
            reason = _replace(connection, sql, run_id)
        if reason:
            log.info("inserting the rows into the empty table", dataset=name, reason=reason)
        else:
            log.info("replaced the empty table by the new one", dataset=name)
            self.taken.add(name)
        return not reason

    def _have_ended(self, connection: Connection) -> bool:
        """Whether the transactions that may see some of the rows end in time."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self._are_open(connection):
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)  # PostgreSQL does not notify of the end of a transaction
        return True

    def _are_open(self, connection: Connection) -> bool:
        """Whether some of the transactions that may see some of the rows are still open."""
        if self._earlier:
            found = set(connection.scalars(text(_named()["open_transactions"])))
            self._earlier = [one for one in self._earlier if one in found]
        return bool(self._earlier)


def _named() -> Mapping[str, str]:
    return statements("successor")


def drop(connection: Connection, name: str) -> None:
    """Drop a table in the schema of the state, never one with this name in another schema."""
    schema = connection.scalar(text("SELECT current_schema()"))
    connection.execute(text(f"DROP TABLE IF EXISTS {in_text(str(schema))}.{in_text(name)}"))


def _create(connection: Connection, sql: DatasetSql) -> str:
    """Create the successor with the rows staged so far; return why not, or an empty text."""
    named = sql.statements("successor")
    try:
        with connection.begin() as transaction:
            _limit_waiting(connection)
            if not is_replaceable(connection, sql):
                return _NOT_REPLACEABLE
            connection.execute(text(dataset_tables.create_successor(sql)))
            _execute_found(connection, sql, "copy_privileges")
            if not is_alike(connection, sql, missing=_ADDED_LAST):
                transaction.rollback()
                return _NOT_REPLACEABLE
            if connection.execute(text(named["take_staged"])).rowcount:
                connection.execute(text(named["clear_staged"]))
    except DBAPIError as error:
        if is_outage(error.orig):
            raise
        return _cause(error)
    return ""


def _replace(connection: Connection, sql: DatasetSql, run_id: int) -> str:
    """Replace the table by its successor; return why nothing was changed, or an empty text."""
    named, first_load = sql.statements("successor"), sql.statements("first_load")
    savepoint = connection.begin_nested()
    try:
        _limit_waiting(connection)
        connection.execute(text(named["lock_table"]))
        connection.execute(text(named["complete"]), {"run_id": run_id})
        if not (is_replaceable(connection, sql) and is_alike(connection, sql)):
            savepoint.rollback()
            return _NOT_REPLACEABLE
        _execute_found(connection, sql, "rename_constraints")
        connection.execute(text(named["swap"]))
        connection.execute(text(first_load["create_indexes"]))
        connection.execute(text(first_load["update_statistics"]))
        connection.execute(text("SET LOCAL lock_timeout TO DEFAULT"))
        savepoint.commit()
    except DBAPIError as error:
        if is_outage(error.orig):
            raise
        savepoint.rollback()
        return _cause(error)
    return ""


def _execute_found(connection: Connection, sql: DatasetSql, name: str) -> None:
    """Execute the statements that this one returns."""
    for statement in connection.scalars(text(_named()[name]), _both(sql)).all():
        connection.exec_driver_sql(statement)


def _limit_waiting(connection: Connection) -> None:
    connection.execute(text(f"SET LOCAL lock_timeout = '{dataset_tables.LOCK_TIMEOUT}'"))


def is_replaceable(connection: Connection, sql: DatasetSql) -> bool:
    """Whether nothing is lost when the table is dropped, and the successor may be created."""
    names = [index.name for index in indexes(sql.dataset)]
    parameters = {"schema": sql.schema, "table": _plain(sql.table), "indexes": names}
    return bool(connection.scalar(text(sql.statements("successor")["is_replaceable"]), parameters))


def is_alike(connection: Connection, sql: DatasetSql, missing: Iterable[str] = ()) -> bool:
    """Whether the successor is like the table, apart from the columns that are still `missing`."""
    parameters = {**_both(sql), "missing": list(missing), "varying": _VARYING}
    return bool(connection.scalar(text(_named()["is_alike"]), parameters))


def _both(sql: DatasetSql) -> dict[str, str]:
    return {"table": _plain(sql.table), "successor": _plain(sql.successor)}


def _plain(name: str) -> str:
    """The quoted name as a value of a parameter."""
    return name.replace("\\:", ":")


def _cause(error: DBAPIError) -> str:
    """The SQLSTATE only, because the message may contain data."""
    return f"SQLSTATE {getattr(error.orig, 'pgcode', None)}"
