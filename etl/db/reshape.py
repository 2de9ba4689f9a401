"""A table of a dataset gets other columns and another primary key, in place if possible.

PostgreSQL alters nearly every table in place, so that views, grants, indexes and the table's OID
stay. A table that has had too many columns is replaced by a new one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from etl.db.conversions import converted
from etl.db.dataset_names import SUCCESSOR_PREFIX, relation_name
from etl.db.found_tables import FoundColumn, FoundIndex
from etl.db.identifiers import in_text, quoted
from etl.db.round_trips import Question, ask, later
from etl.db.sql import statements

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from etl.db.dataset_tables import TableColumn
    from etl.db.found_tables import Wish

MOST_COLUMNS = 1_600  # of a table in PostgreSQL, with all that were dropped


@dataclass(frozen=True)
class Reshape:
    """How a table gets the shape that a declaration gives it.

    `stored` is its name as it is. `found` are all columns of the table and of its new shape;
    `last_column` counts those that were ever dropped.
    """

    schema: str
    stored: str
    wish: Wish
    found: Mapping[str, FoundColumn]
    found_key: tuple[str, ...]
    found_indexes: Sequence[FoundIndex]
    last_column: int

    # -- what differs

    @cached_property
    def columns(self) -> Mapping[str, TableColumn]:
        """The columns that the table should have, by name."""
        return {one.name: one for one in self.wish.shape.columns}

    @property
    def table(self) -> str:
        """The table as it is named before it is altered."""
        return f"{in_text(self.schema)}.{in_text(self.stored)}"

    @property
    def renamed(self) -> str:
        """The table as it is named afterwards."""
        return f"{in_text(self.schema)}.{in_text(self.wish.name)}"

    @property
    def added(self) -> list[TableColumn]:
        """The columns that the table lacks, or that are dropped and added again."""
        replaced = {*self._regenerated}
        return [
            column
            for name, column in self.columns.items()
            if self.found[name].stored_type is None or name in replaced
        ]

    @cached_property
    def dropped(self) -> list[str]:
        """The columns to drop, also those added again; generated ones before their sources."""
        unwanted = [
            name
            for name, row in self.found.items()
            if row.wanted_type is None and name in self.wish.droppable
        ]
        found = [*unwanted, *self._regenerated]
        return sorted(found, key=lambda name: self.found[name].stored_generated is None)

    @cached_property
    def _regenerated(self) -> list[str]:
        """Columns whose expression differs, or whose source gets another type."""
        sources = {in_text(name) for name in self.unlike}
        return [
            name
            for name, row in self.found.items()
            if row.stored_type is not None
            and row.wanted_type is not None
            and (
                row.stored_generated != row.wanted_generated
                or (row.wanted_generated and any(s in self.columns[name].type for s in sources))
            )
        ]

    @cached_property
    def unlike(self) -> list[str]:
        """The columns of another type or collation."""
        return [
            name
            for name, row in self.found.items()
            if row.stored_type is not None
            and row.wanted_type is not None
            and not row.is_same
            and row.stored_generated is None
            and row.wanted_generated is None
        ]

    @property
    def is_new_key(self) -> bool:
        """Whether rows are identified by other columns or values."""
        return self.found_key != self.wish.shape.key or bool(
            {*self.wish.shape.key} & {*self.unlike}
        )

    @property
    def is_replaced(self) -> bool:
        """Whether PostgreSQL cannot alter the table in place."""
        return self.last_column + len(self.added) > MOST_COLUMNS

    @property
    def is_narrowed(self) -> bool:
        """Whether the table already has all columns as they should be, and the name."""
        is_same = self.wish.name == self.stored and not self.is_new_key
        return is_same and not self.added and not self.unlike

    @property
    def is_as_wished(self) -> bool:
        """Whether there is nothing to alter."""
        wanted = {one.name for one in self.wish.shape.indexes}
        wanted.add(relation_name(self.wish.name, (), "pkey"))
        own = {str(one.name) for one in self.found_indexes if one.is_key or self.is_own(one)}
        is_same = self.is_narrowed and own == wanted
        return is_same and not (self.dropped or self.loosened or self.tightened)

    @property
    def drops_required(self) -> bool:
        """Whether a column to drop, or one that may be null, does not accept nulls yet."""
        dropped = [self.found[name] for name in self.dropped]
        return bool(self.loosened) or any(
            row.is_required and row.stored_generated is None for row in dropped
        )

    @cached_property
    def loosened(self) -> list[str]:
        """The NOT NULL columns that stored rows, or those written now, may lack for the moment.

        A column that no declaration names must not be required either.
        """
        return [
            name
            for name, row in self.found.items()
            if row.is_required
            and row.stored_generated is None
            and name not in self.dropped
            and name not in self.wish.shape.key
            and not name.startswith("_")
            and (
                not row.has_default
                if row.wanted_type is None
                else name in self.unlike or not self.columns[name].is_required
            )
        ]

    @property
    def tightened(self) -> list[str]:
        """The columns that become NOT NULL once all rows are written."""
        return [
            name
            for name, one in self.columns.items()
            if one.is_required
            and name not in self.wish.shape.key
            and (not self.found[name].is_required or name in self.loosened or self.is_replaced)
        ]

    # -- stored rows as rows of the new shape

    def converted(self, name: str) -> str:
        """The SQL of the stored value of a column; null if it has none of the new type."""
        row, column = self.found[name], self.columns[name]
        collation = ' COLLATE "C"' if column.type.endswith('COLLATE "C"') else ""
        value = None
        if row.stored_type and row.wanted_type and name not in self.dropped:
            if row.is_same:
                return in_text(name)
            value = converted(
                in_text(name),
                row.stored_type,
                row.wanted_type,
                is_plain=name not in self.wish.formatted,
            )
        return (value or f"CAST(NULL AS {row.wanted_type})") + collation

    @property
    def relation(self) -> str:
        """The rows as a subquery with the columns of the new shape, but no generated ones.

        With a new key, only one row of each, and none that lacks a part of it.
        """
        names = [name for name in self.columns if self.found[name].wanted_generated is None]
        listed = ", ".join(f"{self.converted(name)} AS {in_text(name)}" for name in names)
        if not self.is_new_key:
            return f"(SELECT {listed} FROM {self.table})"
        numbered = f"SELECT {listed}, {self._number} AS _number FROM {self.table}"
        listed = ", ".join(map(in_text, names))
        return f"(SELECT {listed} FROM ({numbered}) AS numbered WHERE {self._is_kept})"

    @property
    def surplus(self) -> str:
        """The condition of the rows that `relation` lacks."""
        keys = ", ".join(
            f"{self.converted(name)} AS {in_text(name)}" for name in self.wish.shape.key
        )
        return (
            f"ctid IN (SELECT _place FROM (SELECT ctid AS _place, {keys}, {self._number} AS _number"
            f" FROM {self.table}) AS numbered WHERE NOT ({self._is_kept}))"
        )

    @property
    def _number(self) -> str:
        parts = ", ".join(map(self.converted, self.wish.shape.key))
        return f"row_number() OVER (PARTITION BY {parts} ORDER BY {self.wish.order})"

    @property
    def _is_kept(self) -> str:
        present = " AND ".join(f"{in_text(name)} IS NOT NULL" for name in self.wish.shape.key)
        return f"{present} AND _number = 1"

    @property
    def others(self) -> list[str]:
        """The columns that no declaration names, which stay as they are."""
        return [
            name
            for name, row in self.found.items()
            if row.wanted_type is None and name not in self.dropped
        ]

    def lost_values(self, connection: Connection) -> dict[str, int]:
        """How many values of each column have none of the new type."""
        if not self.unlike:
            return {}
        counts = ", ".join(
            f"count(*) FILTER (WHERE {in_text(name)} IS NOT NULL"
            f" AND ({self.converted(name)}) IS NULL) AS {in_text(name)}"
            for name in self.unlike
        )
        row = connection.execute(text(f"SELECT {counts} FROM {self.table}")).one()
        return {name: rows for name, rows in zip(self.unlike, row, strict=True) if rows}

    def lost_rows(self, connection: Connection) -> int:
        """How many rows `relation` lacks."""
        if not self.is_new_key:
            return 0
        count = text(f"SELECT count(*) FROM {self.table} WHERE {self.surplus}")
        return int(connection.scalar(count) or 0)

    # -- altering

    def drop_surplus(self, connection: Connection) -> None:
        """Drop the rows that `relation` lacks."""
        connection.execute(text(f"DELETE FROM {self.table} WHERE {self.surplus}"))

    def is_own(self, index: FoundIndex) -> bool:
        """Whether Bucketline created the index, which then has the name of its columns."""
        return str(index.name) == relation_name(self.stored, index.columns, "idx")

    def apply(self, connection: Connection, *, writes_most: bool = False) -> None:
        """Alter the table, whose rows may lack required values then.

        The caller has locked it and dropped the surplus, and calls `finish` once all rows are
        written. If it `writes_most` of them, the indexes but that of the key are created then.
        """
        if self.is_replaced:
            self._replace(connection)
        else:
            self._alter_indexes(connection, keeps=not writes_most)
            self._alter(connection)

    def finish(self, connection: Connection) -> None:
        """Require the values of required columns, and create the indexes that are missing."""
        if self.tightened:
            required = ", ".join(f"ALTER COLUMN {in_text(n)} SET NOT NULL" for n in self.tightened)
            connection.execute(text(f"ALTER TABLE {self.renamed} {required}"))
        for index in self.wish.shape.indexes:
            listed = ", ".join(map(in_text, index.columns))
            made = f"CREATE INDEX IF NOT EXISTS {in_text(index.name)} ON {self.renamed} ({listed})"
            connection.execute(text(made))

    def _alter(self, connection: Connection) -> None:
        first = [f"DROP COLUMN {in_text(name)}" for name in self.dropped]
        then = [
            f"ALTER COLUMN {in_text(name)} TYPE {self.columns[name].type}"
            f" USING {self.converted(name)}"
            for name in self.unlike
        ]
        then += [f"ADD COLUMN {one._replace(is_required=False).sql}" for one in self.added]
        if self.is_new_key:
            keys = [str(one.name) for one in self.found_indexes if one.is_key]
            first = [*(f"DROP CONSTRAINT {in_text(key)}" for key in keys), *first]
            then.append(self._add_key)
        first += [f"ALTER COLUMN {in_text(name)} DROP NOT NULL" for name in self.loosened]
        for actions in (first, then):
            if actions:
                connection.execute(text(f"ALTER TABLE {self.table} {', '.join(actions)}"))
        if self.wish.name != self.stored:
            connection.execute(
                text(f"ALTER TABLE {self.table} RENAME TO {in_text(self.wish.name)}")
            )

    def _alter_indexes(self, connection: Connection, *, keeps: bool) -> None:
        """Drop the indexes that are not wanted, and rename the others with the table."""
        wanted = {one.name for one in self.wish.shape.indexes} if keeps else set()
        for index in self.found_indexes:
            if index.is_key:
                name = relation_name(self.wish.name, (), "pkey")
            elif self.is_own(index):
                name = relation_name(self.wish.name, index.columns, "idx")
            else:
                continue
            if not index.is_key and name not in wanted:
                connection.exec_driver_sql(f"DROP INDEX {index.qualified}")
            elif name != index.name and not (index.is_key and self.is_new_key):
                renamed = f"ALTER INDEX {index.qualified} RENAME TO {quoted(name)}"
                connection.exec_driver_sql(renamed)

    @property
    def _add_key(self) -> str:
        listed = ", ".join(map(in_text, self.wish.shape.key))
        name = in_text(relation_name(self.wish.name, (), "pkey"))
        return f"ADD CONSTRAINT {name} PRIMARY KEY ({listed})"

    def _replace(self, connection: Connection) -> None:
        """Put a new table in the place of the table."""
        name = f"{SUCCESSOR_PREFIX}{self.wish.name}"
        new = f"{in_text(self.schema)}.{in_text(name)}"
        listed = ", ".join(one._replace(is_required=False).sql for one in self.wish.shape.columns)
        connection.execute(text(f"CREATE TABLE {new} ({listed})"))
        names = [name for name in self.columns if self.found[name].wanted_generated is None]
        columns = ", ".join(map(in_text, names))
        values = ", ".join(map(self.converted, names))
        connection.execute(text(f"INSERT INTO {new} ({columns}) SELECT {values} FROM {self.table}"))
        both = {"table": plain(self.table), "successor": plain(new), "target": plain(new)}
        for copied in (
            statements("successor")["copy_privileges"],
            statements("reshape")["copied_traits"],
        ):
            for statement in connection.scalars(text(copied), both).all():
                connection.exec_driver_sql(statement)
        connection.execute(text(f"DROP TABLE {self.table}"))
        connection.execute(text(f"ALTER TABLE {new} RENAME TO {in_text(self.wish.name)}"))
        connection.execute(text(f"ALTER TABLE {self.renamed} {self._add_key}"))


def find(connection: Connection, schema: str, stored: str, wish: Wish) -> Reshape | None:
    """How the table `stored` becomes what is wished; None if it does not exist."""
    named = statements("reshape")
    of_table = {"table": plain(f"{in_text(schema)}.{in_text(stored)}")}
    both = of_table | {"wanted": "pg_temp.wanted_shape"}
    nested = connection.begin_nested()
    columns = ", ".join(one.sql for one in wish.shape.columns)
    later(connection, f"CREATE TEMPORARY TABLE wanted_shape ({columns})")
    answers = ask(
        connection,
        {
            "columns": Question(named["columns"], both),
            "key": Question(statements("dataset_tables")["primary_key"], of_table),
            "indexes": Question(named["indexes"], of_table),
            "last": Question(named["last_column"], of_table),
        },
    )
    nested.rollback()
    (last,) = answers["last"]
    if not last["number"]:
        return None
    return Reshape(
        schema=schema,
        stored=stored,
        wish=wish,
        found={row["name"]: FoundColumn(**row) for row in answers["columns"]},
        found_key=tuple(row["attname"] for row in answers["key"]),
        found_indexes=[FoundIndex(**row) for row in answers["indexes"]],
        last_column=last["number"],
    )


def plain(name: str) -> str:
    """The quoted name as a value of a parameter."""
    return name.replace("\\:", ":")
