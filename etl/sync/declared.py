"""The declared datasets: installed in the database, and read from it by each run.

A process installs its datasets once, so that two processes with different files do not change
them in turn. All runs use the installed ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic_core import to_json as as_text
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from etl.db import dataset_tables, reshaping, tallies
from etl.db.connection import LOCK_NOT_AVAILABLE
from etl.db.dataset_sql import DatasetSql
from etl.db.reshaping import Reshaped
from etl.db.round_trips import Question, ask
from etl.db.sql import statements
from etl.model.dataset import USERS
from etl.model.declaration import (
    Effect,
    compare,
    from_json,
    reading_hash,
    rebuilding,
    to_json,
)
from etl.model.errors import ConfigurationError, DatasetRefused
from etl.model.routing import path_names
from etl.sync.outputs import columns_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from etl.model.dataset import Dataset
    from etl.model.declaration import DeclarationChange
    from etl.model.errors import EtlError

_TOO_MANY_COLUMNS = "54011"

Begin: TypeAlias = "Callable[[], AbstractContextManager[object]]"


@dataclass(frozen=True)
class Declared:
    """The installed datasets in their order, and the hash of what decides the rows of each.

    `is_new`: no full run has completed since they were changed, so the manifest may have objects
    of other datasets. `failures` are datasets that could not be installed; they stay as they are.
    """

    datasets: tuple[DatasetSql, ...] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)
    is_new: bool = False
    failures: Mapping[str, EtlError] = field(default_factory=dict)

    @property
    def values(self) -> tuple[Dataset, ...]:
        """The declarations."""
        return tuple(sql.dataset for sql in self.datasets)


LOAD = Question(statements("declared")["load"], {})


def load(connection: Connection, schema: str) -> Declared:
    """The installed datasets. The caller ends the transaction."""
    return loaded(ask(connection, {"datasets": LOAD})["datasets"], schema)


def loaded(rows: Sequence[Mapping[str, Any]], schema: str) -> Declared:
    """The result of LOAD."""
    return Declared(
        tuple(
            DatasetSql(from_json(row["declaration"]), schema, tuple(row["added_columns"]))
            for row in rows
        ),
        {row["name"]: row["reading_hash"] for row in rows},
        any(row["is_new"] for row in rows),
    )


@dataclass
class Declarations:
    """The declarations of a process, which its next run installs; without any, the installed ones.

    They are installed once, or else two processes with different files would do so in turn.
    """

    schema: str
    source_bucket: str
    to_install: tuple[Dataset, ...] | None

    def of_full_run(self, connection: Connection, *, rebuilt: str | None = None) -> Declared:
        """The datasets of a full run; those of this process are installed first, but `rebuilt`."""
        if self.to_install is None and (known := self._load(connection)).datasets:
            return known
        known = self.install(connection, rebuilt=rebuilt)
        if not known.failures and rebuilt is None:
            self.to_install = None
        return known

    def first(self, connection: Connection) -> Declared:
        """The datasets of an event run before the first full run, installed now."""
        known = self.install(connection)
        self.to_install = None
        return known

    def planned(self, connection: Connection, *, rebuilt: str | None = None) -> Declared:
        """What `of_full_run` would return; the tables are not changed."""
        if self.to_install is None and (known := self._load(connection)).datasets:
            return known
        with connection.begin() as transaction:
            known = self.install(connection, connection.begin_nested, rebuilt=rebuilt)
            transaction.rollback()
        return known

    def install(
        self, connection: Connection, begin: Begin | None = None, *, rebuilt: str | None = None
    ) -> Declared:
        """Make the declared datasets the installed ones, with their tables; commit.

        A dataset whose tables cannot be created or altered is a failure, and keeps its former
        declaration. A dataset that is declared again has its former rows; the next full run updates
        them. `begin` begins each transaction. If `rebuilt` is installed, it keeps its former
        declaration: its rebuild changes everything of it at once.
        """
        begin = begin or connection.begin
        declared = self.to_install or (USERS,)
        with begin():
            before = load(connection, self.schema)
        if before.values == declared:
            return before
        known = {sql.dataset.name: sql for sql in before.datasets}
        failures: dict[str, EtlError] = {}
        new: list[DatasetSql] = []
        for dataset in declared:
            former = known.get(dataset.name)
            if dataset.name == rebuilt and former is not None:
                continue
            if former is None or former.dataset != dataset:
                with begin():
                    sql = self._with_added(connection, dataset, former)
                failure = ensure(connection, begin, sql, former)
                if failure is not None:
                    failures[dataset.name] = failure
                    continue
                with begin():
                    if former is None:
                        new.append(sql)
                        self._adopt_orphans(connection, sql)
                        tallies.lock(connection)
                        tallies.recount(connection, sql)
                    else:
                        _note_columns(connection, former, sql)
        with begin():
            kept = {*failures, *(known.keys() & {rebuilt})}
            installed = [one for one in declared if one.name not in kept]
            if installed != [one for one in before.values if one.name not in kept]:
                _store(connection, installed, kept)
            for sql in new:
                _store_columns(connection, sql)
            found = load(connection, self.schema)
        return replace(found, failures=failures)

    def _with_added(
        self, connection: Connection, dataset: Dataset, former: DatasetSql | None
    ) -> DatasetSql:
        """The dataset with the columns that data added to its tables and that it does not declare.

        They become empty where it does not add columns any more. Tables that get another shape
        lose them.
        """
        sql = DatasetSql(dataset, self.schema)
        if former is None:
            left = dataset_tables.left_columns(connection, sql)
            return replace(sql, added=tuple(name for name, is_added in left.items() if is_added))
        if can_be_reshaped(connection, former, sql):
            return sql
        columns = _columns(dataset)
        return replace(sql, added=tuple(name for name in former.added if name not in columns))

    def _adopt_orphans(self, connection: Connection, sql: DatasetSql) -> None:
        bucket = sql.dataset.bucket or self.source_bucket
        connection.execute(
            text(sql.statements("orphans")["adopt"]),
            {"dataset": sql.dataset.name, "bucket": bucket},
        )

    def _load(self, connection: Connection) -> Declared:
        known = load(connection, self.schema)
        connection.commit()
        return known


def changes(before: Declared, datasets: Sequence[Dataset]) -> dict[str, list[str]]:
    """By dataset, sentences that describe what these declarations change."""
    former = {one.name: one for one in before.values}
    found = {one.name: _changes(former.get(one.name), one) for one in datasets}
    return found | {
        name: [f"No longer declared; its table {one.table} stays as it is."]
        for name, one in former.items()
        if name not in found
    }


def new_table(dataset: Dataset) -> str:
    """The sentence on a dataset that is not installed yet."""
    return f"New: the table {dataset.table}."


def _changes(former: Dataset | None, dataset: Dataset) -> list[str]:
    if former is None:
        return [new_table(dataset)]
    found = [change.sentence for change in compare(former, dataset)]
    if not found and former != dataset:
        found.append("Changed; its table and its rows stay as they are.")
    return found


def keep_new(connection: Connection) -> None:
    """Let the next run compare all objects with the changed declarations. The caller commits.

    A run that is limited to some datasets has done so only for them.
    """
    connection.execute(text(statements("declared")["keep_new"]))


def ensure(
    connection: Connection,
    begin: Begin,
    sql: DatasetSql,
    former: DatasetSql | None,
    *,
    keeps_staging: bool = False,
) -> EtlError | None:
    """Create the tables of the dataset, or alter those of its former declaration, and commit.

    Tables without rows get any shape; so do those of an earlier declaration. Returns the error if
    a change is refused, or if a table is in use. Indexes have a transaction of their own, because
    the tables are locked until the end of the one that alters them.
    """
    changes = [] if former is None else compare(former.dataset, sql.dataset)
    refusal = refused(changes, sql.dataset.name)
    reshaped = Reshaped.NOT_FREE
    try:
        with begin():
            if refusal is not None or former is None:
                reshaped = reshaping.reshape_empty(connection, former or sql, sql)
            if reshaped is Reshaped.COMPLETE and not keeps_staging:
                dataset_tables.renew_staging(connection, sql)
                return None
            if reshaped is not Reshaped.NOT_FREE:
                changes = []
            elif refusal is not None:
                return refusal
            dataset_tables.ensure(connection, sql, changes, keeps_staging=keeps_staging)
        with begin():
            dataset_tables.ensure_indexes(connection, sql)
    except ConfigurationError as error:
        return error
    except DBAPIError as error:
        return _not_altered(error, sql.dataset.name)
    return None


def can_be_reshaped(connection: Connection, former: DatasetSql, sql: DatasetSql) -> bool:
    """Whether changes that would rewrite the tables are made at once, as these have no rows."""
    found = refused(compare(former.dataset, sql.dataset), sql.dataset.name)
    return found is not None and reshaping.is_free(connection, former, sql)


def refused(changes: Iterable[DeclarationChange], name: str) -> ConfigurationError | None:
    """The error of those changes of a dataset that would rewrite its table; None without any."""
    found = [one for one in changes if one.effect is Effect.REFUSED]
    if not found:
        return None
    return ConfigurationError(
        f"Dataset {name!r} needs a rebuild: {' '.join(one.sentence for one in found)}",
        hint=found[0].remedy,
    )


def _not_altered(error: DBAPIError, name: str) -> EtlError:
    """Why PostgreSQL did not alter a table of the dataset."""
    code = getattr(error.orig, "pgcode", None)
    if code == _TOO_MANY_COLUMNS:
        return ConfigurationError(
            f"Dataset {name!r} needs a rebuild: with all columns that were dropped, its table has"
            " as many as PostgreSQL allows.",
            hint=rebuilding(name),
        )
    if code != LOCK_NOT_AVAILABLE:
        raise error
    return DatasetRefused(
        f"The table of dataset {name!r} is in use, so it could not be changed.",
        hint="The next full run tries again. End long transactions that read the table.",
    )


def _columns(dataset: Dataset) -> list[str]:
    """The columns that are declared, which data may have added before."""
    attached = (one.column for one in dataset.attachments)
    return [*dataset.field_names, *path_names(dataset), *attached]


def _store(connection: Connection, datasets: Sequence[Dataset], kept: Iterable[str]) -> None:
    """Write the declarations, in their order, and delete all others but those kept."""
    named = statements("declared")
    names = [one.name for one in datasets]
    connection.execute(text(named["delete_others"]), {"names": [*names, *kept]})
    for place, dataset in enumerate(datasets):
        connection.execute(
            text(named["write"]),
            {
                "name": dataset.name,
                "declaration": as_text(to_json(dataset)).decode(),
                "reading_hash": reading_hash(dataset),
                "columns": _columns(dataset),
                "place": place,
            },
        )
    # The manifest of earlier versions, which read all objects in this way.
    users = reading_hash(USERS)
    if users in {reading_hash(one) for one in datasets if one.name == USERS.name}:
        connection.execute(text(named["adopt"]), {"hash": users, "name": USERS.name})


def replace_one(connection: Connection, datasets: Sequence[Dataset], sql: DatasetSql) -> None:
    """Install a dataset whose tables are as it declares. The caller commits.

    All others keep their declarations; `datasets` has the order. `is_new` stays true until the next
    full run.
    """
    known = {one.dataset.name: one.dataset for one in load(connection, sql.schema).datasets}
    known[sql.dataset.name] = sql.dataset
    order = dict.fromkeys([*(one.name for one in datasets), *known])
    _store(connection, [known[name] for name in order if name in known], ())
    _store_columns(connection, sql)


def _note_columns(connection: Connection, former: DatasetSql, sql: DatasetSql) -> None:
    """Store the columns that data added, and let published files with other columns be written."""
    if former.added != sql.added:
        _store_columns(connection, sql)
    if columns_of(former) != columns_of(sql):
        outdate = sql.statements("rebuild")["outdate_files"]
        connection.execute(text(outdate), {"dataset": sql.dataset.name})


def _store_columns(connection: Connection, sql: DatasetSql) -> None:
    connection.execute(
        text(statements("declared")["add_columns"]),
        {"name": sql.dataset.name, "columns": list(sql.added)},
    )


def add_columns(
    connection: Connection, sql: DatasetSql, names: Sequence[str]
) -> tuple[DatasetSql, EtlError | None]:
    """Add the columns found in the data to the tables of a dataset; commit.

    Returns the dataset with these columns, or as it was and the error.
    """
    wider = replace(sql, added=tuple(dict.fromkeys([*sql.added, *names])))
    if wider == sql:
        return sql, None
    try:
        with connection.begin():
            timeout = dataset_tables.LOCK_TIMEOUT
            connection.execute(text(f"SET LOCAL lock_timeout = '{timeout}'"))
            dataset_tables.add_columns(connection, wider, names)
            _store_columns(connection, wider)
    except DBAPIError as error:
        return sql, _not_altered(error, sql.dataset.name)
    return wider, None
