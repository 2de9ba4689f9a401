"""Tallies: numbers that would take a scan to count, kept by each run; see etl.db.tallies.

The dataset of objects that belong to none is ''.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from etl.db.table_parts import ByteText, Timestamp, count, metadata

# What runs do to rows. Rejected rows were read, but are in no table.
ROW_COUNTERS = ("read", "inserted", "updated", "restored", "retired", "rejected")

# One row per dataset: totals, and counters of what runs did, which never decrease.
dataset_tally = Table(
    "dataset_tally",
    metadata,
    Column("dataset", Text, primary_key=True),
    *(count(name) for name in ("rows", "attached", "retired", "shadowed", "objects")),
    # Open problems, those of them that are errors, and the objects with errors.
    *(count(name) for name in ("problems", "errors", "faulty_objects")),
    *(count(f"rows_{name}") for name in ROW_COUNTERS),
    Column("run_id", BigInteger),  # the last run that changed rows
    Column("changed_at", Timestamp),  # when it ended
)

# The open problems by dataset, code and severity; groups without any stay.
problem_tally = Table(
    "problem_tally",
    metadata,
    Column("dataset", Text, primary_key=True),
    Column("code", Text, primary_key=True),
    Column("severity", Text, primary_key=True),
    count("problems"),
    count("objects"),
    Column("first_seen_at", Timestamp),  # when the first of those now open was found
    Column("last_seen_at", Timestamp),
    Column("closed_at", Timestamp),  # when one was last closed
)

# The objects with open problems, and how many of each code.
faulty_object = Table(
    "faulty_object",
    metadata,
    Column("bucket", Text, primary_key=True),
    Column("key", ByteText, primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("errors", Integer, nullable=False),
    Column("warnings", Integer, nullable=False),
    Column("error_codes", JSONB, nullable=False),
    Column("warning_codes", JSONB, nullable=False),
    Column("first_seen_at", Timestamp, nullable=False),
    Index("faulty_object_errors_idx", "dataset", "errors", postgresql_where=text("errors > 0")),
)

# What runs did to the rows of a dataset by hour, and the totals after the last of them. Hours
# without a change have no row.
dataset_hour = Table(
    "dataset_hour",
    metadata,
    Column("dataset", Text, primary_key=True),
    Column("hour", Timestamp, primary_key=True),
    count("rows"),
    *(count(f"rows_{name}") for name in ROW_COUNTERS),
)

# Problems that objects gained and lost, by hour.
problem_hour = Table(
    "problem_hour",
    metadata,
    Column("dataset", Text, primary_key=True),
    Column("hour", Timestamp, primary_key=True),
    Column("code", Text, primary_key=True),
    count("opened"),
    count("closed"),
)

# The runs that ended in each half hour.
run_half_hour = Table(
    "run_half_hour",
    metadata,
    Column("half_hour", Timestamp, primary_key=True),
    Column("outcome", Text, primary_key=True),
    count("runs"),
    Column("slowest_seconds", Float, nullable=False),
    Column("slowest_run", BigInteger, nullable=False),
)

# All runs that have ended, with the code of their error or '', and the steps of those that recorded
# them. These never decrease.
run_total = Table(
    "run_total",
    metadata,
    Column("trigger", Text, primary_key=True),
    Column("outcome", Text, primary_key=True),
    Column("error", Text, primary_key=True),
    count("runs"),
    Column("seconds", Float, nullable=False, server_default=text("0")),
    Column("last_at", Timestamp),
)

step_total = Table(
    "step_total",
    metadata,
    Column("step", Text, primary_key=True),
    count("runs"),
    count("rows"),
    Column("seconds", Float, nullable=False, server_default=text("0")),
)
