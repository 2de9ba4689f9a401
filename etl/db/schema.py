"""The version of the tables: required, found, and migration to it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, PrimaryKeyConstraint, Row, UniqueConstraint, text
from sqlalchemy.exc import DBAPIError

from etl.db.identifiers import quoted
from etl.db.sql import statements
from etl.db.tables import metadata
from etl.model.errors import ConfigurationError, NewerSchema, OlderSchema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etl.settings import Settings

MIGRATIONS = Path(__file__).parent / "migrations"

# SQL_ASCII, the encoding of a cluster without a locale, stores the UTF-8 of our sessions unchanged.
_ENCODINGS = ("UTF8", "SQL_ASCII")
_OWN_DATABASE = (
    "Give Bucketline its own database (`CREATE DATABASE bucketline`) or its own schema:"
    " `CREATE SCHEMA bucketline`, and ?options=-csearch_path%3Dbucketline at the end of"
    " DATABASE_URL."
)
# SQLSTATEs of migrations that fail because of the database's contents or privileges; 42703 is an
# `alembic_version` without the column.
_REFUSALS = {
    "42501": "Grant the role in DATABASE_URL the privilege, or migrate as the tables' owner.",
    "42P07": _OWN_DATABASE,
    "42710": _OWN_DATABASE,
    "42703": _OWN_DATABASE,
}


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
    _refuse_unknown(found)
    if list(found) != [newest()]:
        raise OlderSchema(
            f"The tables in DATABASE_URL are at version {', '.join(found) or 'none'},"
            f" not {newest()}."
        )


def _refuse_unknown(found: Sequence[str]) -> None:
    unknown = sorted(set(found) - known())
    if unknown:
        raise NewerSchema(
            f"The tables in DATABASE_URL are at version {', '.join(unknown)}, which this"
            f" version of Bucketline does not support; it requires {newest()}.",
            hint="If a newer Bucketline migrated them, update this installation. If the table"
            f" alembic_version belongs to another program: {_OWN_DATABASE}",
        )


def versions(connection: Connection, schemas: Schemas) -> list[str]:
    """The versions in `alembic_version`; none if that table is missing.

    Versions before 0008 have all tables in DATABASE_SCHEMA.
    """
    for schema in schemas:
        table = f"{quoted(schema)}.alembic_version"
        found = connection.scalar(
            text("SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass(:table)"),
            {"table": table},
        )
        if found:
            return list(connection.scalars(text(f"SELECT version_num FROM {table}")))
    return []


# -- migrating


def upgrade(connection: Connection, schemas: Schemas, source_bucket: str) -> None:
    """Migrate the tables to the newest version, or change nothing.

    The caller commits, and holds a lock against concurrent migrations.

    Raises:  NewerSchema; ConfigurationError with the cause and a hint.
    """
    target = connection.execute(text(statements("schema")["target"])).one()
    try:
        found = versions(connection, schemas)
        _refuse_unknown(found)
        if found == [newest()]:
            return
        _check_writable(target)
        if not found:
            _check_usable(connection, target)
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {quoted(schemas.state)}"))
        _run_migrations(connection, schemas, source_bucket)
    except DBAPIError as error:
        hint = _REFUSALS.get(str(getattr(error.orig, "pgcode", None)))
        if hint is None:
            raise
        reason = str(error.orig).strip().splitlines()[0]
        raise ConfigurationError(
            f"{_describe(target)} could not be migrated and is unchanged: {reason}.", hint=hint
        ) from error


def _describe(target: Row[Any]) -> str:
    return f"Schema {target.schema} of database {target.database}"


def _check_writable(target: Row[Any]) -> None:
    """Refuse a database that is not writable."""
    if target.is_replica or target.is_read_only:
        why = "is a replica" if target.is_replica else "is read-only for this role"
        raise ConfigurationError(
            f"Database {target.database} {why}, so no table can be created.",
            hint="Set DATABASE_URL to the primary server."
            if target.is_replica
            else f"Run `ALTER ROLE {target.quoted_role} RESET default_transaction_read_only`, or"
            " find out where else default_transaction_read_only is set.",
        )
    if target.schema is None:
        raise ConfigurationError(
            f"No schema of search_path ({target.search_path}) exists in database"
            f" {target.database}.",
            hint=f"Create it, for example `CREATE SCHEMA AUTHORIZATION {target.quoted_role}`, or"
            " set search_path to an existing schema.",
        )


def _check_usable(connection: Connection, target: Row[Any]) -> None:
    """Refuse a database in which tables could not be created or used."""
    if target.encoding not in _ENCODINGS:
        raise ConfigurationError(
            f"Database {target.database} has the encoding {target.encoding}, which cannot store"
            " every name.",
            hint="Create another: `CREATE DATABASE bucketline ENCODING 'UTF8' TEMPLATE template0`.",
        )
    missing = _missing_grants(target)
    if missing:
        raise ConfigurationError(
            f"Role {target.role} may not create tables in schema {target.schema} of database"
            f" {target.database}.",
            hint=f"As the owner of the database, run: {' '.join(missing)}",
        )
    names = {"names": relation_names(), "tables": list(metadata.tables)}
    clashes = connection.execute(text(statements("schema")["clashes"]), names).all()
    if clashes:
        listed = ", ".join(f"{one.kind} {one.name} (of {one.owner})" for one in clashes)
        raise ConfigurationError(
            f"{_describe(target)} already contains names that Bucketline needs: {listed}.",
            hint=_OWN_DATABASE,
        )


def _missing_grants(target: Row[Any]) -> list[str]:
    """The statements that grant the missing privileges."""
    schema, database, role = target.quoted_schema, target.quoted_database, target.quoted_role
    grants = {
        f"GRANT CREATE ON SCHEMA {schema} TO {role};": target.may_create,
        f"GRANT TEMPORARY ON DATABASE {database} TO {role};": target.may_make_temporary,
    }
    return [grant for grant, is_granted in grants.items() if not is_granted]


def relation_names() -> list[str]:
    """The names of all tables and indexes that the migrations create."""
    tables = metadata.tables.values()
    constraints = [one for table in tables for one in table.constraints]
    keys = [one for one in constraints if isinstance(one, PrimaryKeyConstraint | UniqueConstraint)]
    named = [*keys, *(index for table in tables for index in table.indexes)]
    return sorted([*metadata.tables, *(str(one.name) for one in named if len(one.columns))])


def _run_migrations(connection: Connection, schemas: Schemas, source_bucket: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))  # interpolated
    config.attributes |= {
        "connection": connection,
        "state_schema": schemas.state,
        "database_schema": schemas.data,
        "source_bucket": source_bucket,
    }
    command.upgrade(config, "head")
