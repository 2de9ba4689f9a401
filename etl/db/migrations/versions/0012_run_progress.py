"""The progress of the active run, requests to cancel it, and when the steps of a run began."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; older runs have none of it."""
    op.execute("ALTER TABLE run ADD COLUMN progress jsonb")
    op.execute("ALTER TABLE run ADD COLUMN cancel_requested_at timestamptz")
    op.execute("ALTER TABLE run ADD COLUMN step_spans jsonb NOT NULL DEFAULT '{}'")
