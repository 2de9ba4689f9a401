"""Call the kind of files of rows `data`, because not all of them are CSVs."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rename the kind of the known objects; no run is under way."""
    for table in ("source_object", "staging_object"):
        op.execute(f"UPDATE {table} SET kind = 'data' WHERE kind = 'csv'")
