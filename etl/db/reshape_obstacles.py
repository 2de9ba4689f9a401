"""What other clients must drop before a table gets another shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from etl.db.dependents import Dependent, dependents
from etl.db.found_tables import FoundIndex
from etl.db.identifiers import quoted
from etl.db.reshape import plain
from etl.db.sql import statements

if TYPE_CHECKING:
    from etl.db.reshape import Reshape


def obstacles(connection: Connection, table: Reshape) -> list[Dependent]:
    """What others must drop first, in this order."""
    own, constraints = _own(connection, table)
    if table.is_replaced:
        found = dependents(connection, plain(table.table), own=own, with_automatic=True)
        return [*found, *(_column(table, name) for name in table.others)]
    listed: list[Dependent] = []
    if table.dropped:
        listed += dependents(connection, plain(table.table), table.dropped, own=own)
    if table.unlike:
        own |= constraints
        listed += dependents(
            connection, plain(table.table), table.unlike, own=own, with_automatic=False
        )
    if table.is_new_key:
        for one in table.found_indexes:
            if one.is_key:
                listed += dependents(connection, one.qualified)
    return list(dict.fromkeys(listed))


def _column(table: Reshape, name: str) -> Dependent:
    """A column of another client, which a new table would not have."""
    dropped = f"ALTER TABLE {plain(table.table)} DROP COLUMN {quoted(name)};"
    return Dependent(f"column {name}", dropped, None)


def _own(connection: Connection, table: Reshape) -> tuple[set[str], set[str]]:
    """Descriptions of what is Bucketline's, and of all constraints of the table."""
    named = statements("reshape")
    nested = connection.begin_nested()
    # Without a search_path, PostgreSQL shows all names with their schemas.
    connection.exec_driver_sql("SET LOCAL search_path = pg_catalog")
    named_table = {"table": plain(table.table)}
    rows = [FoundIndex(*row) for row in connection.execute(text(named["indexes"]), named_table)]
    own = {row.description for row in rows if row.is_key or table.is_own(row)}
    own |= {str(row.constraint_description) for row in rows if row.is_key}
    generated = {**named_table, "names": [*table.columns, *table.wish.droppable]}
    own.update(connection.scalars(text(named["generated"]), generated))
    constraints = set(connection.scalars(text(named["constraints"]), named_table))
    nested.rollback()
    return own, constraints
