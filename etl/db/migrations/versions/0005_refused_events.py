"""The run that could not read the object of an event, so that other events proceed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; pending events are tried as if they were new."""
    op.add_column("bucket_event", sa.Column("refused_by_run", sa.BigInteger(), nullable=True))
