"""Migrations that cannot be made: the obstacle is named, and nothing is half-migrated."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, make_url, text

from etl.db.engine import check_migrated, connect, migrate
from etl.db.schema import MIGRATIONS, known, newest
from etl.db.tables import DATA_TABLES, metadata
from etl.db.upgrade import relation_names
from etl.model.errors import ConfigurationError, NewerSchema
from etl.model.values import Trigger
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.sync.manager import DataManager
from etl.verify import verify
from tests import earlier_tables
from tests.conftest import TestBucket
from tests.processes import ROOT, environment
from tests.sample_images import plain

_OURS = (
    "SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
    " WHERE nspname IN ('public', 'bucketline') AND relkind IN ('r', 'i')"
)


def test_versions_read_from_file_names_are_those_of_alembic():
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert known() == {script.revision for script in scripts.walk_revisions()}
    assert newest() == scripts.get_current_head()


def on(settings: Settings, **parts: str) -> Settings:
    """The settings with other parts of DATABASE_URL."""
    url = make_url(settings.sqlalchemy_url).set(drivername="postgresql", **parts)
    given = url.render_as_string(hide_password=False)
    values = settings.model_dump(exclude={"database_url"})
    return Settings(_env_file=None, **values, database_url=given)


def run_in(settings: Settings, *statements: str) -> None:
    """Run statements as the owner of the database."""
    engine = connect(settings)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def refusal(settings: Settings) -> ConfigurationError:
    """The error of a migration that fails and must leave the database unchanged."""
    engine = connect(settings)
    with engine.connect() as connection:
        before = sorted(connection.scalars(text(_OURS)))
    with pytest.raises(ConfigurationError) as caught:
        migrate(engine)
    with engine.connect() as connection:
        assert sorted(connection.scalars(text(_OURS))) == before
    engine.dispose()
    return caught.value


@pytest.fixture
def role(admin: Engine, empty_database: Settings) -> Iterator[str]:
    """A role that may only log in."""
    name = f"role_{uuid.uuid4().hex[:12]}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'"))
        yield name
        run_in(empty_database, f"DROP OWNED BY {name} CASCADE")
        connection.execute(text(f"DROP ROLE {name}"))


@pytest.fixture
def as_role(empty_database: Settings, role: str) -> Settings:
    return on(empty_database, username=role, password="secret")


@pytest.fixture
def database_like(admin: Engine, stack: Settings) -> Iterator[Callable[[str], Settings]]:
    """A function that creates a database with these options of CREATE DATABASE."""
    names: list[str] = []

    def make(words: str) -> Settings:
        names.append(f"odd_{uuid.uuid4().hex[:12]}")
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {names[-1]} TEMPLATE template0 {words}"))
        return on(stack, database=names[-1])

    yield make
    with admin.connect() as connection:
        for name in names:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def test_a_role_that_may_not_make_tables_gets_the_grant(
    as_role: Settings, empty_database: Settings, role: str
):
    name = make_url(empty_database.sqlalchemy_url).database
    run_in(empty_database, f"GRANT CREATE ON DATABASE {name} TO {role}")
    error = refusal(as_role)
    assert f"Role {role} may not create tables in schema public" in error.message
    (_, grant) = error.hint.split("run: ")
    assert grant == f"GRANT CREATE ON SCHEMA public TO {role};"
    run_in(empty_database, grant)
    engine = connect(as_role)
    migrate(engine)
    check_migrated(engine)
    engine.dispose()


@pytest.mark.parametrize("which", [0, 1])
def test_role_that_may_not_create_a_schema_gets_the_statements(
    as_role: Settings, empty_database: Settings, role: str, which: int
):
    """Each of the two statements is enough."""
    run_in(empty_database, f"GRANT CREATE ON SCHEMA public TO {role}")
    error = refusal(as_role)
    assert f"Role {role} may not create schema bucketline in database" in error.message
    name = make_url(empty_database.sqlalchemy_url).database
    choices = error.hint.split("run: ")[1].split(" or, as a superuser: ")
    assert choices == [
        f"GRANT CREATE ON DATABASE {name} TO {role};",
        f"CREATE SCHEMA bucketline AUTHORIZATION {role};",
    ]
    run_in(empty_database, choices[which])
    engine = connect(as_role)
    migrate(engine)
    check_migrated(engine)
    engine.dispose()


def test_schemas_of_any_name_are_created(empty_database: Settings):
    names = {"database_schema": "My-Data", "state_schema": "_" * 63}
    given = empty_database.model_copy(update=names)
    engine = connect(given)
    migrate(engine)
    check_migrated(engine)
    migrate(engine)
    engine.dispose()


def test_a_role_without_temporary_tables_gets_the_grant(
    as_role: Settings, empty_database: Settings, role: str
):
    name = make_url(empty_database.sqlalchemy_url).database
    run_in(
        empty_database,
        f"GRANT CREATE ON SCHEMA public TO {role}",
        f"GRANT CREATE ON DATABASE {name} TO {role}",
        f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC",
    )
    assert refusal(as_role).hint.endswith(f"GRANT TEMPORARY ON DATABASE {name} TO {role};")


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("CREATE TABLE public.users (name text)", "table users (of bucketline)"),
        ("CREATE VIEW public.users_retired AS SELECT 1 AS id", "view users_retired"),
        ("CREATE TYPE public.users_shadowed AS ENUM ('a')", "type users_shadowed (of bucketline)"),
        ("CREATE DOMAIN public.users AS text", "type users (of bucketline)"),
        ("CREATE TABLE x (id int CONSTRAINT users_pkey PRIMARY KEY)", "index users_pkey"),
        ("CREATE VIEW bucketline.run AS SELECT 1 AS id", "view run (of bucketline)"),
        ("CREATE SEQUENCE bucketline.shadowed_row", "sequence shadowed_row (of bucketline)"),
        (
            "CREATE TABLE bucketline.y (k int); CREATE INDEX problem_key_idx ON bucketline.y (k)",
            "index problem_key_idx",
        ),
    ],
)
def test_name_conflict_is_reported_with_its_owner(
    empty_database: Settings, statement: str, named: str
):
    setting = "STATE_SCHEMA" if "bucketline." in statement else "DATABASE_SCHEMA"
    run_in(empty_database, "CREATE SCHEMA bucketline", "SET search_path TO public", statement)
    error = refusal(empty_database)
    assert f"already contains names that Bucketline needs: {named}" in error.message
    assert f"Set {setting} to another schema" in error.hint


def test_names_of_the_state_may_be_in_use_in_the_data_schema(empty_database: Settings):
    run_in(empty_database, "CREATE TABLE public.run (x int)", "CREATE TABLE public.problem (x int)")
    engine = connect(empty_database)
    migrate(engine)
    check_migrated(engine)
    engine.dispose()


def test_separate_schema_works_as_the_hint_describes(empty_database: Settings):
    run_in(empty_database, "CREATE TABLE public.users (name text)")
    (name,) = re.findall(r"DATABASE_SCHEMA=(\w+)", refusal(empty_database).hint)
    engine = connect(empty_database.model_copy(update={"database_schema": name}))
    migrate(engine)
    check_migrated(engine)
    engine.dispose()


@pytest.mark.parametrize("rows", ["('a1b2c3d4e5f6')", "('a'), ('b')"])
def test_alembic_version_of_another_program_is_not_changed(empty_database: Settings, rows: str):
    run_in(
        empty_database,
        "CREATE SCHEMA bucketline",
        "CREATE TABLE bucketline.alembic_version (version_num varchar(32))",
        f"INSERT INTO bucketline.alembic_version VALUES {rows}",
    )
    error = refusal(empty_database)
    assert isinstance(error, NewerSchema)
    assert "belongs to another program" in error.hint


def test_alembic_version_of_another_shape_is_not_changed(empty_database: Settings):
    table = "CREATE TABLE bucketline.alembic_version (release int)"
    run_in(empty_database, "CREATE SCHEMA bucketline", table)
    assert "version_num" in refusal(empty_database).message


@pytest.mark.parametrize("version", ["a1b2c3d4e5f6", "0003"])
def test_alembic_version_of_another_program_next_to_the_data_is_no_matter(
    empty_database: Settings, version: str
):
    run_in(
        empty_database,
        "CREATE TABLE public.alembic_version (version_num varchar(32))",
        f"INSERT INTO public.alembic_version VALUES ('{version}')",
    )
    engine = connect(empty_database)
    migrate(engine)
    check_migrated(engine)
    with engine.connect() as connection:
        found = connection.scalars(text("SELECT version_num FROM public.alembic_version"))
        assert found.all() == [version]
    engine.dispose()


def test_a_database_that_cannot_hold_every_name_is_refused(
    database_like: Callable[[str], Settings],
):
    error = refusal(database_like("ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"))
    assert "has the encoding LATIN1" in error.message
    assert "ENCODING 'UTF8' TEMPLATE template0" in error.hint


def test_a_database_without_an_encoding_holds_every_name(
    database_like: Callable[[str], Settings], settings: Settings, bucket: TestBucket
):
    """SQL_ASCII is initdb's default without a locale."""
    database = database_like("ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'").database_url
    bare = settings.model_copy(update={"database_url": database})
    engine = connect(bare)
    migrate(engine)
    bucket.put(
        "a.csv", "user_id,first_name,last_name,birthts,town\nJos\xe9,Zo\xeb,\u674e,0,K\xf6ln\n"
    )
    bucket.put("Jos\xe9.png", plain())
    DataManager(bare).run(Trigger.CLI)
    assert verify(bare, engine) == []
    with engine.connect() as connection:
        (user,) = connection.execute(text("SELECT user_id, first_name, last_name FROM users"))
    assert tuple(user) == ("Jos\xe9", "Zo\xeb", "\u674e")
    engine.dispose()


def test_a_role_that_may_only_read_is_refused(admin: Engine, as_role: Settings, role: str):
    with admin.connect() as connection:
        connection.execute(text(f"ALTER ROLE {role} SET default_transaction_read_only = on"))
    error = refusal(as_role)
    assert "is read-only for this role" in error.message
    assert f"ALTER ROLE {role} RESET default_transaction_read_only" in error.hint


def test_search_path_of_the_role_has_no_effect(
    admin: Engine, as_role: Settings, empty_database: Settings, role: str
):
    name = make_url(empty_database.sqlalchemy_url).database
    run_in(
        empty_database,
        f"GRANT CREATE ON SCHEMA public TO {role}",
        f"GRANT CREATE ON DATABASE {name} TO {role}",
    )
    with admin.connect() as connection:
        connection.execute(text(f"ALTER ROLE {role} SET search_path = nowhere"))
    engine = connect(as_role)
    migrate(engine)
    check_migrated(engine)
    engine.dispose()


def test_tables_of_another_owner_are_not_half_migrated(
    as_role: Settings, empty_database: Settings, role: str
):
    earlier_tables.make(empty_database, version="0003")
    name = make_url(empty_database.sqlalchemy_url).database
    run_in(
        empty_database,
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
        f"GRANT CREATE ON SCHEMA public TO {role}",
        f"GRANT CREATE ON DATABASE {name} TO {role}",
    )
    error = refusal(as_role)
    assert "must be owner" in error.message
    assert "as the tables' owner" in error.hint


@pytest.mark.usefixtures("role")
def test_command_reports_the_conflict_in_two_lines_and_exits_2(as_role: Settings, stack: Settings):
    given = as_role.model_copy(update={"s3_endpoint": stack.s3_endpoint})
    done = subprocess.run(
        [sys.executable, "-m", "etl", "migrate"],
        cwd=ROOT,
        env=environment(given),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert done.stderr.startswith("Role ")


def test_every_name_used_by_migrations_is_checked(engine: Engine):
    with engine.connect() as connection:
        for schema, is_data in (("public", True), ("bucketline", False)):
            names = f"{_OURS} AND nspname = '{schema}'"
            made = set(connection.scalars(text(names))) - {"alembic_version", "alembic_version_pkc"}
            tables = [name for name in metadata.tables if (name in DATA_TABLES) is is_data]
            assert set(relation_names(tables)) == made


def test_problem_counts_are_recomputed_and_data_stay(empty_database: Settings):
    """Runs of version 0005 did not count problems that image processing found later."""
    engine = connect(empty_database)
    earlier_tables.make(empty_database, version="0005")
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO run (trigger, state, counts) VALUES"
                " ('cli', 'succeeded', '{\"problems\": 1, \"rows_read\": 4}'),"
                " ('cli', 'succeeded', '{\"problems\": 0}'), ('cli', 'failed', '{}')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO problem (run_id, key, etag, code, severity, note)"
                " SELECT 1, 'k' || n, 'e', 'corrupt-image', 'error', ''"
                " FROM generate_series(1, 3) AS n"
            )
        )
    migrate(engine)
    check_migrated(engine)
    with engine.connect() as connection:
        assert connection.scalars(text("SELECT counts FROM run ORDER BY id")).all() == [
            {"problems": 3, "rows_read": 4},
            {"problems": 0},
            {},
        ]
        assert connection.scalar(text("SELECT count(*) FROM problem")) == 3
    engine.dispose()


def test_objects_read_under_older_rules_are_read_again(
    settings: Settings, empty_database: Settings, store: ObjectStore, bucket: TestBucket
):
    """The tables of version 0006 were filled under different rules for the same objects."""
    bucket.user("1.csv")
    bucket.user("Jos\xe9.csv")
    bucket.put("Jose\u0301.png", plain())
    bucket.put("1.png", plain())
    given = settings.model_copy(update={"database_url": empty_database.database_url})
    earlier_tables.make(given, version="0006")
    engine = connect(given)
    with engine.begin() as connection:
        run_id = connection.scalar(
            text("INSERT INTO run (trigger, state) VALUES ('cli', 'succeeded') RETURNING id")
        )
        for one in store.list_objects(bucket.name):
            name, _, kind = one.key.partition(".")
            values = {"bucket": bucket.name, "name": name, "run": run_id, "kind": kind}
            values |= {"key": one.key, "etag": one.etag, "size": one.size}
            connection.execute(
                text(
                    "INSERT INTO source_object VALUES (:bucket, :key,"
                    " CASE :kind WHEN 'png' THEN 'image' ELSE 'csv' END, :name, :etag, :size,"
                    " :at, 'loaded', CASE :kind WHEN 'png' THEN 0 ELSE 1 END, 0, NULL, :run)"
                ),
                {**values, "at": one.last_modified},
            )
            if kind == "csv":
                connection.execute(
                    text(
                        "INSERT INTO users (user_id, first_name, last_name, birthts, source_key,"
                        " source_line, run_id, updated_at)"
                        " VALUES (:name, 'Old', 'Lee', 0, :key, 2, :run, now())"
                    ),
                    values,
                )
    migrate(engine)
    DataManager(given).run(Trigger.CLI)
    assert verify(given, engine) == []
    with engine.connect() as connection:
        found = connection.execute(text("SELECT first_name, count(img_path) FROM users GROUP BY 1"))
        assert [tuple(row) for row in found] == [("Ann", 2)]
    engine.dispose()
