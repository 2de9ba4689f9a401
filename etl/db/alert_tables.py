"""The tables of incidents and alerts in SQLAlchemy Core; see `tables`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Identity, Index, Integer, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from etl.db.table_parts import Timestamp, metadata

# Open faults that have an alert. `facts` are those of the moment at which the incident began.
incident = Table(
    "incident",
    metadata,
    Column("event", Text, primary_key=True),
    Column("dataset", Text, primary_key=True),  # empty: all of them, or none
    Column("code", Text, primary_key=True),  # empty: the event has no codes
    Column("opened_at", Timestamp, nullable=False),
    Column("run_id", BigInteger),
    Column("facts", JSONB, nullable=False),
)

# The alerts sent and to be sent: one for all incidents of an event that a run began or ended.
alert = Table(
    "alert",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("delivery_id", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
    Column("event", Text, nullable=False),
    Column("recovers", Text),
    Column("run_id", BigInteger),
    Column("incidents", JSONB, nullable=False),
    Column("created_at", Timestamp, nullable=False, server_default=text("clock_timestamp()")),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("last_error", Text),
    Column("sent_at", Timestamp),
    Column("given_up_at", Timestamp),
    Index(
        "alert_pending_idx",
        "id",
        postgresql_where=text("sent_at IS NULL AND given_up_at IS NULL"),
    ),
)
