"""Tables for any number of datasets: state in a schema of its own, live rows only in `users`.

Retired users move to `users_retired`, shadowed rows to `users_shadowed`, and the columns that
Bucketline adds begin with `_`. A view in the place of `alembic_version` makes earlier versions
report newer tables.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

from etl.db.identifiers import quoted

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
    state, data = quoted(attributes["state_schema"]), quoted(attributes["database_schema"])
    bucket = attributes["source_bucket"]
    is_moved = _moves_to(state)
    for table in _STAGING:
        op.execute(f"DROP TABLE {table}")
    if is_moved:
        for table in (*_STATE_TABLES, "alembic_version"):
            op.execute(f"ALTER TABLE {table} SET SCHEMA {state}")
        op.execute(
            f"CREATE VIEW {data}.alembic_version AS SELECT version_num FROM {state}.alembic_version"
        )
    else:
        for table in ("users", "shadowed_row"):
            op.execute(f"ALTER TABLE {table} SET SCHEMA {data}")
    _change_users(data)
    _change_shadowed_rows(data)
    _change_state(bucket)
    _create_state()
    _create_staging()


def _moves_to(state: str) -> bool:
    """Whether the tables of an earlier version are in another schema."""
    found = op.get_bind().scalar(
        sa.text(
            "SELECT relnamespace <> CAST(:state AS regnamespace) FROM pg_class WHERE oid ="
            " CAST('run' AS regclass)"
        ),
        {"state": state},
    )
    return bool(found)


def _change_users(data: str) -> None:
    users, retired = f"{data}.users", f"{data}.users_retired"
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
    op.execute(
        f"""
        INSERT INTO {retired} (user_id, first_name, last_name, birthts, img_path, _extra,
                               _source_key, _source_line, _run_id, _updated_at, _retired_at)
        SELECT user_id, first_name, last_name, birthts, img_path, extra, source_key, source_line,
               run_id, updated_at, retired_at
        FROM {users} WHERE retired_at IS NOT NULL
        """
    )
    op.execute(f"DELETE FROM {users} WHERE retired_at IS NOT NULL")
    op.execute(f"ALTER TABLE {users} DROP COLUMN id, DROP COLUMN retired_at")
    for name in ("extra", "source_key", "source_line", "run_id", "updated_at"):
        op.execute(f"ALTER TABLE {users} RENAME COLUMN {name} TO _{name}")
    op.execute(f"ALTER INDEX {data}.users_source_key_idx RENAME TO users__source_key_idx")
    op.execute(f"CREATE INDEX users_birthdate_idx ON {users} (birthdate)")


def _change_shadowed_rows(data: str) -> None:
    op.execute(f"ALTER TABLE {data}.shadowed_row RENAME TO users_shadowed")
    shadowed = f"{data}.users_shadowed"
    for name in ("extra", "source_key", "source_line", "run_id"):
        op.execute(f"ALTER TABLE {shadowed} RENAME COLUMN {name} TO _{name}")
    for name in ("shadowed_row_pkey", "shadowed_row_user_id_idx"):
        renamed = name.replace("shadowed_row", "users_shadowed")
        op.execute(f"ALTER INDEX {data}.{name} RENAME TO {renamed}")


def _change_state(bucket: str) -> None:
    op.execute(
        """
        ALTER TABLE source_object
            ADD COLUMN dataset text,
            ADD COLUMN attachment text,
            ADD COLUMN reading_hash text,
            ALTER COLUMN user_id DROP NOT NULL
        """
    )
    op.execute("DROP INDEX source_object_image_idx")
    op.execute("ALTER TABLE source_object RENAME COLUMN user_id TO attachment_id")
    op.execute(
        """
        UPDATE source_object SET
            dataset = CASE WHEN kind <> 'other' THEN 'users' END,
            attachment = CASE WHEN kind = 'image' THEN 'img_path' END,
            attachment_id = CASE WHEN kind = 'image' THEN attachment_id END
        """
    )
    op.execute(
        "CREATE INDEX source_object_image_idx ON source_object (attachment_id, dataset, attachment)"
        " WHERE kind = 'image'"
    )
    _add_bucket("problem", bucket)
    op.execute("ALTER TABLE problem ADD COLUMN dataset text")
    op.execute("UPDATE problem SET dataset = 'users' WHERE code <> 'unsupported-type'")
    for table in ("image", "announced_image"):
        _add_bucket(table, bucket)
        op.execute(
            f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey, ADD PRIMARY KEY (bucket, key)"
        )
    op.execute(
        "ALTER TABLE run ADD COLUMN allowed_retirements jsonb NOT NULL DEFAULT '{}',"
        " ADD COLUMN dataset_counts jsonb NOT NULL DEFAULT '{}'"
    )
    op.execute(
        "UPDATE run SET allowed_retirements = '{\"users\": null}' WHERE allow_mass_retirement"
    )
    op.execute("ALTER TABLE run DROP COLUMN allow_mass_retirement")
    op.execute(
        "CREATE INDEX run_committed_idx ON run (finished_at) WHERE state = 'succeeded'"
        " OR (state = 'failed' AND dataset_counts <> '{}'::jsonb)"
    )
    op.execute("ALTER TABLE publication ADD COLUMN dataset text NOT NULL DEFAULT 'users'")
    op.execute("ALTER TABLE publication ALTER COLUMN dataset DROP DEFAULT")


def _add_bucket(table: str, bucket: str) -> None:
    """All objects of earlier versions are in one bucket."""
    op.execute(f"ALTER TABLE {table} ADD COLUMN bucket text")
    op.execute(
        sa.text(
            f"UPDATE {table}"
            " SET bucket = coalesce((SELECT min(bucket) FROM source_object), :bucket)"
        ).bindparams(bucket=bucket)
    )
    op.execute(f"ALTER TABLE {table} ALTER COLUMN bucket SET NOT NULL")


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
