"""The progress of the active run, and requests to cancel it."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; older runs have neither."""
    op.execute("ALTER TABLE run ADD COLUMN progress jsonb")
    op.execute("ALTER TABLE run ADD COLUMN cancel_requested_at timestamptz")
