"""The last announcement of each image on the image topic."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "announced_image",
        sa.Column("key", sa.Text(collation="C"), nullable=False),
        sa.Column("etag", sa.Text(), nullable=False),
        sa.Column("sizes", sa.ARRAY(sa.Integer()), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("announced_image_pkey")),
    )
