"""Keep the statistics of datasets, so that each is computed once per revision."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.execute(
        "CREATE TABLE statistics (dataset text, version text NOT NULL, count bigint NOT NULL,"
        " columns json NOT NULL, computed_at timestamptz NOT NULL DEFAULT now(),"
        " CONSTRAINT statistics_pkey PRIMARY KEY (dataset))"
    )
