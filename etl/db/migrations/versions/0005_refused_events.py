"""Which run was refused the object of an event, so that no other event waits with it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; what waits is tried as if it were new."""
    op.add_column("bucket_event", sa.Column("refused_by_run", sa.BigInteger(), nullable=True))
