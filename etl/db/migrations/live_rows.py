"""Migration 0008: the retired users leave the table `users`, whatever else depends on it.

Names of schemas are quoted. The connection's search_path is the schema of the tables.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, text

from etl.db import table_locks
from etl.db.dependents import Dependent, dependents
from etl.db.sql import statements
from etl.model.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LOCK_SECONDS = 0.5  # so long do readers wait when a lock is not free
LOCK_ATTEMPTS = 60
LOCK_PAUSE_SECONDS = 0.5
_MOST_SCANNED_BYTES = 1_000_000  # of a table that references `users` without an index
_COLUMNS = "user_id, first_name, last_name, birthts, img_path"
_RENAMED = ("extra", "source_key", "source_line", "run_id", "updated_at")


def prepare(connection: Connection, schema: str) -> None:
    """Stop writers of `users`, and refuse the migration if something depends on what it removes.

    Raises:  ConfigurationError with the statements to run.
    """
    connection.exec_driver_sql("SET LOCAL row_security = off")  # an error, never a hidden row
    lock(connection, [f"{schema}.users"], "EXCLUSIVE")
    obstacles = [*_dependents(connection, schema), *_references(connection, schema)]
    if obstacles:
        lines = "\n".join(line for obstacle in obstacles for line in obstacle)
        raise ConfigurationError(
            "Other objects of the database depend on columns or rows that the new tables do not"
            " have: users.id, users.retired_at or retired users. Nothing was changed.",
            hint=f"Run these statements, and migrate again:\n{lines}",
        )


def _dependents(connection: Connection, schema: str) -> Iterator[list[str]]:
    names = (schema, schema.strip('"'))  # PostgreSQL quotes only if necessary
    own = [f"index {name}.users_birthdate_idx" for name in names]
    found: list[Dependent] = []
    found += dependents(connection, f"{schema}.users", ["id", "retired_at"], own=own)
    found += dependents(connection, f"{schema}.run", ["allow_mass_retirement"])
    found += dependents(
        connection,
        f"{schema}.source_object",
        ["user_id"],
        own=[f"index {name}.source_object_image_idx" for name in names],
    )
    for relation in ("staging_row", "staging_object", "staging_problem"):
        found += dependents(connection, f"{schema}.{relation}")
    for relation in ("image_pkey", "announced_image_pkey"):
        found += dependents(connection, f"{schema}.{relation}")
    children = text(statements("dependents")["children"])
    for child in connection.scalars(children, {"table": f"{schema}.users"}):
        yield [f"ALTER TABLE {child} NO INHERIT {schema}.users;"]
    yield from (one.lines() for one in dict.fromkeys(found))


def _references(connection: Connection, schema: str) -> Iterator[list[str]]:
    """The foreign keys with rows that reference a retired user."""
    users = f"{schema}.users"
    keys = connection.execute(text(statements("dependents")["references"]), {"table": users}).all()
    for key in keys:
        if not key.is_indexed and key.bytes > _MOST_SCANNED_BYTES:
            yield [
                f"-- Each retired user would be looked up in all rows of {key.referencing}:",
                f"CREATE INDEX ON {key.referencing} ({key.columns});",
            ]
        if not key.may_read:
            yield [f"GRANT SELECT ON {key.referencing} TO {key.role};  -- {key.constraint}"]
        elif rows := _rows_of_retired(connection, users, key):
            yield [
                f"-- Rows of {key.referencing} that reference retired users: {rows}. To keep them:",
                f"ALTER TABLE {key.referencing} DROP CONSTRAINT {key.constraint};",
                "-- Or, to delete them:",
                f"-- DELETE FROM {key.referencing} AS referencing USING {users} AS retired",
                f"-- WHERE {key.condition} AND retired.retired_at IS NOT NULL;",
            ]


def _rows_of_retired(connection: Connection, users: str, key: Row[Any]) -> int:
    own = " AND referencing.retired_at IS NULL" if key.is_own else ""
    found = connection.exec_driver_sql(
        f"SELECT count(*) FROM {key.referencing} AS referencing JOIN {users} AS retired"
        f" ON {key.condition} WHERE retired.retired_at IS NOT NULL{own}"
    )
    return int(found.scalar_one())


def move_retired(connection: Connection, users: str, retired: str) -> None:
    """Move the retired users; triggers and rules of other owners do not fire.

    Columns that others added to `users` are kept in both tables.
    """
    added = connection.execute(
        text(statements("dependents")["added_columns"]), {"table": users, "target": retired}
    ).all()
    for column in added:
        connection.exec_driver_sql(f"ALTER TABLE {retired} ADD COLUMN {column.name} {column.type}")
    renamed, others = ", ".join(_RENAMED), "".join(f", {column.name}" for column in added)
    with _without_triggers(connection, users):
        inserted = connection.exec_driver_sql(
            f"INSERT INTO {retired} ({_COLUMNS}, {', '.join(f'_{name}' for name in _RENAMED)},"
            f" _retired_at{others}) SELECT {_COLUMNS}, {renamed}, retired_at{others}"
            f" FROM {users} WHERE retired_at IS NOT NULL ORDER BY user_id"
        ).rowcount
        deleted = connection.exec_driver_sql(
            f"DELETE FROM {users} WHERE retired_at IS NOT NULL"
        ).rowcount
    if inserted != deleted:
        raise RuntimeError(f"{inserted} retired users were copied, but {deleted} deleted")


@contextmanager
def _without_triggers(connection: Connection, table: str) -> Iterator[None]:
    """Disable the triggers and rules of a table, and restore them."""
    found = connection.execute(text(statements("dependents")["triggers"]), {"table": table}).all()
    for one in found:
        connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE {one.kind} {one.name}")
    yield
    for one in found:
        connection.exec_driver_sql(f"ALTER TABLE {table} {one.enable} {one.kind} {one.name}")


def lock(connection: Connection, tables: Sequence[str], mode: str) -> None:
    """Lock the tables, in this order, without stopping their readers for long.

    Raises:  ConfigurationError when the tables stay in use.
    """
    patience = table_locks.Patience(LOCK_SECONDS, LOCK_ATTEMPTS, LOCK_PAUSE_SECONDS)
    sessions = table_locks.lock(connection, tables, mode, patience)
    if not sessions:
        return
    raise ConfigurationError(
        "The tables stay in use by other sessions, so they were not migrated:"
        f" {', '.join(sessions)}.",
        hint="End these sessions, for example by `SELECT pg_terminate_backend(pid)`, and migrate"
        " again.",
    )
