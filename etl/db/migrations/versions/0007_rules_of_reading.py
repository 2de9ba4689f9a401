"""Make the next run read again all CSVs, and images with accented names.

Rules of encodings, of birthts, of rows without ids and of images' names have changed, so the
same objects may now give other rows than those in the tables.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let no CSV, and no image whose name may have another spelling, count as known."""
    op.execute(
        "UPDATE source_object SET reread_on = DATE '1970-01-01'"
        " WHERE kind = 'csv' OR (kind = 'image' AND user_id ~ '[^[:ascii:]]')"
    )
