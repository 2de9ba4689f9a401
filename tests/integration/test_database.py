"""Migrations and the translation of the driver's errors."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import ProgrammingError

from etl.db.engine import check_migrated, connect, migrate, translating
from etl.db.tables import DATA_TABLES, metadata
from etl.model.errors import ConfigurationError, DatabaseUnavailable
from etl.runtime.pools import map_in_threads
from etl.settings import Settings


def test_the_migrations_make_the_tables_we_describe(engine: Engine):
    with engine.connect() as connection:
        found = MigrationContext.configure(connection)
        assert compare_metadata(found, metadata) == []  # by the search_path: in both schemas
        schemas = connection.execute(
            text(
                "SELECT relname, CAST(relnamespace AS regnamespace)::text FROM pg_class"
                " WHERE relkind IN ('r', 'v') AND relnamespace IN"
                " (CAST('bucketline' AS regnamespace), CAST('public' AS regnamespace))"
            )
        )
        where = {row[0]: row[1] for row in schemas}
        assert {name for name in where if where[name] == "public"} == set(DATA_TABLES)
        assert set(where) == {*metadata.tables, "alembic_version"}
        unlogged = connection.scalars(
            text("SELECT relname FROM pg_class WHERE relpersistence = 'u' AND relkind = 'r'")
        )
        assert set(unlogged) == {"staging_users", "staging_object", "staging_problem"}


@pytest.mark.parametrize("table", ["public.users", "bucketline.run"])
def test_difference_in_either_schema_is_found(engine: Engine, table: str):
    with engine.connect() as connection:
        connection.execute(text(f"ALTER TABLE {table} ADD COLUMN odd text"))
        assert compare_metadata(MigrationContext.configure(connection), metadata) != []


def test_plain_clients_of_the_embedded_database_use_the_schema_of_the_data(settings: Settings):
    """Although its role has the name of the schema of the state."""
    engine = create_engine(settings.sqlalchemy_url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT current_user")) == settings.state_schema
        assert connection.scalar(text("SELECT current_schema()")) == "public"
        assert connection.scalar(text("SELECT to_regclass('users')")) == "users"
        assert connection.scalar(text("SELECT to_regclass('run')")) is None
    engine.dispose()


def test_new_rows_draw_autovacuum_to_no_staging_table(engine: Engine):
    """Autovacuum would hold a lock that the merge's TRUNCATE needs, and be canceled after 1 s."""
    with engine.connect() as connection:
        calm = connection.scalars(
            text(
                "SELECT relname FROM pg_class"
                " WHERE 'autovacuum_vacuum_insert_threshold=-1' = ANY (reloptions)"
                " AND 'autovacuum_analyze_threshold=2147483647' = ANY (reloptions)"
            )
        )
        assert set(calm) == {"staging_users", "staging_object", "staging_problem"}


def test_keys_and_ids_sort_by_byte(engine: Engine):
    with engine.connect() as connection:
        collations = connection.execute(
            text(
                "SELECT table_name, column_name FROM information_schema.columns"
                " WHERE collation_name = 'C' AND table_schema IN ('public', 'bucketline')"
            )
        ).all()
    assert {("users", "user_id"), ("source_object", "key")} <= {tuple(row) for row in collations}


def test_migrating_at_the_same_time_is_harmless(empty_database: Settings):
    engines = [connect(empty_database) for _ in range(4)]
    map_in_threads(migrate, engines, 4)
    check_migrated(engines[0])
    for engine in engines:
        engine.dispose()


def test_missing_tables_are_reported_with_a_hint(empty_database: Settings):
    engine = connect(empty_database)
    with pytest.raises(ConfigurationError, match="none") as caught:
        check_migrated(engine)
    assert "migrate" in caught.value.hint
    engine.dispose()


def test_tables_of_a_newer_version_are_not_changed(engine: Engine):
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="9999"):
        migrate(engine)
    with pytest.raises(ConfigurationError, match="9999"):
        check_migrated(engine)


def test_a_connection_that_was_cut_is_an_outage(engine: Engine):
    with pytest.raises(DatabaseUnavailable), translating(), engine.connect() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


def test_faulty_statement_raises_an_untranslated_error(engine: Engine):
    with pytest.raises(ProgrammingError), translating(), engine.connect() as connection:
        connection.execute(text("SELECT no_such_column"))
