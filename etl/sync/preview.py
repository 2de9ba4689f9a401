"""What a run would change, found by a merge that is rolled back.

Temporary tables hide those that a run writes before its merge. The tables of new and changed
datasets are created and altered in the transaction of the merge.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from etl.db import dataset_tables
from etl.sync import declared

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from etl.db.dataset_sql import DatasetSql
    from etl.model.errors import EtlError
    from etl.model.values import DatasetCounts
    from etl.sync.declared import Declarations, Declared
    from etl.sync.rebuild import Rebuild

MOST_KEYS = 20  # of each outcome
_HAS_UPSERTS = "SELECT to_regclass('pg_temp.upserts') IS NOT NULL"
# The sequence of the real `problem` would not be rolled back.
_HIDDEN = ("staging_object", "staging_problem", "problem")

Keys = dict[str, list[list[Any]]]


@dataclass(frozen=True)
class Previewed:
    """What a run would commit by dataset, and the datasets that it could not merge.

    `changes` are those of the declarations and tables, in sentences. `keys` are, by dataset and
    outcome, the first keys of the rows concerned, as lists of values: those of the primary key, or
    object and line. Those of shadowed rows are object and line.
    """

    changes: Mapping[str, Sequence[str]]
    counts: Mapping[str, DatasetCounts]
    keys: Mapping[str, Keys]
    failures: Mapping[str, EtlError]


@dataclass
class Preview:
    """Collects what a run would change. `before` are the installed datasets."""

    before: Declared
    source_bucket: str
    keys: dict[str, Keys] = field(default_factory=dict)

    def extend_tables(
        self, connection: Connection, known: Declared, failures: dict[str, EtlError]
    ) -> Declared:
        """Create and alter tables; return the datasets without those added to `failures`."""
        before = {sql.dataset.name: sql for sql in self.before.datasets}
        for sql in known.datasets:
            name = sql.dataset.name
            if sql not in self.before.datasets and name not in failures:
                begin = connection.begin_nested
                failure = declared.ensure(
                    connection, begin, sql, before.get(name), keeps_staging=True
                )
                if failure is not None:
                    failures[name] = failure
        usable = [one for one in known.datasets if one.dataset.name not in failures]
        return replace(known, datasets=tuple(usable))

    def stage_orphans(self, connection: Connection, datasets: Iterable[DatasetSql]) -> int:
        """Stage objects removed while their dataset was not declared; return their number."""
        before = {one.name for one in self.before.values}
        staged = 0
        for sql in datasets:
            name, bucket = sql.dataset.name, sql.dataset.bucket or self.source_bucket
            if name not in before:
                statement = text(sql.statements("orphans")["stage"])
                parameters = {"dataset": name, "bucket": bucket}
                staged += connection.execute(statement, parameters).rowcount
        return staged

    def collect(self, connection: Connection, sql: DatasetSql) -> None:
        """Take the first keys of each outcome while the merge still has its temporary tables."""
        named = sql.statements("preview")
        is_merged = connection.scalar(text(_HAS_UPSERTS))
        names = [name for name in named if (name == "first_inserted") != is_merged]
        found: Keys = {}
        for name in names:
            rows = connection.execute(text(named[name]), {"most": MOST_KEYS}).all()
            found[name.removeprefix("first_")] = [list(row) for row in rows]
        self.keys[sql.dataset.name] = found

    def changes(self, known: Declared) -> dict[str, list[str]]:
        """The changes of declarations, and the columns that the data add."""
        found = declared.changes(self.before, known.values)
        before = {sql.dataset.name: sql.added for sql in self.before.datasets}
        for sql in known.datasets:
            new = sorted(set(sql.added) - set(before.get(sql.dataset.name, ())))
            if new:
                found[sql.dataset.name].append(f"The data add columns: {', '.join(new)}.")
        return found


def begin(
    connection: Connection, declarations: Declarations, rebuild: Rebuild | None = None
) -> tuple[Declared, Preview]:
    """The datasets that a run would use, with temporary tables for what it writes.

    A rebuild has created that of its dataset.
    """
    before = declared.load(connection, declarations.schema)
    connection.commit()
    known = declarations.planned(connection) if rebuild is None else rebuild.begin(connection)
    with connection.begin():
        for table in _HIDDEN:
            connection.execute(text(f"CREATE TEMPORARY TABLE {table} (LIKE {table} INCLUDING ALL)"))
        for sql in known.datasets:
            if rebuild is None or sql.dataset.name != rebuild.name:
                created = dataset_tables.create_staging(sql, kind="TEMPORARY")
                connection.execute(text(created))
    return known, Preview(before, declarations.source_bucket)
