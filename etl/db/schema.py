"""The schemas and the version of the tables: required and found."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import text

from etl.db.identifiers import quoted
from etl.db.sql import statements
from etl.model.errors import NewerSchema, OlderSchema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from etl.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"

FIRST_WITH_STATE_SCHEMA = "0008"


class Schemas(NamedTuple):
    """The schemas of the tables, in the order of the session's search_path."""

    state: str
    data: str

    @classmethod
    def of(cls, settings: Settings) -> Schemas:
        """Those of the settings."""
        return cls(settings.state_schema, settings.database_schema)

    @property
    def find_versions(self) -> str:
        """The SQL that finds the version of the tables; it fails if there are none."""
        return f"SELECT version_num FROM {quoted(self.state)}.alembic_version"


def newest() -> str:
    """The version that this program requires."""
    return max(known())


@cache
def known() -> frozenset[str]:
    """The versions that this program can migrate from, and the required one.

    Read from the file names (`0001_first_tables.py`), because importing alembic takes longer than
    most commands.
    """
    files = (MIGRATIONS / "versions").glob("[0-9]*.py")
    return frozenset(file.name.partition("_")[0] for file in files)


def check(found: Sequence[str]) -> None:
    """Compare the versions in `alembic_version` with the required one.

    Raises:  NewerSchema for an unknown version; OlderSchema for an older one, or none.
    """
    refuse_unknown(found)
    if list(found) != [newest()]:
        raise OlderSchema(
            f"The tables in DATABASE_URL are at version {', '.join(found) or 'none'},"
            f" not {newest()}."
        )


def refuse_unknown(found: Sequence[str]) -> None:
    """Raise NewerSchema for a version that this program does not know."""
    unknown = sorted(set(found) - known())
    if unknown:
        raise NewerSchema(
            f"The tables in DATABASE_URL are at version {', '.join(unknown)}, which this"
            f" version of Bucketline does not support; it requires {newest()}.",
            hint="If a newer Bucketline migrated them, update this installation. If the table"
            " alembic_version belongs to another program, set STATE_SCHEMA to another schema.",
        )


class Found(NamedTuple):
    """The versions in `alembic_version`, none without tables, and the schema of that table."""

    versions: list[str]
    schema: str | None = None

    @property
    def is_earlier(self) -> bool:
        """Whether all tables are in one schema, as in versions before 0008."""
        return bool(self.versions) and max(self.versions) < FIRST_WITH_STATE_SCHEMA


def find(connection: Connection, schemas: Schemas) -> Found:
    """The tables of this installation, also those of an earlier version.

    Earlier versions have all tables in DATABASE_SCHEMA. An `alembic_version` of another program in
    that schema is no matter.
    """
    if has_table(connection, schemas.state, "alembic_version"):
        return Found(_versions_in(connection, schemas.state), schemas.state)
    if is_of_earlier(connection, schemas.data):
        return Found(_versions_in(connection, schemas.data), schemas.data)
    return Found([])


def versions(connection: Connection, schemas: Schemas) -> list[str]:
    """The versions in `alembic_version`; none if there are no tables."""
    return find(connection, schemas).versions


def has_table(connection: Connection, schema: str, table: str) -> bool:
    """Whether the schema has this table, and not only a view of that name."""
    found = connection.scalar(
        text("SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass(:table)"),
        {"table": f"{quoted(schema)}.{quoted(table)}"},
    )
    return bool(found)


def is_of_earlier(connection: Connection, schema: str) -> bool:
    """Whether the schema has the tables of a version before 0008."""
    statement = text(statements("schema")["is_of_earlier"])
    return bool(connection.scalar(statement, {"schema": schema}))


def _versions_in(connection: Connection, schema: str) -> list[str]:
    found = connection.exec_driver_sql(f"SELECT version_num FROM {quoted(schema)}.alembic_version")
    return list(found.scalars())
