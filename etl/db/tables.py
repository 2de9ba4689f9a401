"""The tables in SQLAlchemy Core. Migrations create them; a test compares the two.

The tables of the state are in STATE_SCHEMA and `users` is in DATABASE_SCHEMA. The session finds
both by its search_path.

Keys and user ids are text in byte order (COLLATE "C"), as S3 lists keys. output.csv and paging use
this order, so it is the same on all machines.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from etl.db import (
    alert_tables,  # noqa: F401 - they belong to metadata as well
    tally_tables,
)
from etl.db.table_parts import ByteText, Timestamp

metadata = tally_tables.dataset_tally.metadata  # of all tables

# In DATABASE_SCHEMA.
DATA_TABLES = ("users", "users_retired", "users_shadowed")

_UNEVENTFUL = (
    "trigger = 'event' AND coalesce(outcome, '') = 'succeeded' AND error IS NULL"
    " AND coalesce(CAST(counts->>'problems' AS bigint), 0) = 0"
    " AND coalesce(CAST(counts->>'retirements_held' AS bigint), 0) = 0"
)

run = Table(
    "run",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("trigger", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("requested_at", Timestamp, nullable=False, server_default=text("now()")),
    Column("started_at", Timestamp),
    Column("finished_at", Timestamp),
    Column("counts", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("step_seconds", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("step_rows", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("error", JSONB),
    Column("publish_pending", Boolean, nullable=False, server_default=text("false")),
    Column("published_at", Timestamp),
    # By dataset, how many rows may be retired at once; null for any number.
    Column("allowed_retirements", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    Column("dataset_counts", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    # The datasets that the run left as they were: failed, paused or not asked for.
    Column("left_out", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    # A RunOutcome; null until the run has ended.
    Column("outcome", Text),
    # An event run of which nothing has to be seen; lists of runs fold them.
    Column("uneventful", Boolean, Computed(_UNEVENTFUL, persisted=True), nullable=False),
    # What the active step has done, of how many; see etl.db.active_runs.
    Column("progress", JSONB),
    Column("cancel_requested_at", Timestamp),
    # When each step first began and last ended, in seconds after the start of the run.
    Column("step_spans", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    # At most one pending request; further requests join it.
    Index("run_one_requested", "state", unique=True, postgresql_where=text("state = 'requested'")),
    # For the queries of each run about earlier runs, which may be many.
    Index("run_succeeded_idx", "finished_at", postgresql_where=text("state = 'succeeded'")),
    Index(
        "run_committed_idx",
        "finished_at",
        postgresql_where=text(
            "state = 'succeeded' OR (state = 'failed' AND dataset_counts <> '{}'::jsonb)"
        ),
    ),
    Index("run_running_idx", "id", postgresql_where=text("state = 'running'")),
    Index("run_unpublished_idx", "id", postgresql_where=text("publish_pending")),
    Index("run_eventful_idx", "id", postgresql_where=text("NOT uneventful")),
    Index("run_uneventful_idx", "id", postgresql_where=text("uneventful")),
)

# Whole days, rounded down. The shift by 100,000 days keeps the dividend positive. It costs a third
# of floor() on a numeric.
_BIRTHDATE = "(DATE '1970-01-01' + ((birthts + 8640000000000) / 86400000 - 100000)::integer)"

users = Table(
    "users",
    metadata,
    Column("user_id", ByteText, primary_key=True),
    Column("first_name", Text, nullable=False),
    Column("last_name", Text, nullable=False),
    Column("birthts", BigInteger, nullable=False),
    Column("birthdate", Date, Computed(_BIRTHDATE, persisted=True)),
    Column("img_path", Text),
    Column("_extra", JSONB),
    Column("_source_key", ByteText, nullable=False),
    Column("_source_line", Integer, nullable=False),
    Column("_run_id", BigInteger, nullable=False),
    Column("_updated_at", Timestamp, nullable=False),
    Index(None, "_source_key"),
    Index(None, "birthdate"),
)

# The newest version of each user that left the bucket.
users_retired = Table(
    "users_retired",
    metadata,
    Column("user_id", ByteText, primary_key=True),
    Column("first_name", Text),
    Column("last_name", Text),
    Column("birthts", BigInteger),
    Column("birthdate", Date, Computed(_BIRTHDATE, persisted=True)),
    Column("img_path", Text),
    Column("_extra", JSONB),
    Column("_source_key", ByteText, nullable=False),
    Column("_source_line", Integer, nullable=False),
    Column("_run_id", BigInteger, nullable=False),
    Column("_updated_at", Timestamp, nullable=False),
    Column("_retired_at", Timestamp, nullable=False),
)

users_shadowed = Table(
    "users_shadowed",
    metadata,
    Column("_source_key", ByteText, primary_key=True),
    Column("_source_line", Integer, primary_key=True),
    Column("user_id", ByteText, nullable=False),
    Column("first_name", Text, nullable=False),
    Column("last_name", Text, nullable=False),
    Column("birthts", BigInteger, nullable=False),
    Column("_extra", JSONB),
    Column("_run_id", BigInteger, nullable=False),
    Index(None, "user_id"),
)

source_object = Table(
    "source_object",
    metadata,
    Column("bucket", Text, primary_key=True),
    Column("key", ByteText, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("attachment_id", ByteText),  # the value that joins an image to a row
    Column("etag", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("last_modified", Timestamp, nullable=False),
    Column("state", Text, nullable=False),
    Column("rows_read", BigInteger, nullable=False),
    Column("rows_rejected", BigInteger, nullable=False),
    Column("reread_on", Date),
    Column("run_id", BigInteger, nullable=False),
    Column("dataset", Text),
    Column("attachment", Text),  # the column of the dataset that names the image
    Column("reading_hash", Text),
    # For the images of a row.
    Index(
        "source_object_image_idx",
        *("attachment_id", "dataset", "attachment"),
        postgresql_where=text("kind = 'image'"),
    ),
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
    Column("bucket", Text, nullable=False),
    Column("dataset", Text),
    Index(None, "run_id"),
    # For the problems of an object, of which earlier versions may have many.
    Index(None, "key", "run_id"),
)

# The outputs last put into the processed bucket, to detect missing and overwritten ones.
publication = Table(
    "publication",
    metadata,
    Column("name", Text, primary_key=True),
    Column("etag", Text, nullable=False),
    Column("run_id", BigInteger, nullable=False),
    Column("published_at", Timestamp, nullable=False),
    Column("dataset", Text, nullable=False),
)

# When the users, or the metadata of their images, last changed; ETags derive from it.
revision = Table(
    "revision",
    metadata,
    Column("noun", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("changed_at", Timestamp, nullable=False),
)

# The metadata of each image. `sizes` are its thumbnails, longest side in pixels; `note` is the
# reason why there are none. The metadata describes the version with this ETag only.
image = Table(
    "image",
    metadata,
    Column("bucket", Text, primary_key=True),
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

# The thumbnails in the bucket; equal images share them. A row is written before its object and
# deleted after it, so every object in the bucket has a row. While `put_at` is set, the object
# exists; without it, the object may exist.
thumbnail = Table(
    "thumbnail",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("size", Integer, primary_key=True),
    Column("key", Text, nullable=False, unique=True),
    Column("put_at", Timestamp),
    Index("thumbnail_unput_idx", "sha256", postgresql_where=text("put_at IS NULL")),
)

# The last announcement of each image on the image topic; images that differ are announced.
announced_image = Table(
    "announced_image",
    metadata,
    Column("bucket", Text, primary_key=True),
    Column("key", ByteText, primary_key=True),
    Column("etag", Text, nullable=False),
    Column("sizes", ARRAY(Integer), nullable=False),
    Column("updated_at", Timestamp, nullable=False),
)

# Bucket events as received. `mark` identifies an event across repeated deliveries: the sequencer,
# or else time and name.
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
    Column("refused_by_run", BigInteger),  # that could not read the object; the event stays pending
    UniqueConstraint("bucket", "key", "mark"),
    Index("bucket_event_waiting_idx", "id", postgresql_where=text("handled_by_run IS NULL")),
)

# Invalid messages, if no dead-letter topic is configured.
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

# The declarations that runs use, and the columns that their data added.
dataset = Table(
    "dataset",
    metadata,
    Column("name", Text, primary_key=True),
    Column("declaration", JSONB, nullable=False),
    Column("reading_hash", Text, nullable=False),
    Column("added_columns", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("installed_at", Timestamp, nullable=False),
)

# One row: the datasets file that a process last read. `error` is null if it has no fault.
datasets_file = Table(
    "datasets_file",
    metadata,
    Column("id", Boolean, CheckConstraint("id"), primary_key=True),
    Column("path", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("read_at", Timestamp, nullable=False),
    Column("error", JSONB(none_as_null=True)),
)

# Datasets whose retirements wait for permission, and the objects that would retire rows.
hold = Table(
    "hold",
    metadata,
    Column("dataset", Text, primary_key=True),
    Column("run_id", BigInteger, nullable=False),
    Column("opened_at", Timestamp, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("live", BigInteger, nullable=False),
    Column("summary", JSONB(none_as_null=True)),  # what would be retired; see etl.sync.hold_summary
)

held_object = Table(
    "held_object",
    metadata,
    Column("bucket", Text, primary_key=True),
    Column("key", ByteText, primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
)

# Staging: the rows and objects that a run read, before the merge. The tables are unlogged, and
# emptied at the beginning of a run and by the merge.
staging_users = Table(
    "staging_users",
    metadata,
    Column("user_id", ByteText, nullable=False),
    Column("first_name", Text, nullable=False),
    Column("last_name", Text, nullable=False),
    Column("birthts", BigInteger, nullable=False),
    Column("_extra", JSONB),
    Column("_source_key", ByteText, nullable=False),
    Column("_source_line", Integer, nullable=False),
    prefixes=["UNLOGGED"],
)

# What the API has computed for GET /datasets/<dataset>/stats.
statistics = Table(
    "statistics",
    metadata,
    Column("dataset", Text, primary_key=True),
    Column("version", Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("columns", JSON, nullable=False),  # whose numbers stay as they are
    Column("computed_at", Timestamp, nullable=False, server_default=text("now()")),
    Column("run_id", BigInteger),  # the last run that had changed the rows
)

staging_object = Table(
    "staging_object",
    metadata,
    Column("key", ByteText, primary_key=True),
    Column("bucket", Text, primary_key=True),
    # An object that left a dataset for another has two: `left`, and what it is to the other.
    Column("change", Text, primary_key=True),
    Column("dataset", Text),
    Column("kind", Text, nullable=False),
    Column("attachment", Text),
    Column("attachment_id", ByteText),
    Column("etag", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("last_modified", Timestamp, nullable=False),
    Column("state", Text, nullable=False),
    Column("rows_read", BigInteger, nullable=False),
    Column("rows_rejected", BigInteger, nullable=False),
    Column("reread_on", Date),
    Column("reading_hash", Text),
    prefixes=["UNLOGGED"],
)

staging_problem = Table(
    "staging_problem",
    metadata,
    Column("bucket", Text, nullable=False),
    Column("key", ByteText, nullable=False),
    Column("dataset", Text),
    Column("etag", Text, nullable=False),
    Column("line", Integer),
    Column("column", Text),
    Column("code", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("value", Text),
    Column("note", Text, nullable=False),
    prefixes=["UNLOGGED"],
)
