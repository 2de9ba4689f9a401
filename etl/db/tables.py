"""The tables, as SQLAlchemy Core sees them. Migrations make them; a test compares the two.

Keys and user ids are text in byte order (COLLATE "C"): S3 lists keys in that order, and
output.csv and paging follow it, so no two machines can disagree about it.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_name)s_idx",
        "uq": "%(table_name)s_%(column_0_name)s_key",
    }
)

ByteText = Text(collation="C")
Timestamp = DateTime(timezone=True)

run = Table(
    "run",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("trigger", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("allow_mass_retirement", Boolean, nullable=False, server_default=text("false")),
    Column("requested_at", Timestamp, nullable=False, server_default=text("now()")),
    Column("started_at", Timestamp),
    Column("finished_at", Timestamp),
    Column("counts", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("step_seconds", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("step_rows", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("error", JSONB),
    Column("publish_pending", Boolean, nullable=False, server_default=text("false")),
    Column("published_at", Timestamp),
    # One waiting request at most: further ones join it.
    Index("run_one_requested", "state", unique=True, postgresql_where=text("state = 'requested'")),
    # What each run asks of the runs before it, however many events there were.
    Index("run_succeeded_idx", "finished_at", postgresql_where=text("state = 'succeeded'")),
    Index("run_running_idx", "id", postgresql_where=text("state = 'running'")),
    Index("run_unpublished_idx", "id", postgresql_where=text("publish_pending")),
)

users = Table(
    "users",
    metadata,
    Column("id", BigInteger, Identity(always=True, cache=1000), nullable=False),
    Column("user_id", ByteText, primary_key=True),
    Column("first_name", Text, nullable=False),
    Column("last_name", Text, nullable=False),
    Column("birthts", BigInteger, nullable=False),
    # Whole days, rounded down. The shift by 100,000 days keeps the division above zero: it is
    # three times as cheap as floor() of a numeric, and a million rows pay for it.
    Column(
        "birthdate",
        Date,
        Computed(
            "(DATE '1970-01-01' + ((birthts + 8640000000000) / 86400000 - 100000)::integer)",
            persisted=True,
        ),
    ),
    Column("img_path", Text),
    Column("extra", JSONB),
    Column("source_key", ByteText, nullable=False),
    Column("source_line", Integer, nullable=False),
    Column("run_id", BigInteger, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("retired_at", Timestamp),
    Index(None, "source_key"),
    Index(None, "birthdate", postgresql_where=text("retired_at IS NULL")),
)

shadowed_row = Table(
    "shadowed_row",
    metadata,
    Column("source_key", ByteText, primary_key=True),
    Column("source_line", Integer, primary_key=True),
    Column("user_id", ByteText, nullable=False),
    Column("first_name", Text, nullable=False),
    Column("last_name", Text, nullable=False),
    Column("birthts", BigInteger, nullable=False),
    Column("extra", JSONB),
    Column("run_id", BigInteger, nullable=False),
    Index(None, "user_id"),
)

source_object = Table(
    "source_object",
    metadata,
    Column("bucket", Text, primary_key=True),
    Column("key", ByteText, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("user_id", ByteText, nullable=False),
    Column("etag", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("last_modified", Timestamp, nullable=False),
    Column("state", Text, nullable=False),
    Column("rows_read", BigInteger, nullable=False),
    Column("rows_rejected", BigInteger, nullable=False),
    Column("reread_on", Date),
    Column("run_id", BigInteger, nullable=False),
    # Which images a user has.
    Index("source_object_image_idx", "user_id", postgresql_where=text("kind = 'image'")),
)

problem = Table(
    "problem",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("run_id", BigInteger, ForeignKey("run.id"), nullable=False),
    Column("key", ByteText, nullable=False),
    Column("etag", Text, nullable=False),
    Column("line", Integer),
    Column("column", Text),
    Column("code", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("value", Text),
    Column("note", Text, nullable=False),
    Index(None, "run_id"),
    Index(None, "key"),
)

# What was last put into the processed bucket, to see whether it is still there and still ours.
publication = Table(
    "publication",
    metadata,
    Column("name", Text, primary_key=True),
    Column("etag", Text, nullable=False),
    Column("run_id", BigInteger, nullable=False),
    Column("published_at", Timestamp, nullable=False),
)

# When the users, or the facts about their images, last changed: what an ETag is made of.
revision = Table(
    "revision",
    metadata,
    Column("noun", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("changed_at", Timestamp, nullable=False),
)

# What an image source object holds. `sizes` are the thumbnails made of it, longest side in
# pixels; `note` says why there are none; the facts belong to the ETag beside them and to no
# later version.
image = Table(
    "image",
    metadata,
    Column("key", ByteText, primary_key=True),
    Column("etag", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("format", Text),
    Column("mode", Text),
    Column("width", Integer),
    Column("height", Integer),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", Text),
    Column("sizes", ARRAY(Integer), nullable=False, server_default=text("'{}'")),
    Column("note", Text),
    Column("updated_at", Timestamp, nullable=False),
    Index(None, "sha256"),
)

# The thumbnails we put, or were about to: equal pictures share one. A row comes before its
# object and goes after it, so no object in the bucket is ever unknown. While `put_at` is set
# the object is there; without it, it may be.
thumbnail = Table(
    "thumbnail",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("size", Integer, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("put_at", Timestamp),
    Index("thumbnail_unput_idx", "sha256", postgresql_where=text("put_at IS NULL")),
)

# What the image topic was last told of each image: what differs is still to be announced.
announced_image = Table(
    "announced_image",
    metadata,
    Column("key", ByteText, primary_key=True),
    Column("etag", Text, nullable=False),
    Column("sizes", ARRAY(Integer), nullable=False),
    Column("updated_at", Timestamp, nullable=False),
)

# What the store told us of its buckets: hints to look, kept as they came. `mark` tells
# deliveries of one event from different events: its sequencer, or else time and name.
bucket_event = Table(
    "bucket_event",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("bucket", Text, nullable=False),
    Column("key", ByteText, nullable=False),
    Column("mark", Text, nullable=False),
    Column("sequencer", Text),
    Column("event_name", Text, nullable=False),
    Column("event_time", Timestamp),
    Column("etag", Text),
    Column("size", BigInteger),
    Column("version_id", Text),
    Column("record", JSONB, nullable=False),
    Column("received_at", Timestamp, nullable=False, server_default=text("now()")),
    Column("handled_by_run", BigInteger),
    Column("refused_by_run", BigInteger),  # which could not read the object: the event waits on
    UniqueConstraint("bucket", "key", "mark"),
    Index("bucket_event_waiting_idx", "id", postgresql_where=text("handled_by_run IS NULL")),
)

# Messages that could not be read as events, where no topic is set for them.
dead_letter = Table(
    "dead_letter",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("topic", Text, nullable=False),
    Column("partition", Integer, nullable=False),
    Column("offset", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("message", LargeBinary),
    Column("received_at", Timestamp, nullable=False, server_default=text("now()")),
    UniqueConstraint("topic", "partition", "offset"),
)

# Staging: what one run read, before the merge. Unlogged, emptied when a run begins and when
# it merges; nothing in it outlives a run.
staging_row = Table(
    "staging_row",
    metadata,
    Column("user_id", ByteText, nullable=False),
    Column("first_name", Text, nullable=False),
    Column("last_name", Text, nullable=False),
    Column("birthts", BigInteger, nullable=False),
    Column("extra", JSONB),
    Column("source_key", ByteText, nullable=False),
    Column("source_line", Integer, nullable=False),
    prefixes=["UNLOGGED"],
)

staging_object = Table(
    "staging_object",
    metadata,
    Column("change", Text, nullable=False),
    Column("key", ByteText, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("user_id", ByteText, nullable=False),
    Column("etag", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("last_modified", Timestamp, nullable=False),
    Column("state", Text, nullable=False),
    Column("rows_read", BigInteger, nullable=False),
    Column("rows_rejected", BigInteger, nullable=False),
    Column("reread_on", Date),
    prefixes=["UNLOGGED"],
)

staging_problem = Table(
    "staging_problem",
    metadata,
    Column("key", ByteText, nullable=False),
    Column("etag", Text, nullable=False),
    Column("line", Integer),
    Column("column", Text),
    Column("code", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("value", Text),
    Column("note", Text, nullable=False),
    prefixes=["UNLOGGED"],
)
