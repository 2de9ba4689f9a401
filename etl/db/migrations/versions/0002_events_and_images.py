"""Bucket events, image metadata, thumbnails, and revisions of the served data."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ByteText = sa.Text(collation="C")
Timestamp = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    op.add_column(
        "run",
        sa.Column("step_rows", JSONB, server_default=sa.text("'{}'::jsonb"), nullable=False),
    )
    for name, column, where in (
        ("run_succeeded_idx", "finished_at", "state = 'succeeded'"),
        ("run_running_idx", "id", "state = 'running'"),
        ("run_unpublished_idx", "id", "publish_pending"),
    ):
        op.create_index(name, "run", [column], postgresql_where=sa.text(where))
    op.create_table(
        "revision",
        sa.Column("noun", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", Timestamp, nullable=False),
        sa.PrimaryKeyConstraint("noun", name=op.f("revision_pkey")),
    )
    op.execute(
        "INSERT INTO revision (noun, number, changed_at)"
        " VALUES ('users', 0, clock_timestamp()), ('images', 0, clock_timestamp())"
    )
    _make_images()
    _make_events()


def _make_images() -> None:
    op.create_table(
        "image",
        sa.Column("key", ByteText, nullable=False),
        sa.Column("etag", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=True),
        sa.Column("mode", sa.Text(), nullable=True),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("sizes", sa.ARRAY(sa.Integer()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("updated_at", Timestamp, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("image_pkey")),
    )
    op.create_index(op.f("image_sha256_idx"), "image", ["sha256"])
    op.create_table(
        "thumbnail",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("put_at", Timestamp, nullable=True),
        sa.PrimaryKeyConstraint("sha256", "size", name=op.f("thumbnail_pkey")),
        sa.UniqueConstraint("key", name=op.f("thumbnail_key_key")),
    )
    op.create_index(
        "thumbnail_unput_idx",
        "thumbnail",
        ["sha256"],
        postgresql_where=sa.text("put_at IS NULL"),
    )


def _make_events() -> None:
    op.create_table(
        "bucket_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("key", ByteText, nullable=False),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.Column("sequencer", sa.Text(), nullable=True),
        sa.Column("event_name", sa.Text(), nullable=False),
        sa.Column("event_time", Timestamp, nullable=True),
        sa.Column("etag", sa.Text(), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("version_id", sa.Text(), nullable=True),
        sa.Column("record", JSONB, nullable=False),
        sa.Column("received_at", Timestamp, server_default=sa.text("now()"), nullable=False),
        sa.Column("handled_by_run", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("bucket_event_pkey")),
        sa.UniqueConstraint("bucket", "key", "mark", name=op.f("bucket_event_bucket_key")),
    )
    op.create_index(
        "bucket_event_waiting_idx",
        "bucket_event",
        ["id"],
        postgresql_where=sa.text("handled_by_run IS NULL"),
    )
    op.create_table(
        "dead_letter",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=True),
        sa.Column("received_at", Timestamp, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("dead_letter_pkey")),
        sa.UniqueConstraint("topic", "partition", "offset", name=op.f("dead_letter_topic_key")),
    )
