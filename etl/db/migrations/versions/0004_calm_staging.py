"""Disable autovacuum for inserts into staging; a merge waits a second for each to yield."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Leave only rows deleted by small runs to autovacuum."""
    for table in ("staging_row", "staging_object", "staging_problem"):
        op.execute(
            f"ALTER TABLE {table} SET (autovacuum_vacuum_insert_threshold = -1,"
            " autovacuum_analyze_threshold = 2147483647)"
        )
