"""The rebuild of a dataset: its tables get a shape that PostgreSQL cannot give them in passing.

A rebuild is a full run of one dataset that reads all of its objects. It stages their rows in a
temporary table, which has the columns of the new declaration, and finds what to write while the
old tables are read as usual: `reading` shows their rows as if they had the new columns. Only then
are the tables locked, altered and written. The declaration is installed in the same transaction,
so that a rebuild that is killed changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, text

from etl.db import dataset_tables, reshaping, table_locks
from etl.db.dataset_names import RETIRED, SHADOWED
from etl.db.dataset_sql import DatasetSql
from etl.db.dependents import refuse
from etl.db.identifiers import in_text
from etl.db.reshape import Reshape, plain
from etl.db.stored_as import StoredAs
from etl.model.dataset import UnknownColumns
from etl.model.declaration import Effect, compare
from etl.model.errors import ConfigurationError, DatasetRefused, RebuildRefused
from etl.sync import declared

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from etl.model.dataset import Dataset
    from etl.model.errors import EtlError
    from etl.model.values import DatasetCounts, RunReport
    from etl.sync.declared import Declarations, Declared

_NAMED_OBJECTS = 3
# A row that a deferred constraint has yet to check forbids to alter its table.
_CHECK_CONSTRAINTS = "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED"


class Rebuilt(NamedTuple):
    """The run of a rebuild, and the errors of datasets that it could not install.

    `notes` are the changes of the declaration, and what became of retired rows, in sentences.
    """

    report: RunReport
    notes: list[str]
    others: Mapping[str, EtlError]


@dataclass
class Rebuild:
    """A rebuild of the dataset `name`, in the terms of `declarations`.

    A preview finds what the rebuild would write, and locks and changes no table. `live` is the
    number of rows that the table had. After the merge, `is_change` tells whether the declaration
    or the columns changed. `before` is the dataset as it is installed or, if it is not, as it is
    declared.
    """

    name: str
    declarations: Declarations
    is_preview: bool = False
    live: int = 0
    is_change: bool = False
    before: DatasetSql = field(init=False)
    _others: Mapping[str, EtlError] = field(default_factory=dict)
    _notes: list[str] = field(default_factory=list)
    _changes: list[str] = field(default_factory=list)
    _left: list[str] = field(default_factory=list)  # columns of an earlier declaration
    _order: tuple[Dataset, ...] = ()
    _bucket: str = ""
    _shapes: dict[str, Reshape] = field(default_factory=dict)
    _surplus: dict[str, int] = field(default_factory=dict)

    # -- before objects are read

    def begin(self, connection: Connection) -> Declared:
        """Install all other datasets; return them with the one to rebuild as it is declared.

        Its hash is none that the manifest has, so that all of its objects are read.

        Raises:  ConfigurationError, also with the statements that drop what depends on the tables.
        """
        wanted, declarations = self.declarations.to_install, self.declarations
        install = declarations.planned if self.is_preview else declarations.of_full_run
        known = install(connection, rebuilt=self.name)
        self._others = {name: one for name, one in known.failures.items() if name != self.name}
        self._order = known.values if wanted is None else wanted
        sqls = {sql.dataset.name: sql for sql in known.datasets}
        sql = DatasetSql(self._declared(), self.declarations.schema)
        self.before, self._bucket = sqls.get(self.name, sql), sql.dataset.bucket
        changes = compare(self.before.dataset, sql.dataset)
        self._changes = [one.sentence for one in changes if one.effect is not Effect.REREAD]
        with connection.begin():
            if self.name not in sqls:
                self._left = [*dataset_tables.left_columns(connection, sql)]
            self._check(connection, sql)
            connection.execute(text(dataset_tables.create_staging(sql, kind="TEMPORARY")))
        sqls[self.name] = sql
        return replace(
            known,
            datasets=tuple(sqls[one.name] for one in self._order if one.name in sqls),
            hashes={**known.hashes, self.name: ""},
            is_new=True,
            failures={},
        )

    def ended(self, report: RunReport) -> Rebuilt:
        """What the run did."""
        return Rebuilt(report, self.notes, self._others)

    @property
    def notes(self) -> list[str]:
        """The changes of the declaration, and what becomes of retired rows, in sentences."""
        return [*self._changes, *self._notes]

    def _declared(self) -> Dataset:
        for one in self._order:
            if one.name == self.name and not one.is_paused:
                return one
            if one.name == self.name:
                raise ConfigurationError(
                    f"Dataset {self.name!r} is paused, so nothing of it is read.",
                    hint="Remove `paused` from the datasets file to rebuild it.",
                )
        raise ConfigurationError(
            f"There is no dataset {self.name!r}.",
            hint=f"The datasets: {', '.join(one.name for one in self._order)}.",
        )

    def _check(self, connection: Connection, sql: DatasetSql) -> None:
        dataset_tables.check_names(connection, sql)
        table = sql.dataset.table
        if reshaping.is_taken(connection, self.before, sql):
            raise ConfigurationError(
                f"The table {table} has the rows of an earlier declaration, so dataset"
                f" {self.name!r} cannot use the name.",
                hint=f"Drop that table with `./run.sh datasets apply --drop {table}`, or give the"
                " dataset another `table`.",
            )
        # The data may add the same columns again.
        is_added = sql.dataset.unknown_columns is UnknownColumns.ADD
        sql = replace(sql, added=self.before.added if is_added else ())
        shapes = reshaping.find_shapes(connection, self.before, sql, self._left)
        self._refuse_dependents(connection, sql, shapes)
        if "" in shapes:
            count = connection.scalar(text(f"SELECT count(*) FROM {shapes[''].table}"))
            self.live = int(count or 0)

    def _refuse_dependents(
        self, connection: Connection, sql: DatasetSql, shapes: Mapping[str, Reshape]
    ) -> None:
        refuse(
            reshaping.all_obstacles(connection, self.before, sql, shapes),
            f"Other objects depend on what a rebuild of dataset {self.name!r} changes. Nothing was"
            " changed.",
        )

    # -- after they were read

    def stage_rest(self, connection: Connection, unreadable: Collection[str]) -> int:
        """Stage the objects of stored rows that were not read as removed; return their number.

        Raises:  DatasetRefused when objects could not be read, because their rows would be lost.
        """
        if unreadable:
            some = ", ".join(map(repr, sorted(unreadable)[:_NAMED_OBJECTS]))
            raise DatasetRefused(
                f"{len(unreadable)} objects of dataset {self.name!r} could not be read, among them"
                f" {some}. Nothing was changed.",
                hint="Allow Bucketline to read them, or remove them, and rebuild again.",
            )
        bucket = self._bucket or self.declarations.source_bucket
        parameters = {"dataset": self.name, "bucket": bucket}
        named = self.before.statements("rebuild")
        staged = connection.execute(text(named["stage_rest"]), parameters).rowcount
        if dataset_tables.are_ours(connection, self.before):
            staged += connection.execute(text(named["stage_orphans"]), parameters).rowcount
        connection.commit()
        return staged

    # -- in the merge

    def reading(self, connection: Connection, sql: DatasetSql) -> DatasetSql:
        """The dataset with its stored rows as they will be; nothing is shadowed."""
        self._shapes = reshaping.find_shapes(connection, self.before, sql, self._left)
        declared_shapes = dataset_tables.shapes(sql)
        live, retired = (
            self._shapes[suffix].relation
            if suffix in self._shapes
            else _no_rows(declared_shapes[sql.dataset.table + suffix])
            for suffix in ("", RETIRED)
        )
        shadowed = f"(SELECT * FROM {sql.own_staging} WHERE false)"
        attributes = {name: getattr(sql, name) for name in DatasetSql.__dataclass_fields__}
        return StoredAs(**attributes, relations_as=(live, retired, shadowed))

    def is_altered_last(self, connection: Connection) -> bool:
        """Whether the live rows can be written as they will be before the table is altered.

        The table is then locked for a moment only.
        """
        live = self._shapes.get("")
        if live is None or not live.is_narrowed:
            return False
        is_new = "SELECT EXISTS (SELECT FROM upserts WHERE _is_new)"
        return not (live.drops_required and connection.scalar(text(is_new)))

    def is_refilled(self, connection: Connection, triggers: Collection[str]) -> bool:
        """Whether the table is emptied and filled, because most rows change.

        The rows are prepared before the table is locked. Columns and triggers of other clients, or
        foreign keys to the table, need the rows in place. `triggers` are the tables that have any.
        """
        live = self._shapes.get("")
        if live is None or live.others or live.stored in triggers:
            return False
        if not self._writes_most(connection):  # PostgreSQL rewrites a table faster than this does
            return False
        question = text(self.before.statements("rebuild")["is_fillable"])
        return bool(connection.scalar(question, {"table": plain(live.table)}))

    def alter(
        self,
        connection: Connection,
        sql: DatasetSql,
        *,
        is_written: bool = False,
        is_refilled: bool = False,
    ) -> None:
        """Lock the tables and give them their new shape.

        `is_written`: live rows are written; `is_refilled`: they are prepared.

        Raises:  DatasetRefused when another session uses them for too long; ConfigurationError as
                 `begin`.
        """
        shapes = self._shapes
        connection.execute(text(_CHECK_CONSTRAINTS))
        self._refuse_dependents(connection, sql, shapes)
        self.take_notes(connection, sql)
        tables = [plain(one.table) for one in shapes.values()]
        table_locks.lock_dataset(connection, self.name, tables)
        emptied = [shapes[SHADOWED].table] if SHADOWED in shapes else []  # all rows are staged
        emptied += [shapes[""].table] if is_refilled else []
        if emptied:
            connection.execute(text(f"TRUNCATE {', '.join(emptied)}"))
        reshaping.drop_shadowed(connection, self.before, sql)
        writes_most = is_refilled or (not is_written and self._writes_most(connection))
        for suffix, one in shapes.items():
            if self._surplus[suffix] and not (is_refilled and not suffix):
                one.drop_surplus(connection)
            one.apply(connection, writes_most=not suffix and writes_most)
        existing = {one.wish.name for one in shapes.values()}
        for name, made in dataset_tables.created(sql).items():
            for statement in made if name not in existing else ():
                connection.execute(text(statement))
        if is_refilled:
            connection.execute(text(sql.statements("rebuild")["fill"]))

    def _writes_most(self, connection: Connection) -> bool:
        """Whether the merge found that it writes more rows than it keeps."""
        return 2 * int(connection.scalar(text("SELECT count(*) FROM upserts")) or 0) > self.live

    def take_notes(self, connection: Connection, sql: DatasetSql) -> None:
        """Note what becomes of retired rows and of columns that no declaration names.

        Also finds the rows for which a new key has no room, which takes as long as to drop them.
        """
        self._surplus = {suffix: one.lost_rows(connection) for suffix, one in self._shapes.items()}
        self._notes.clear()
        if "" in self._shapes and (others := self._shapes[""].others):
            self._notes.append(
                f"No declaration names these columns of {sql.dataset.table}, which stay as they"
                f" were: {', '.join(others)}."
            )
        if RETIRED not in self._shapes:
            return
        retired = self._shapes[RETIRED]
        self._notes += [
            f"The value of {name} becomes null in {_retired(rows)}, because it does not fit the new"
            " type."
            for name, rows in retired.lost_values(connection).items()
        ]
        if lost := self._surplus[RETIRED]:
            self._notes.append(
                f"The rebuild drops {_retired(lost)} with an incomplete new key, or with the"
                " key of a newer row."
            )

    def finish(self, connection: Connection, sql: DatasetSql) -> None:
        """Complete the tables, which have their rows, and install the declaration."""
        connection.execute(text(_CHECK_CONSTRAINTS))
        for one in self._shapes.values():
            one.finish(connection)
        named = sql.statements("rebuild")
        if any(one.is_new_key for one in self._shapes.values()):
            connection.execute(text(named["drop_returned"]))
        self.is_change = (self.before.dataset, self.before.added) != (sql.dataset, sql.added)
        if self.is_change:
            connection.execute(text(named["outdate_files"]), {"dataset": self.name})
        declared.replace_one(connection, self._order, sql)

    def replace_staging(self, connection: Connection, sql: DatasetSql) -> None:
        """Create the staging table of later runs, once the temporary one is not needed."""
        connection.execute(text(f"DROP TABLE pg_temp.{sql.own_staging}"))
        connection.execute(text(f"DROP TABLE IF EXISTS {sql.own_staging}"))
        connection.execute(text(dataset_tables.create_staging(sql)))

    # -- retirements

    def lost(self, retired: int, counts: DatasetCounts) -> int:
        """The rows that the table loses: retired ones, or those for which a new key has no room."""
        return max(retired, self.live - counts.live)

    def refusal(self, lost: int, counts: DatasetCounts) -> RebuildRefused:
        """The error of a rebuild that would lose most rows."""
        return RebuildRefused(
            f"The rebuild of dataset {self.name!r} would retire {lost} of {self.live} rows and"
            f" leave {counts.live}. Nothing was changed.",
            hint=f"To retire them anyway: `./run.sh datasets apply --rebuild {self.name}"
            f" --allow-mass-retirement {self.name}`",
            dataset=self.name,
            rows=lost,
        )


def _retired(count: int) -> str:
    return f"{count} retired row{'' if count == 1 else 's'}"


def _no_rows(shape: dataset_tables.TableShape) -> str:
    columns = ", ".join(
        f"CAST(NULL AS {one.type.partition(' COLLATE')[0]}) AS {in_text(one.name)}"
        for one in shape.columns
        if " GENERATED " not in one.type
    )
    return f"(SELECT {columns} WHERE false)"
