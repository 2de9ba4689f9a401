"""The version of the tables: the required one, the one found, and the migration."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, PrimaryKeyConstraint, Row, UniqueConstraint, text
from sqlalchemy.exc import DBAPIError

from etl.db.sql import statements
from etl.db.tables import metadata
from etl.model.errors import ConfigurationError, NewerSchema, OlderSchema

if TYPE_CHECKING:
    from collections.abc import Sequence

MIGRATIONS = Path(__file__).parent / "migrations"
FIND_VERSIONS = "SELECT version_num FROM alembic_version"

# SQL_ASCII, a cluster's encoding where no locale is set, keeps the UTF-8 of our sessions as it is.
_ENCODINGS = ("UTF8", "SQL_ASCII")
_OWN_DATABASE = (
    "Give Bucketline its own database (`CREATE DATABASE bucketline`) or its own schema:"
    " `CREATE SCHEMA bucketline`, and ?options=-csearch_path%3Dbucketline at the end of"
    " DATABASE_URL."
)
# SQLSTATEs with which PostgreSQL refuses a migration for what the database holds or allows; 42703
# is an `alembic_version` without the column.
_REFUSALS = {
    "42501": "Grant the role in DATABASE_URL the missing right, or migrate as the tables' owner.",
    "42P07": _OWN_DATABASE,
    "42710": _OWN_DATABASE,
    "42703": _OWN_DATABASE,
}


def newest() -> str:
    """The version that this program needs."""
    return max(known())


@cache
def known() -> frozenset[str]:
    """The versions that this program can migrate from, and the one it needs.

    Read from the file names (`0001_first_tables.py`), because importing alembic takes longer than
    most commands.
    """
    files = (MIGRATIONS / "versions").glob("[0-9]*.py")
    return frozenset(file.name.partition("_")[0] for file in files)


def check(found: Sequence[str]) -> None:
    """Compare what `alembic_version` holds with what this program needs.

    Raises:  NewerSchema for a version it does not know; OlderSchema for an older one, or none.
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
            f" Bucketline does not know; it requires {newest()}.",
            hint="If a newer Bucketline migrated them, update this one. If the table"
            f" alembic_version belongs to another program: {_OWN_DATABASE}",
        )


def versions(connection: Connection) -> list[str]:
    """What `alembic_version` holds; nothing where that is missing."""
    if connection.scalar(text("SELECT to_regclass('alembic_version') IS NULL")):
        return []
    return list(connection.scalars(text(FIND_VERSIONS)))


# -- migrating


def upgrade(connection: Connection) -> None:
    """Bring the tables to the newest version, or leave everything as it is.

    The caller commits, and holds a lock that keeps others from doing the same.

    Raises:  NewerSchema; ConfigurationError with the obstacle and the remedy.
    """
    place = connection.execute(text(statements("schema")["place"])).one()
    try:
        found = versions(connection)
        _refuse_unknown(found)
        if found == [newest()]:
            return
        _check_place(place)
        if not found:
            _check_new_place(connection, place)
        _run_migrations(connection)
    except DBAPIError as error:
        advice = _REFUSALS.get(str(getattr(error.orig, "pgcode", None)))
        if advice is None:
            raise
        said = str(error.orig).strip().splitlines()[0]
        raise ConfigurationError(
            f"{_named(place)} could not be migrated and is unchanged: {said}.", hint=advice
        ) from error


def _named(place: Row[Any]) -> str:
    return f"Schema {place.schema} of database {place.database}"


def _check_place(place: Row[Any]) -> None:
    """Refuse a database that cannot be written."""
    if place.is_replica or place.is_read_only:
        why = "is a replica" if place.is_replica else "is read-only for this role"
        raise ConfigurationError(
            f"Database {place.database} {why}: no table can be created in it.",
            hint="Set DATABASE_URL to the primary server."
            if place.is_replica
            else f"Run `ALTER ROLE {place.quoted_role} RESET default_transaction_read_only`, or"
            " find out where else default_transaction_read_only is set.",
        )
    if place.schema is None:
        raise ConfigurationError(
            f"No schema of search_path ({place.search_path}) exists in database {place.database}.",
            hint=f"Create it, for example `CREATE SCHEMA AUTHORIZATION {place.quoted_role}`, or"
            " name another in search_path.",
        )


def _check_new_place(connection: Connection, place: Row[Any]) -> None:
    """Refuse a database in which tables could not be created or used."""
    if place.encoding not in _ENCODINGS:
        raise ConfigurationError(
            f"Database {place.database} has the encoding {place.encoding}, which cannot hold every"
            " name.",
            hint="Create another: `CREATE DATABASE bucketline ENCODING 'UTF8' TEMPLATE template0`.",
        )
    missing = _missing_rights(place)
    if missing:
        raise ConfigurationError(
            f"Role {place.role} may not create tables in schema {place.schema} of database"
            f" {place.database}.",
            hint=f"As the owner of the database, run: {' '.join(missing)}",
        )
    names = {"names": relation_names(), "tables": list(metadata.tables)}
    clashes = connection.execute(text(statements("schema")["clashes"]), names).all()
    if clashes:
        listed = ", ".join(f"{one.kind} {one.name} (of {one.owner})" for one in clashes)
        raise ConfigurationError(
            f"{_named(place)} already contains names that Bucketline needs: {listed}.",
            hint=_OWN_DATABASE,
        )


def _missing_rights(place: Row[Any]) -> list[str]:
    """The statements that grant the missing rights."""
    grants = {
        f"GRANT CREATE ON SCHEMA {place.quoted_schema} TO {place.quoted_role};": place.may_create,
        f"GRANT TEMPORARY ON DATABASE {place.quoted_database} TO {place.quoted_role};": (
            place.may_make_temporary
        ),
    }
    return [grant for grant, is_granted in grants.items() if not is_granted]


def relation_names() -> list[str]:
    """Every table and index that the migrations make."""
    tables = metadata.tables.values()
    constraints = [one for table in tables for one in table.constraints]
    keys = [one for one in constraints if isinstance(one, PrimaryKeyConstraint | UniqueConstraint)]
    named = [*keys, *(index for table in tables for index in table.indexes)]
    return sorted([*metadata.tables, *(str(one.name) for one in named if len(one.columns))])


def _run_migrations(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))  # interpolated
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
