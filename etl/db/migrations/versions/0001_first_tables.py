"""The first tables: users and their sources, runs, problems, staging."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ByteText = sa.Text(collation="C")
Timestamp = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "publication",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("etag", sa.Text(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("published_at", Timestamp, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("publication_pkey")),
    )
    op.create_table(
        "run",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column(
            "allow_mass_retirement", sa.Boolean(), server_default=sa.text("false"), nullable=False
        ),
        sa.Column("requested_at", Timestamp, server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", Timestamp, nullable=True),
        sa.Column("finished_at", Timestamp, nullable=True),
        sa.Column("counts", JSONB, server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("step_seconds", JSONB, server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("error", JSONB, nullable=True),
        sa.Column("publish_pending", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("published_at", Timestamp, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("run_pkey")),
    )
    op.create_index(
        "run_one_requested",
        "run",
        ["state"],
        unique=True,
        postgresql_where=sa.text("state = 'requested'"),
    )
    op.create_table(
        "shadowed_row",
        sa.Column("source_key", ByteText, nullable=False),
        sa.Column("source_line", sa.Integer(), nullable=False),
        sa.Column("user_id", ByteText, nullable=False),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("last_name", sa.Text(), nullable=False),
        sa.Column("birthts", sa.BigInteger(), nullable=False),
        sa.Column("extra", JSONB, nullable=True),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source_key", "source_line", name=op.f("shadowed_row_pkey")),
    )
    op.create_index(op.f("shadowed_row_user_id_idx"), "shadowed_row", ["user_id"], unique=False)
    op.create_table(
        "source_object",
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("key", ByteText, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("user_id", ByteText, nullable=False),
        sa.Column("etag", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("last_modified", Timestamp, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("rows_read", sa.BigInteger(), nullable=False),
        sa.Column("rows_rejected", sa.BigInteger(), nullable=False),
        sa.Column("reread_on", sa.Date(), nullable=True),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "key", name=op.f("source_object_pkey")),
    )
    op.create_index(
        "source_object_image_idx",
        "source_object",
        ["user_id"],
        unique=False,
        postgresql_where=sa.text("kind = 'image'"),
    )
    op.create_table(
        "staging_object",
        sa.Column("change", sa.Text(), nullable=False),
        sa.Column("key", ByteText, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("user_id", ByteText, nullable=False),
        sa.Column("etag", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("last_modified", Timestamp, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("rows_read", sa.BigInteger(), nullable=False),
        sa.Column("rows_rejected", sa.BigInteger(), nullable=False),
        sa.Column("reread_on", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("staging_object_pkey")),
        prefixes=["UNLOGGED"],
    )
    op.create_table(
        "staging_problem",
        sa.Column("key", ByteText, nullable=False),
        sa.Column("etag", sa.Text(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=True),
        sa.Column("column", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        prefixes=["UNLOGGED"],
    )
    op.create_table(
        "staging_row",
        sa.Column("user_id", ByteText, nullable=False),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("last_name", sa.Text(), nullable=False),
        sa.Column("birthts", sa.BigInteger(), nullable=False),
        sa.Column("extra", JSONB, nullable=True),
        sa.Column("source_key", ByteText, nullable=False),
        sa.Column("source_line", sa.Integer(), nullable=False),
        prefixes=["UNLOGGED"],
    )
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True, cache=1000), nullable=False),
        sa.Column("user_id", ByteText, nullable=False),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("last_name", sa.Text(), nullable=False),
        sa.Column("birthts", sa.BigInteger(), nullable=False),
        sa.Column(
            "birthdate",
            sa.Date(),
            sa.Computed(
                "(DATE '1970-01-01' + ((birthts + 8640000000000) / 86400000 - 100000)::integer)",
                persisted=True,
            ),
            nullable=True,
        ),
        sa.Column("img_path", sa.Text(), nullable=True),
        sa.Column("extra", JSONB, nullable=True),
        sa.Column("source_key", ByteText, nullable=False),
        sa.Column("source_line", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", Timestamp, nullable=False),
        sa.Column("retired_at", Timestamp, nullable=True),
        sa.PrimaryKeyConstraint("user_id", name=op.f("users_pkey")),
    )
    op.create_index(
        op.f("users_birthdate_idx"),
        "users",
        ["birthdate"],
        unique=False,
        postgresql_where=sa.text("retired_at IS NULL"),
    )
    op.create_index(op.f("users_source_key_idx"), "users", ["source_key"], unique=False)
    op.create_table(
        "problem",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("key", ByteText, nullable=False),
        sa.Column("etag", sa.Text(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=True),
        sa.Column("column", sa.Text(), nullable=True),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("problem_run_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("problem_pkey")),
    )
    op.create_index(op.f("problem_key_idx"), "problem", ["key"], unique=False)
    op.create_index(op.f("problem_run_id_idx"), "problem", ["run_id"], unique=False)


def downgrade() -> None:
    """Drop the tables."""
    op.drop_index(op.f("problem_run_id_idx"), table_name="problem")
    op.drop_index(op.f("problem_key_idx"), table_name="problem")
    op.drop_table("problem")
    op.drop_index(op.f("users_source_key_idx"), table_name="users")
    op.drop_index(
        op.f("users_birthdate_idx"),
        table_name="users",
        postgresql_where=sa.text("retired_at IS NULL"),
    )
    op.drop_table("users")
    op.drop_table("staging_row")
    op.drop_table("staging_problem")
    op.drop_table("staging_object")
    op.drop_index(
        "source_object_image_idx",
        table_name="source_object",
        postgresql_where=sa.text("kind = 'image'"),
    )
    op.drop_table("source_object")
    op.drop_index(op.f("shadowed_row_user_id_idx"), table_name="shadowed_row")
    op.drop_table("shadowed_row")
    op.drop_index(
        "run_one_requested", table_name="run", postgresql_where=sa.text("state = 'requested'")
    )
    op.drop_table("run")
    op.drop_table("publication")
