"""Tables for any number of datasets: state in a schema of its own, live rows only in `users`.

Retired users move to `users_retired`, shadowed rows to `users_shadowed`, and the columns that
Bucketline adds begin with `_`. A view in the place of `alembic_version` makes earlier versions
report newer tables.

Everything that takes long comes before the locks that stop readers of `users`.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

from etl.db.grants import copy_grants, grant_usage
from etl.db.identifiers import quoted
from etl.db.migrations import live_rows

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_STATE_TABLES = (
    "run",
    "source_object",
    "problem",
    "publication",
    "revision",
    "image",
    "thumbnail",
    "announced_image",
    "bucket_event",
    "dead_letter",
)
_STAGING = ("staging_row", "staging_object", "staging_problem")
_BIRTHDATE = "(DATE '1970-01-01' + ((birthts + 8640000000000) / 86400000 - 100000)::integer)"
_CALM = "autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 2147483647"


def upgrade() -> None:
    """Move and change the tables; every row is kept."""
    attributes = context.config.attributes
    state_schema, data_schema = attributes["state_schema"], attributes["database_schema"]
    state, data = quoted(state_schema), quoted(data_schema)
    connection = op.get_bind()
    old = quoted(str(connection.scalar(sa.text("SELECT current_schema()"))))
    users, retired = f"{old}.users", f"{old}.users_retired"
    live_rows.prepare(connection, old)
    _create_retired(retired)
    live_rows.move_retired(connection, users, retired)
    op.execute(f"CREATE INDEX users_birthdate_live_idx ON {users} (birthdate)")
    locked = (*_STATE_TABLES, *_STAGING, "alembic_version")
    live_rows.lock(connection, [f"{old}.{table}" for table in locked], "ACCESS EXCLUSIVE")
    _change_state(connection, attributes["source_bucket"])
    for table in _STAGING:
        op.execute(f"DROP TABLE {table}")
    if old != state:
        _move_state(connection, state_schema, old)
    op.execute(f"SET LOCAL search_path = {state}, {old}")
    _create_state()
    _create_staging()
    made = ("dataset", "datasets_file", "hold", "held_object", "staging_users", *_STAGING[1:])
    for table in made:
        copy_grants(connection, "run", table)
    # From here on, readers of the data wait.
    live_rows.lock(connection, [f"{old}.shadowed_row", users], "ACCESS EXCLUSIVE")
    op.execute(f"ALTER TABLE {users} DROP COLUMN id, DROP COLUMN retired_at")
    _rename_users(old)
    _rename_shadowed_rows(old)
    if old == state:  # a new installation
        for table in ("users", "users_retired", "users_shadowed"):
            op.execute(f"ALTER TABLE {table} SET SCHEMA {data}")
    op.execute(f"SET LOCAL search_path = {state}, {data}")


def _move_state(connection: sa.Connection, state_schema: str, old: str) -> None:
    """Move the state; roles that could use a table still can."""
    state = quoted(state_schema)
    for table in (*_STATE_TABLES, "alembic_version"):
        grant_usage(connection, f"{old}.{table}", state_schema)
        op.execute(f"ALTER TABLE {old}.{table} SET SCHEMA {state}")
    op.execute(
        f"CREATE VIEW {old}.alembic_version AS SELECT version_num FROM {state}.alembic_version"
    )
    copy_grants(connection, f"{state}.alembic_version", f"{old}.alembic_version", only="SELECT")
    if not _has_row_security(connection, f"{old}.users"):
        copy_grants(connection, f"{old}.users", f"{old}.users_retired")


def _has_row_security(connection: sa.Connection, table: str) -> bool:
    found = connection.scalar(
        sa.text("SELECT relrowsecurity FROM pg_class WHERE oid = CAST(:table AS regclass)"),
        {"table": table},
    )
    return bool(found)


def _create_retired(retired: str) -> None:
    op.execute(
        f"""
        CREATE TABLE {retired} (
            user_id text COLLATE "C" PRIMARY KEY,
            first_name text, last_name text, birthts bigint,
            birthdate date GENERATED ALWAYS AS {_BIRTHDATE} STORED,
            img_path text, _extra jsonb, _source_key text COLLATE "C" NOT NULL,
            _source_line integer NOT NULL, _run_id bigint NOT NULL,
            _updated_at timestamptz NOT NULL, _retired_at timestamptz NOT NULL)
        """
    )


def _rename_users(schema: str) -> None:
    for name in ("extra", "source_key", "source_line", "run_id", "updated_at"):
        op.execute(f"ALTER TABLE {schema}.users RENAME COLUMN {name} TO _{name}")
    for name, renamed in (
        ("users_source_key_idx", "users__source_key_idx"),
        ("users_birthdate_live_idx", "users_birthdate_idx"),
    ):
        op.execute(f"ALTER INDEX {schema}.{name} RENAME TO {renamed}")


def _rename_shadowed_rows(schema: str) -> None:
    op.execute(f"ALTER TABLE {schema}.shadowed_row RENAME TO users_shadowed")
    for name in ("extra", "source_key", "source_line", "run_id"):
        op.execute(f"ALTER TABLE {schema}.users_shadowed RENAME COLUMN {name} TO _{name}")
    for name in ("shadowed_row_pkey", "shadowed_row_user_id_idx"):
        renamed = name.replace("shadowed_row", "users_shadowed")
        op.execute(f"ALTER INDEX {schema}.{name} RENAME TO {renamed}")


def _change_state(connection: sa.Connection, source_bucket: str) -> None:
    """Fill new columns by their defaults where possible, which rewrites no row."""
    bucket = _bucket(connection, source_bucket)
    op.execute(
        """
        ALTER TABLE source_object
            ADD COLUMN dataset text DEFAULT 'users',
            ADD COLUMN attachment text,
            ADD COLUMN attachment_id text COLLATE "C",
            ADD COLUMN reading_hash text
        """
    )
    op.execute(
        "UPDATE source_object SET attachment = 'img_path', attachment_id = user_id"
        " WHERE kind = 'image'"
    )
    op.execute("ALTER TABLE source_object DROP COLUMN user_id, ALTER COLUMN dataset DROP DEFAULT")
    op.execute(
        "CREATE INDEX source_object_image_idx ON source_object (attachment_id, dataset, attachment)"
        " WHERE kind = 'image'"
    )
    for table in ("problem", "image", "announced_image"):
        op.execute(f"ALTER TABLE {table} ADD COLUMN bucket text NOT NULL DEFAULT {bucket}")
        op.execute(f"ALTER TABLE {table} ALTER COLUMN bucket DROP DEFAULT")
    for table in ("image", "announced_image"):
        op.execute(
            f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey, ADD PRIMARY KEY (bucket, key)"
        )
    op.execute("ALTER TABLE problem ADD COLUMN dataset text DEFAULT 'users'")
    op.execute("ALTER TABLE problem ALTER COLUMN dataset DROP DEFAULT")
    op.execute("ALTER TABLE publication ADD COLUMN dataset text NOT NULL DEFAULT 'users'")
    op.execute("ALTER TABLE publication ALTER COLUMN dataset DROP DEFAULT")
    _change_runs()


def _bucket(connection: sa.Connection, source_bucket: str) -> str:
    """The bucket of all objects of an earlier version, as a literal."""
    found = connection.scalar(
        sa.text(
            "SELECT quote_literal(coalesce(max(bucket) FILTER (WHERE bucket = :bucket),"
            " min(bucket), :bucket)) FROM source_object"
        ),
        {"bucket": source_bucket},
    )
    return str(found)


def _change_runs() -> None:
    op.execute(
        "ALTER TABLE run ADD COLUMN allowed_retirements jsonb NOT NULL DEFAULT '{}',"
        " ADD COLUMN dataset_counts jsonb NOT NULL DEFAULT '{}',"
        " ADD COLUMN left_out text[] NOT NULL DEFAULT '{}'"
    )
    op.execute(
        "UPDATE run SET allowed_retirements = '{\"users\": null}' WHERE allow_mass_retirement"
    )
    op.execute("ALTER TABLE run DROP COLUMN allow_mass_retirement")
    op.execute(
        """
        UPDATE run SET dataset_counts = jsonb_build_object('users', (
            SELECT jsonb_object_agg(
                CASE name WHEN 'users_with_image' THEN 'attached'
                          ELSE regexp_replace(name, '^users_', '') END, value)
            FROM jsonb_each(counts) AS counted (name, value)
            WHERE name ~ '^(rows_|users_|objects_(added|modified|removed|quarantined)$)'))
        WHERE state = 'succeeded' AND counts ? 'users_live'
        """
    )
    op.execute(
        "CREATE INDEX run_committed_idx ON run (finished_at) WHERE state = 'succeeded'"
        " OR (state = 'failed' AND dataset_counts <> '{}'::jsonb)"
    )


def _create_state() -> None:
    op.execute(
        """
        CREATE TABLE dataset (
            name text PRIMARY KEY,
            declaration jsonb NOT NULL,
            reading_hash text NOT NULL,
            added_columns text[] NOT NULL DEFAULT '{}',
            installed_at timestamptz NOT NULL)
        """
    )
    op.execute(
        """
        CREATE TABLE datasets_file (
            id boolean PRIMARY KEY CHECK (id),
            path text NOT NULL,
            hash text NOT NULL,
            read_at timestamptz NOT NULL,
            error jsonb)
        """
    )
    op.execute(
        """
        CREATE TABLE hold (
            dataset text PRIMARY KEY,
            run_id bigint NOT NULL,
            opened_at timestamptz NOT NULL,
            rows bigint NOT NULL,
            live bigint NOT NULL)
        """
    )
    op.execute(
        """
        CREATE TABLE held_object (
            bucket text, key text COLLATE "C", dataset text NOT NULL, rows bigint NOT NULL,
            PRIMARY KEY (bucket, key))
        """
    )


def _create_staging() -> None:
    op.execute(
        """
        CREATE UNLOGGED TABLE staging_object (
            key text COLLATE "C", bucket text, change text, dataset text,
            kind text NOT NULL, attachment text, attachment_id text COLLATE "C",
            etag text NOT NULL, size bigint NOT NULL, last_modified timestamptz NOT NULL,
            state text NOT NULL, rows_read bigint NOT NULL, rows_rejected bigint NOT NULL,
            reread_on date, reading_hash text,
            PRIMARY KEY (key, bucket, change))
        """
    )
    op.execute(
        """
        CREATE UNLOGGED TABLE staging_problem (
            bucket text NOT NULL, key text COLLATE "C" NOT NULL, dataset text, etag text NOT NULL,
            line integer, "column" text, code text NOT NULL, severity text NOT NULL, value text,
            note text NOT NULL)
        """
    )
    op.execute(
        """
        CREATE UNLOGGED TABLE staging_users (
            user_id text COLLATE "C" NOT NULL, first_name text NOT NULL, last_name text NOT NULL,
            birthts bigint NOT NULL, _extra jsonb, _source_key text COLLATE "C" NOT NULL,
            _source_line integer NOT NULL)
        """
    )
    for table in ("staging_object", "staging_problem", "staging_users"):
        op.execute(f"ALTER TABLE {table} SET ({_CALM})")
