"""Include the problems of its images, found after a run, in the run's problem count."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Recount the runs whose count differs."""
    op.execute(
        "UPDATE run SET counts = jsonb_set(run.counts, '{problems}', to_jsonb(found.problems))"
        " FROM (SELECT run_id, count(*) AS problems FROM problem GROUP BY run_id) AS found"
        " WHERE run.id = found.run_id"
        " AND run.counts->'problems' IS DISTINCT FROM to_jsonb(found.problems)"
    )
