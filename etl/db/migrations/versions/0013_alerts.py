"""Keep open incidents and their alerts, so that each incident has one alert."""

from __future__ import annotations

from alembic import op

from etl.db.grants import copy_grants

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.execute(
        """
        CREATE TABLE incident (
            event text, dataset text, code text,
            opened_at timestamptz NOT NULL,
            run_id bigint,
            facts jsonb NOT NULL,
            CONSTRAINT incident_pkey PRIMARY KEY (event, dataset, code))
        """
    )
    op.execute(
        """
        CREATE TABLE alert (
            id bigint GENERATED ALWAYS AS IDENTITY,
            delivery_id uuid NOT NULL DEFAULT gen_random_uuid(),
            event text NOT NULL,
            recovers text,
            run_id bigint,
            incidents jsonb NOT NULL,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            attempts integer NOT NULL DEFAULT 0,
            last_error text,
            sent_at timestamptz,
            given_up_at timestamptz,
            CONSTRAINT alert_pkey PRIMARY KEY (id))
        """
    )
    op.execute(
        "CREATE INDEX alert_pending_idx ON alert (id) WHERE sent_at IS NULL AND given_up_at IS NULL"
    )
    for table in ("incident", "alert"):
        copy_grants(op.get_bind(), "run", table)
