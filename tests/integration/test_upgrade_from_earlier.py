"""The migration from version 0.1: every row is kept, and so is what others built on the tables."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import ProgrammingError

from etl.db import upgrade
from etl.db.engine import check_migrated, connect, connect_unpooled, migrate
from etl.db.locks import run_lock
from etl.db.migrations import live_rows
from etl.db.names import Lock, lock_key
from etl.db.schema import Found, Schemas, newest
from etl.model.errors import ConfigurationError, RunAlreadyActive
from etl.settings import Settings
from tests import earlier_tables

if TYPE_CHECKING:
    from collections.abc import Iterator

USERS, RETIRED, SHADOWED = 90, 30, 7


def on_database(stack: Settings, name: str) -> Settings:
    url = stack.sqlalchemy_url.replace("+psycopg2", "").rpartition("/")[0]
    values = stack.model_dump(exclude={"database_url"})
    return Settings(_env_file=None, **values, database_url=f"{url}/{name}")


@pytest.fixture(scope="module")
def filled(stack: Settings, admin: Engine) -> Iterator[str]:
    """The name of a filled database of version 0.1, to clone."""
    name = f"earlier_{uuid.uuid4().hex[:12]}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
        settings = on_database(stack, name)
        earlier_tables.make(settings)
        engine = connect(settings)
        earlier_tables.fill(engine, users=USERS, retired=RETIRED, shadowed=SHADOWED)
        engine.dispose()
        yield name
        connection.execute(text(f"DROP DATABASE {name}"))


@pytest.fixture
def earlier(stack: Settings, admin: Engine, filled: str) -> Iterator[Settings]:
    """Settings with a filled database of version 0.1."""
    name = f"earlier_{uuid.uuid4().hex[:12]}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {filled}"))
        yield on_database(stack, name)
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def database(earlier: Settings) -> Iterator[Engine]:
    engine = connect(earlier)
    yield engine
    engine.dispose()


def run_in(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def rows(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(statement)]


def value(engine: Engine, statement: str) -> Any:  # noqa: ANN401 - any type
    return rows(engine, statement)[0][0]


def everything(engine: Engine) -> dict[str, Any]:
    """All rows of version 0.1, and the catalog's entries of what others built."""
    tables = [
        row[0]
        for row in rows(
            engine, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        )
    ]
    return {
        table: sorted(map(repr, rows(engine, f"SELECT * FROM public.{table}"))) for table in tables
    }


def refusal(engine: Engine) -> ConfigurationError:
    """The error of a migration that must leave the database as it is."""
    before = everything(engine)
    with pytest.raises(ConfigurationError) as caught:
        migrate(engine)
    assert everything(engine) == before
    return caught.value


def follow(engine: Engine, error: ConfigurationError) -> None:
    """Run the statements of the hint, and migrate."""
    first, _, statements = error.hint.partition("\n")
    assert first.startswith("Run these statements")
    run_in(engine, statements)
    migrate(engine)
    check_migrated(engine)


# -- nothing is lost


def test_every_row_is_accounted_for(database: Engine):
    before = {
        is_retired: rows(
            database,
            "SELECT user_id, first_name, last_name, birthts, birthdate, img_path, extra,"
            " source_key, source_line, run_id, updated_at FROM public.users"
            f" WHERE (retired_at IS NOT NULL) = {is_retired} ORDER BY user_id",
        )
        for is_retired in (False, True)
    }
    shadowed = rows(database, "SELECT * FROM public.shadowed_row ORDER BY source_line")
    counted = "run source_object problem publication revision image announced_image bucket_event"
    counts = {
        table: value(database, f"SELECT count(*) FROM public.{table}") for table in counted.split()
    }
    migrate(database)
    columns = (
        "user_id, first_name, last_name, birthts, birthdate, img_path, _extra, _source_key,"
        " _source_line, _run_id, _updated_at"
    )
    assert before[False] == rows(database, f"SELECT {columns} FROM public.users ORDER BY 1")
    assert before[True] == rows(database, f"SELECT {columns} FROM public.users_retired ORDER BY 1")
    assert (len(before[False]), len(before[True])) == (USERS - RETIRED, RETIRED)
    assert value(database, "SELECT count(_retired_at) FROM public.users_retired") == RETIRED
    assert rows(database, "SELECT * FROM public.users_shadowed ORDER BY _source_line") == shadowed
    assert counts == {
        table: value(database, f"SELECT count(*) FROM bucketline.{table}") for table in counts
    }


def test_state_gets_bucket_and_dataset(database: Engine):
    migrate(database)
    assert rows(
        database,
        "SELECT kind, dataset, attachment, bool_and(attachment_id IS NOT NULL)"
        " FROM source_object GROUP BY 1, 2, 3 ORDER BY 1",
    ) == [
        ("data", "users", None, False),
        ("image", "users", "img_path", True),
        ("other", "users", None, False),
    ]
    assert rows(database, "SELECT key, bucket, dataset FROM problem ORDER BY key") == [
        ("1.csv", "src", "users"),
        ("notes.txt", "src", "users"),
    ]
    for table in ("image", "announced_image"):
        assert rows(database, f"SELECT DISTINCT bucket FROM {table}") == [("src",)]
    assert rows(database, "SELECT allowed_retirements, dataset_counts FROM run") == [
        (
            {"users": None},
            {"users": {"rows_read": USERS, "live": 60, "attached": 5, "objects_added": 7}},
        )
    ]


def test_indexes_and_constraints_are_those_of_a_new_installation(database: Engine, engine: Engine):
    statement = (
        "SELECT schemaname, tablename, indexname, indexdef FROM pg_indexes"
        " WHERE schemaname IN ('public', 'bucketline') ORDER BY 1, 2, 3"
    )
    migrate(database)
    assert rows(database, statement) == rows(engine, statement)
    columns = (
        "SELECT table_schema, table_name, column_name, data_type, is_nullable, column_default,"
        " collation_name, is_generated, is_identity FROM information_schema.columns"
        " WHERE table_schema IN ('public', 'bucketline') AND table_name <> 'alembic_version'"
        " ORDER BY 1, 2, 3"
    )
    assert rows(database, columns) == rows(engine, columns)


@pytest.mark.parametrize("version", ["0001", "0002", "0003", "0004", "0005", "0006"])
def test_every_earlier_version_can_be_migrated(empty_database: Settings, version: str):
    earlier_tables.make(empty_database, version=version)
    engine = connect(empty_database)
    migrate(engine)
    check_migrated(engine)
    names = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    tables = {name for (name,) in rows(engine, f"{names} AND relkind IN ('r', 'v')")}
    assert tables == {"users", "users_retired", "users_shadowed", "alembic_version"}
    engine.dispose()


# -- what others built is kept


def test_views_grants_comments_indexes_and_publications_survive(admin: Engine, database: Engine):
    oid = value(database, "SELECT 'public.users'::regclass::oid")
    run_in(
        database,
        "CREATE VIEW public.named AS SELECT user_id, first_name, extra, source_key FROM users",
        "CREATE MATERIALIZED VIEW public.towns AS SELECT extra->>'town' AS town FROM users",
        "CREATE INDEX by_name ON public.users (last_name, first_name)",
        "COMMENT ON TABLE public.users IS 'people'",
        "COMMENT ON COLUMN public.users.extra IS 'the rest'",
        "CREATE PUBLICATION people FOR TABLE public.users",
        "CREATE TABLE public.pet (owner text REFERENCES public.users (user_id))",
        "INSERT INTO public.pet VALUES ('1'), ('60'), (NULL)",
    )
    with admin.connect() as connection:
        role = f"reader_{oid}"
        connection.execute(text(f"CREATE ROLE {role}"))
    run_in(database, f"GRANT SELECT ON public.users, public.run TO {role}")
    migrate(database)
    assert value(database, "SELECT 'public.users'::regclass::oid") == oid
    assert value(database, "SELECT count(*) FROM public.named") == USERS - RETIRED
    assert value(database, "SELECT count(*) FROM public.towns") == USERS
    run_in(database, "REFRESH MATERIALIZED VIEW public.towns")
    assert value(database, "SELECT count(*) FROM public.towns") == USERS - RETIRED
    assert value(database, "SELECT obj_description('public.users'::regclass)") == "people"
    assert (
        value(
            database,
            "SELECT col_description('public.users'::regclass, attnum) FROM"
            " pg_attribute WHERE attname = '_extra' AND attrelid ="
            " 'public.users'::regclass",
        )
        == "the rest"
    )
    assert value(database, "SELECT count(*) FROM pg_publication_tables") == 1
    assert value(database, "SELECT 'public.by_name'::regclass::text") == "by_name"
    with pytest.raises(Exception, match="violates foreign key constraint"):
        run_in(database, "INSERT INTO public.pet VALUES ('90')")
    run_in(
        database,
        f"SET LOCAL ROLE {role}",
        "SELECT count(*) FROM public.users",
        "SELECT count(*) FROM public.users_retired",
        "SELECT count(*) FROM bucketline.run",
    )
    run_in(database, f"DROP OWNED BY {role}")
    with admin.connect() as connection:
        connection.execute(text(f"DROP ROLE {role}"))


def test_retired_rows_hidden_by_row_security_stay_hidden(admin: Engine, database: Engine):
    role = f"hidden_{value(database, 'SELECT oid FROM pg_database LIMIT 1')}"
    with admin.connect() as connection:
        connection.execute(text(f"DROP ROLE IF EXISTS {role}"))
        connection.execute(text(f"CREATE ROLE {role}"))
    run_in(
        database,
        f"GRANT SELECT ON public.users TO {role}",
        "ALTER TABLE public.users ENABLE ROW LEVEL SECURITY",
    )
    migrate(database)
    assert value(database, f"SELECT has_table_privilege('{role}', 'public.users', 'SELECT')")
    may = f"SELECT has_table_privilege('{role}', 'public.users_retired', 'SELECT')"
    assert not value(database, may)
    run_in(database, f"DROP OWNED BY {role}")
    with admin.connect() as connection:
        connection.execute(text(f"DROP ROLE {role}"))


def test_triggers_and_rules_of_others_do_not_fire_and_stay(database: Engine):
    run_in(
        database,
        "CREATE TABLE public.log (what text)",
        "CREATE FUNCTION public.logged() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO public.log VALUES (TG_NAME); RETURN OLD; END $$",
        "CREATE TRIGGER a BEFORE DELETE ON public.users FOR EACH ROW"
        " EXECUTE FUNCTION public.logged()",
        "CREATE TRIGGER b AFTER DELETE ON public.users EXECUTE FUNCTION public.logged()",
        "CREATE TRIGGER c AFTER DELETE ON public.users EXECUTE FUNCTION public.logged()",
        "ALTER TABLE public.users ENABLE ALWAYS TRIGGER b",
        "ALTER TABLE public.users DISABLE TRIGGER c",
        "CREATE RULE kept AS ON DELETE TO public.users DO INSTEAD NOTHING",
    )
    states = (
        "SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal"
        " UNION ALL SELECT rulename, ev_enabled FROM pg_rewrite WHERE rulename = 'kept' ORDER BY 1"
    )
    before = rows(database, states)
    assert before == [("a", "O"), ("b", "A"), ("c", "D"), ("kept", "O")]
    migrate(database)
    assert rows(database, states) == before
    assert rows(database, "SELECT * FROM public.log") == []
    assert value(database, "SELECT count(*) FROM public.users") == USERS - RETIRED


def test_columns_of_others_are_kept_in_both_tables(database: Engine):
    run_in(
        database,
        'ALTER TABLE public.users ADD COLUMN "My note" varchar(9)',
        "ALTER TABLE public.users ADD COLUMN full_name text"
        " GENERATED ALWAYS AS (first_name || ' ' || last_name) STORED",
        "UPDATE public.users SET \"My note\" = 'n' || user_id",
    )
    migrate(database)
    for table, count in (("users", USERS - RETIRED), ("users_retired", RETIRED)):
        noted = f"SELECT count(*) FROM public.{table} WHERE \"My note\" = 'n' || user_id"
        assert value(database, noted) == count
    assert value(database, "SELECT full_name FROM public.users WHERE user_id = '1'") == (
        "First 1 Last 1"
    )


# -- obstacles


_FUNCTION = "RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"
# What others may build on version 0.1, and the statement that the migration asks for.
_OBSTACLES = {
    "CREATE VIEW all_columns AS SELECT * FROM users": "DROP VIEW public.all_columns;",
    'CREATE VIEW "Live" AS SELECT user_id FROM users WHERE retired_at IS NULL': (
        'DROP VIEW public."Live";'
    ),
    "CREATE MATERIALIZED VIEW stored AS SELECT id FROM users": (
        "DROP MATERIALIZED VIEW public.stored;"
    ),
    "CREATE VIEW below AS SELECT id AS a FROM users": "DROP VIEW public.below;",
    "CREATE VIEW middle AS SELECT a FROM below": "DROP VIEW public.middle;",
    "CREATE VIEW above AS SELECT middle.a FROM middle, below": "DROP VIEW public.above;",
    "CREATE FUNCTION of_row(below) RETURNS int LANGUAGE sql AS 'SELECT 1'": (
        "DROP ROUTINE public.of_row(public.below);"
    ),
    "CREATE INDEX by_retirement ON users (retired_at)": "DROP INDEX public.by_retirement;",
    "CREATE INDEX partial ON users (last_name) WHERE retired_at IS NULL": (
        "DROP INDEX public.partial;"
    ),
    "ALTER TABLE users ADD CONSTRAINT numbered UNIQUE (id)": (
        "ALTER TABLE public.users DROP CONSTRAINT numbered;"
    ),
    "CREATE TABLE pet (owner bigint CONSTRAINT owned REFERENCES users (id))": (
        "ALTER TABLE public.pet DROP CONSTRAINT owned;"
    ),
    "ALTER TABLE users ADD CONSTRAINT late CHECK (retired_at > '1999-01-01')": (
        "ALTER TABLE public.users DROP CONSTRAINT late;"
    ),
    "ALTER TABLE users ADD COLUMN gone boolean"
    " GENERATED ALWAYS AS (retired_at IS NOT NULL) STORED": (
        "ALTER TABLE public.users DROP COLUMN gone;"
    ),
    "CREATE INDEX by_gone ON users (gone)": "-- CREATE INDEX by_gone ON",
    "CREATE POLICY live ON users FOR SELECT USING (retired_at IS NULL)": (
        "DROP POLICY live ON public.users;"
    ),
    f"CREATE FUNCTION fired() {_FUNCTION}": "",
    "CREATE TRIGGER fires AFTER UPDATE OF retired_at ON users EXECUTE FUNCTION fired()": (
        "DROP TRIGGER fires ON public.users;"
    ),
    "CREATE RULE ruled AS ON UPDATE TO users WHERE NEW.retired_at IS NOT NULL"
    " DO ALSO DELETE FROM run WHERE false": "DROP RULE ruled ON public.users;",
    "CREATE STATISTICS counted ON last_name, retired_at FROM users": (
        "DROP STATISTICS public.counted;"
    ),
    "CREATE PUBLICATION published FOR TABLE users (user_id, id)": (
        "ALTER PUBLICATION published DROP TABLE public.users;"
    ),
    "CREATE FUNCTION counting() RETURNS bigint LANGUAGE sql"
    " BEGIN ATOMIC SELECT count(retired_at) FROM public.users; END": (
        "DROP ROUTINE public.counting();"
    ),
    "CREATE TABLE child () INHERITS (users)": "NO INHERIT",
    "CREATE VIEW allowed AS SELECT allow_mass_retirement FROM run": "DROP VIEW public.allowed;",
    "CREATE VIEW staged AS SELECT * FROM staging_row": "DROP VIEW public.staged;",
    "CREATE TABLE frame (photo text CONSTRAINT framed REFERENCES image (key))": (
        "ALTER TABLE public.frame DROP CONSTRAINT framed;"
    ),
}


def test_dependents_of_what_is_dropped_are_listed_with_statements_that_help(database: Engine):
    run_in(database, "SET LOCAL search_path = public", *_OBSTACLES)
    error = refusal(database)
    assert [one for one in _OBSTACLES.values() if one not in error.hint] == []
    follow(database, error)
    kept = "SELECT count(*) FROM pg_class WHERE relname IN ('pet', 'frame', 'child')"
    assert value(database, kept) == 3


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW one AS SELECT * FROM users",
        "CREATE INDEX one ON users (last_name) WHERE retired_at IS NULL",
    ],
)
def test_single_dependent_stops_the_migration(database: Engine, statement: str):
    run_in(database, "SET LOCAL search_path = public", statement)
    assert "public.one" in refusal(database).hint


def test_definitions_are_listed_as_comments(database: Engine):
    run_in(
        database,
        "CREATE VIEW public.v AS SELECT user_id, id FROM public.users WHERE retired_at IS NULL",
        "GRANT SELECT ON public.v TO PUBLIC",
        "CREATE MATERIALIZED VIEW public.m AS SELECT user_id FROM public.v",
        "CREATE UNIQUE INDEX m_id ON public.m (user_id)",
    )
    lines = refusal(database).hint.splitlines()
    assert lines.index("DROP MATERIALIZED VIEW public.m;") < lines.index("DROP VIEW public.v;")
    comments = "\n".join(line for line in lines if line.startswith("-- "))
    assert "-- CREATE VIEW public.v AS\n--  SELECT user_id,\n--     id\n" in comments
    assert "-- GRANT SELECT ON public.v TO PUBLIC;" in comments
    assert "-- CREATE UNIQUE INDEX m_id ON public.m USING btree (user_id);" in comments


@pytest.mark.parametrize("action", ["", "ON DELETE CASCADE", "ON DELETE SET NULL"])
def test_rows_that_reference_retired_users_are_never_changed(database: Engine, action: str):
    run_in(
        database,
        f"CREATE TABLE public.pet (owner text CONSTRAINT owned REFERENCES public.users {action})",
        "INSERT INTO public.pet VALUES ('1'), ('61'), ('90'), (NULL)",
    )
    error = refusal(database)
    assert "Rows of public.pet that reference retired users: 2." in error.hint
    assert "DELETE FROM public.pet" in error.hint
    follow(database, error)
    assert value(database, "SELECT count(*) FROM public.pet") == 4


def test_large_table_that_references_users_needs_an_index(
    database: Engine, monkeypatch: pytest.MonkeyPatch
):
    """PostgreSQL would scan it once for each retired user."""
    monkeypatch.setattr(live_rows, "_MOST_SCANNED_BYTES", 1_000)
    run_in(
        database,
        'CREATE TABLE public.pet (id int, "Owner" text REFERENCES public.users)',
        "INSERT INTO public.pet VALUES (1, '1')",
        "CREATE INDEX ON public.pet (id)",
    )
    error = refusal(database)
    assert error.hint.endswith('CREATE INDEX ON public.pet ("Owner");')
    follow(database, error)


def test_names_in_use_by_others_are_reported(database: Engine):
    run_in(database, "CREATE TABLE public.users_retired (name text)")
    assert "table users_retired (of bucketline)" in refusal(database).message


def test_tables_of_the_state_do_not_clash_with_those_of_others(database: Engine):
    """Version 0.1 had no table of these names."""
    run_in(database, "CREATE TABLE public.hold (x int)", "CREATE TABLE public.dataset (x int)")
    migrate(database)
    check_migrated(database)


def test_column_with_a_reserved_name_is_reported(database: Engine):
    run_in(database, "ALTER TABLE public.users ADD COLUMN _extra text")
    error = refusal(database)
    assert "_extra" in error.message
    assert "rename" in error.hint


# -- locks


def test_active_run_of_an_earlier_version_is_waited_for(
    database: Engine, earlier: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(upgrade, "RUN_WAIT_SECONDS", 0.2)
    with connect(earlier).connect() as connection:
        connection.execute(text(f"SELECT pg_advisory_xact_lock({lock_key(Lock.RUN)})"))
        with pytest.raises(RunAlreadyActive) as caught:
            migrate(database)
    assert "`schedule`" in caught.value.hint
    migrate(database)


def test_run_lock_is_free_after_the_migration(database: Engine, earlier: Settings):
    migrate(database)
    with run_lock(connect_unpooled(earlier)):
        pass


def test_sessions_that_keep_the_tables_are_named(database: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live_rows, "LOCK_ATTEMPTS", 2)
    monkeypatch.setattr(live_rows, "LOCK_PAUSE_SECONDS", 0)
    with database.connect() as reader:
        reader.execute(text("SELECT 1 FROM public.users LIMIT 1"))
        pid = reader.scalar(text("SELECT pg_backend_pid()"))
        error = refusal(database)
    assert f"{pid} (bucketline)" in error.message


def test_readers_of_users_wait_only_for_the_version_that_changes_it(
    database: Engine, monkeypatch: pytest.MonkeyPatch
):
    run_migrations = upgrade.run_migrations
    readable: list[tuple[str, int]] = []

    def run(connection: Connection, schemas: Schemas, source_bucket: str, found: Found) -> None:
        run_migrations(connection, schemas, source_bucket, found)
        if not found.is_earlier:
            readable.append((found.versions[0], value(database, "SELECT count(*) FROM users")))

    monkeypatch.setattr(upgrade, "run_migrations", run)
    migrate(database)
    assert readable == [("0008", USERS - RETIRED)]


def test_migration_goes_on_where_it_failed(database: Engine, monkeypatch: pytest.MonkeyPatch):
    run_migrations = upgrade.run_migrations

    def run(connection: Connection, schemas: Schemas, source_bucket: str, found: Found) -> None:
        if not found.is_earlier:
            connection.exec_driver_sql("CREATE TYPE statistics AS (n int)")
        run_migrations(connection, schemas, source_bucket, found)

    with monkeypatch.context() as patched:
        patched.setattr(upgrade, "run_migrations", run)
        with pytest.raises(ConfigurationError, match="stays at version 0008"):
            migrate(database)
    assert value(database, "SELECT count(*) FROM users") == USERS - RETIRED
    migrate(database)
    check_migrated(database)
    assert value(database, "SELECT count(*) FROM users_retired") == RETIRED


# -- other schemas


def test_tables_in_another_schema_are_found_by_the_url(empty_database: Settings):
    run = empty_database.database_url
    assert run is not None
    url = f"{run.get_secret_value()}?options=-csearch_path%3Dthe-people"
    given = Settings(_env_file=None, **{**empty_database.model_dump(), "database_url": url})
    engine = connect(given)
    run_in(engine, 'CREATE SCHEMA "the-people"')
    earlier_tables.make(given, schema="the-people")
    with pytest.raises(ConfigurationError) as caught:
        migrate(engine)
    assert "are in schema the-people" in caught.value.message
    assert "Set DATABASE_SCHEMA=the-people, " in caught.value.hint
    engine.dispose()
    engine = connect(given.model_copy(update={"database_schema": "the-people"}))
    migrate(engine)
    check_migrated(engine)
    engine.dispose()


def test_tables_in_the_schema_of_the_state_are_found(empty_database: Settings):
    """The hint of version 0.1 named the schema `bucketline`, which is the default of the state."""
    engine = connect(empty_database)
    run_in(engine, "CREATE SCHEMA bucketline")
    earlier_tables.make(empty_database, schema="bucketline")
    with pytest.raises(ConfigurationError) as caught:
        migrate(engine)
    hint = "Set DATABASE_SCHEMA=bucketline and STATE_SCHEMA=bucketline_state, "
    assert hint in caught.value.hint
    engine.dispose()
    given = {"database_schema": "bucketline", "state_schema": "bucketline_state"}
    engine = connect(empty_database.model_copy(update=given))
    migrate(engine)
    check_migrated(engine)
    engine.dispose()


def test_second_installation_may_be_made_next_to_an_earlier_version(
    database: Engine, earlier: Settings
):
    given = {"database_schema": "second", "state_schema": "second_state"}
    second = connect(earlier.model_copy(update=given))
    before = everything(database)
    migrate(second)
    check_migrated(second)
    assert everything(database) == before
    second.dispose()


# -- processes of earlier versions


# -- processes of earlier versions

# What they read when they connect, and after an error about a missing table or column.
_CHECK = "SELECT version_num FROM alembic_version"


@pytest.fixture
def old_session(earlier: Settings) -> Iterator[Connection]:
    """A session with the search_path of a role of any name, opened before the migration."""
    engine = connect(earlier)
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql("SET search_path TO public")
        yield connection
    engine.dispose()


def test_earlier_versions_find_the_newer_version(database: Engine, old_session: Connection):
    assert old_session.scalar(text(_CHECK)) == "0007"
    migrate(database)
    assert old_session.scalar(text(_CHECK)) == newest()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT user_id FROM users WHERE retired_at IS NULL",
        "SELECT number, changed_at FROM revision",
        "SELECT key FROM source_object WHERE bucket = 'src'",
        "SELECT user_id FROM shadowed_row",
        "INSERT INTO run (trigger, state) VALUES ('interval', 'requested')",
        (
            "INSERT INTO bucket_event (bucket, key, mark, event_name, record)"
            " VALUES ('b', 'k', 'm', 'e', '{}')"
        ),
        "TRUNCATE staging_row, staging_object, staging_problem",
    ],
)
def test_open_sessions_of_earlier_versions_fail_with_a_missing_name(
    database: Engine, old_session: Connection, statement: str
):
    """They then compare versions, and report newer tables."""
    old_session.exec_driver_sql(statement)
    migrate(database)
    with pytest.raises(ProgrammingError) as caught:
        old_session.exec_driver_sql(statement)
    assert getattr(caught.value.orig, "pgcode", None) in ("42P01", "42703")
    assert old_session.scalar(text(_CHECK)) == newest()


def test_migration_of_an_earlier_version_creates_no_table(database: Engine, earlier: Settings):
    """Alembic finds the newer version through the view, and does not know it."""
    migrate(database)
    before = everything(database)
    with pytest.raises(CommandError, match=newest()):
        earlier_tables.make(earlier, known=earlier_tables.LAST)
    assert everything(database) == before


def test_role_of_an_earlier_process_may_still_read_the_version(admin: Engine, database: Engine):
    role = f"old_{uuid.uuid4().hex[:12]}"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE ROLE {role}"))
    run_in(database, f"GRANT SELECT ON public.alembic_version TO {role}")
    migrate(database)
    run_in(database, f"SET LOCAL ROLE {role}", "SET LOCAL search_path TO public", _CHECK)
    run_in(database, f"DROP OWNED BY {role}")
    with admin.connect() as connection:
        connection.execute(text(f"DROP ROLE {role}"))
