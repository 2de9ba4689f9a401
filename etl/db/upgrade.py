"""Migration of the tables, and the obstacles that are reported before anything is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, PrimaryKeyConstraint, Row, UniqueConstraint, text
from sqlalchemy.exc import DBAPIError

from etl.db import schema
from etl.db.identifiers import quoted
from etl.db.names import DEFAULT_SCHEMA, Lock, lock_key
from etl.db.schema import MIGRATIONS, Found, Schemas
from etl.db.sql import statements
from etl.db.tables import DATA_TABLES, metadata
from etl.model.errors import ConfigurationError, RunAlreadyActive

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

RUN_WAIT_SECONDS = 60
DEFAULT_DATA_SCHEMA = "public"

# SQL_ASCII, the encoding of a cluster without a locale, stores the UTF-8 of our sessions unchanged.
_ENCODINGS = ("UTF8", "SQL_ASCII")
# Tables that only versions before 0008 have, and their indexes. On the way to the newest version
# they, and the data tables, are in the schema of the state for a moment.
_PASSING_NAMES = (
    "alembic_version",
    "alembic_version_pkc",
    "shadowed_row",
    "shadowed_row_pkey",
    "shadowed_row_user_id_idx",
    "staging_row",
)
_OTHER_SCHEMAS = (
    "Set DATABASE_SCHEMA and STATE_SCHEMA to two schemas without such names; missing ones are"
    " created."
)
# SQLSTATEs of migrations that fail because of the database's contents or privileges.
_REFUSALS = {
    "2BP01": "Drop the objects that PostgreSQL names, migrate, and create them again.",
    "23503": "Remove the rows that PostgreSQL names, and migrate again.",
    "42501": "Grant the role in DATABASE_URL the privilege, or migrate as the tables' owner.",
    "42701": "Names that begin with _ belong to Bucketline: rename your column.",
    "42703": "Set STATE_SCHEMA to a schema without a table alembic_version of another program.",
    "42P07": _OTHER_SCHEMAS,
    "42710": _OTHER_SCHEMAS,
}
_LOCK_TIMEOUT = "55P03"


def upgrade(connection: Connection, schemas: Schemas, source_bucket: str) -> bool:
    """Migrate the tables to the next version to commit, or change nothing.

    That is the newest, except for tables in one schema: 0008 locks `users` at its end, and readers
    would wait while the versions after it count rows. The caller commits, and holds a lock against
    concurrent migrations.

    Returns:  whether the tables have the newest version now; otherwise, call again.

    Raises:  NewerSchema; RunAlreadyActive when a run does not end in time; ConfigurationError with
             the cause and a hint.
    """
    target = connection.execute(text(statements("schema")["target"])).one()
    found = Found([])
    try:
        found = schema.find(connection, schemas)
        schema.refuse_unknown(found.versions)
        if found.versions == [schema.newest()]:
            return True
        _check_writable(target)
        _check_earlier(connection, schemas, found)
        _check_grants(connection, schemas, target)
        if found.versions:
            if found.is_earlier:
                _check_new_names(connection, schemas)
            states = [schemas.state, *([DEFAULT_SCHEMA] if found.is_earlier else [])]
            _wait_for_runs(connection, states)
        else:
            _check_usable(connection, schemas, target)
        _create_schemas(connection, schemas)
        run_migrations(connection, schemas, source_bucket, found)
    except DBAPIError as error:
        hint = _REFUSALS.get(str(getattr(error.orig, "pgcode", None)))
        if hint is None:
            raise
        reason = str(error.orig).strip().splitlines()[0]
        state = f"stays at version {found.versions[0]}" if found.versions else "is unchanged"
        raise ConfigurationError(
            f"Database {target.database} could not be migrated and {state}: {reason}.",
            hint=hint,
        ) from error
    return not found.is_earlier


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


def _check_earlier(connection: Connection, schemas: Schemas, found: Found) -> None:
    """Refuse to create new tables while those of an earlier version are in another schema.

    Earlier versions used the first schema of the session's search_path. A second installation names
    both of its schemas.
    """
    if found.versions and not (found.is_earlier and found.schema == schemas.state):
        return
    where = found.schema or _plain_schema(connection)
    is_second = schemas.state != DEFAULT_SCHEMA and schemas.data != DEFAULT_DATA_SCHEMA
    if where is None or not schema.is_of_earlier(connection, where):
        return
    if where != schemas.state and is_second:
        return
    settings = f"DATABASE_SCHEMA={where}"
    if where == schemas.state:
        settings += f" and STATE_SCHEMA={where[:57]}_state"
    raise ConfigurationError(
        f"The tables of an earlier version are in schema {where}, but DATABASE_SCHEMA is"
        f" {schemas.data} and STATE_SCHEMA {schemas.state}.",
        hint=f"Set {settings}, for all processes, and migrate again.",
    )


def _plain_schema(connection: Connection) -> str | None:
    """The schema in which a session that sets no search_path creates tables."""
    nested = connection.begin_nested()
    connection.execute(text("SET LOCAL search_path TO DEFAULT"))
    found: str | None = connection.scalar(text("SELECT current_schema()"))
    nested.rollback()
    return found


def _check_grants(connection: Connection, schemas: Schemas, target: Row[Any]) -> None:
    """Refuse a role that may not create what the migration needs, with the statements to run."""
    role, database = target.quoted_role, target.quoted_database
    named = {"names": list(schemas)}
    existing = {
        row.name: row.may_create
        for row in connection.execute(text(statements("schema")["schemas"]), named)
    }
    missing = [name for name in schemas if name not in existing]
    if missing and not target.may_create_schemas:
        made = " ".join(f"CREATE SCHEMA {_short(name)} AUTHORIZATION {role};" for name in missing)
        raise ConfigurationError(
            f"Role {target.role} may not create schema {' and '.join(missing)} in database"
            f" {target.database}.",
            hint=f"As the owner of the database, run: GRANT CREATE ON DATABASE {database} TO"
            f" {role}; or, as a superuser: {made}",
        )
    grants = [
        f"GRANT CREATE ON SCHEMA {_short(name)} TO {role};"
        for name, may_create in existing.items()
        if not may_create
    ]
    if grants:
        closed = " and ".join(name for name, may_create in existing.items() if not may_create)
        message = f"Role {target.role} may not create tables in schema {closed}"
    elif not target.may_make_temporary:
        message = f"Role {target.role} may not create temporary tables"
    else:
        return
    if not target.may_make_temporary:
        grants.append(f"GRANT TEMPORARY ON DATABASE {database} TO {role};")
    raise ConfigurationError(
        f"{message} of database {target.database}.",
        hint=f"As the owner of the database, run: {' '.join(grants)}",
    )


def _short(name: str) -> str:
    """The name as PostgreSQL's quote_ident shows it: quoted only if necessary."""
    is_plain = name.isascii() and name.islower() and name.replace("_", "a").isalnum()
    return name if is_plain else quoted(name)


def _check_usable(connection: Connection, schemas: Schemas, target: Row[Any]) -> None:
    """Refuse a database in which tables could not be created or used."""
    if target.encoding not in _ENCODINGS:
        raise ConfigurationError(
            f"Database {target.database} has the encoding {target.encoding}, which cannot store"
            " every name.",
            hint="Create another: `CREATE DATABASE bucketline ENCODING 'UTF8' TEMPLATE template0`.",
        )
    everything = [*metadata.tables, *_PASSING_NAMES]
    _check_clashes(connection, "DATABASE_SCHEMA", schemas.data, DATA_TABLES, ())
    _check_clashes(connection, "STATE_SCHEMA", schemas.state, everything, _PASSING_NAMES)


def _check_new_names(connection: Connection, schemas: Schemas) -> None:
    """Refuse tables of others with names that versions before 0008 did not use."""
    new = [name for name in relation_names(DATA_TABLES) if name not in relation_names(["users"])]
    names = {"schema": schemas.data, "names": [*new, "users__source_key_idx"], "tables": new}
    _refuse_clashes(connection, names, "Rename what is not Bucketline's, and migrate again.")
    state = [*metadata.tables, *_PASSING_NAMES]
    _check_clashes(connection, "STATE_SCHEMA", schemas.state, state, _PASSING_NAMES)


def _check_clashes(
    connection: Connection,
    setting: str,
    schema_name: str,
    tables: Collection[str],
    more_names: Collection[str],
) -> None:
    names = {
        "schema": schema_name,
        "names": [*relation_names(tables), *more_names],
        "tables": list(tables),
    }
    _refuse_clashes(
        connection,
        names,
        f"Set {setting} to another schema, such as {setting}={schema_name[:50]}_bucketline; a"
        " missing one is created.",
    )


def _refuse_clashes(connection: Connection, names: dict[str, Any], hint: str) -> None:
    clashes = connection.execute(text(statements("schema")["clashes"]), names).all()
    if clashes:
        listed = ", ".join(f"{one.kind} {one.name} (of {one.owner})" for one in clashes)
        raise ConfigurationError(
            f"Schema {names['schema']} already contains names that Bucketline needs: {listed}.",
            hint=hint,
        )


def relation_names(tables: Collection[str]) -> list[str]:
    """The names of these tables and of their indexes, as the migrations create them."""
    chosen = [table for name, table in metadata.tables.items() if name in tables]
    constraints = [one for table in chosen for one in table.constraints]
    keys = [one for one in constraints if isinstance(one, PrimaryKeyConstraint | UniqueConstraint)]
    named = [*keys, *(index for table in chosen for index in table.indexes)]
    names = [str(one.name) for one in named if len(one.columns)]
    return sorted([*(table.name for table in chosen), *names])


def _create_schemas(connection: Connection, schemas: Schemas) -> None:
    """Create the missing ones; for an existing one, IF NOT EXISTS would need the same privilege."""
    named = {"names": list(schemas)}
    existing = set(connection.scalars(text(statements("schema")["schemas"]), named))
    for name in schemas:
        if name not in existing:
            connection.exec_driver_sql(f"CREATE SCHEMA {quoted(name)}")


def _wait_for_runs(connection: Connection, states: Iterable[str]) -> None:
    """Exclude the runs of these STATE_SCHEMAs until the end of the transaction.

    Raises:  RunAlreadyActive when one does not end in time.
    """
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{int(RUN_WAIT_SECONDS * 1000)}ms'")
    try:
        for state in dict.fromkeys(states):
            statement = text(statements("schema")["lock_runs"])
            connection.execute(statement, {"key": lock_key(Lock.RUN, state)})
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) != _LOCK_TIMEOUT:
            raise
        raise RunAlreadyActive(
            f"A run is active and did not end within {RUN_WAIT_SECONDS:g} s, so the tables were not"
            " migrated.",
            hint="Stop all processes of the earlier version (`up`, `schedule`, `run`), and migrate"
            " again.",
        ) from error
    connection.exec_driver_sql("SET LOCAL lock_timeout = 0")


def run_migrations(
    connection: Connection, schemas: Schemas, source_bucket: str, found: Found
) -> None:
    """Run the migrations up to the next version to commit."""
    from alembic import command
    from alembic.config import Config

    if found.is_earlier or not found.versions:
        # The migrations before 0008 create all tables in one schema; 0008 restores the path.
        only = found.schema or schemas.state
        connection.exec_driver_sql(f"SET LOCAL search_path = {quoted(only)}")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))  # interpolated
    config.attributes |= {
        "connection": connection,
        "state_schema": schemas.state,
        "database_schema": schemas.data,
        "source_bucket": source_bucket,
    }
    command.upgrade(config, schema.FIRST_WITH_STATE_SCHEMA if found.is_earlier else "head")
