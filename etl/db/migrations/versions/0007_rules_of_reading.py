"""Make the next run read all CSVs, and images with non-ASCII names, again.

The rules for encodings, birthts, rows without ids and image names have changed, so the same
objects may now produce other rows than those in the tables.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Mark every CSV, and every image whose name may have another NFC form, for rereading."""
    op.execute(
        "UPDATE source_object SET reread_on = DATE '1970-01-01'"
        " WHERE kind = 'csv' OR (kind = 'image' AND user_id ~ '[^[:ascii:]]')"
    )
