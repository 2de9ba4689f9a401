"""Bucket events: parsing of notification records, and the table that stores them.

The webhook, the Kafka consumer and the listener all use `parse` and `store`. An event only names
a key to check; the current object always comes from the store.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, cast
from urllib.parse import unquote_plus

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    Field,
    NaiveDatetime,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import from_json, to_json
from sqlalchemy import Connection, Row, text

from etl.db.engine import notify, source_bucket_of
from etl.db.names import NotifyChannel
from etl.db.sql import statements
from etl.model.errors import WrongEvent
from etl.model.keys import spellings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic_core import ErrorDetails

CHANNEL = NotifyChannel.BUCKET_EVENT
MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_KEY_BYTES = 1024  # S3's limit
NO_RUN = 0  # in handled_by_run: checked or irrelevant, and no run was needed
MAX_BUCKET_BYTES = 63  # S3's limit
_MAX_TEXT_BYTES = 256  # with bucket and key it must fit one index entry of 2,704 bytes
_MAX_SIZE = 2**63 - 1
TEST_EVENTS = ("s3:TestEvent",)
_ACCESSED = "ObjectAccessed"


@dataclass(frozen=True, slots=True)
class BucketEvent:
    """One event as received; `record` is the complete record, ready for jsonb.

    `dedup_key`, the column `mark`, is equal for repeated deliveries of one event, and differs
    between events of a key.
    """

    bucket: str
    key: str
    dedup_key: str
    event_name: str
    sequencer: str | None
    event_time: datetime | None
    etag: str | None
    size: int | None
    version_id: str | None
    record: Mapping[str, Any]

    @property
    def may_change(self) -> bool:
        """Whether the object may have changed; false for read access."""
        return _ACCESSED not in self.event_name


def parse(body: object, *, keys_are_quoted: bool = True) -> list[BucketEvent]:
    """The events of one S3-style notification; none for a test message.

    `body` is the message's bytes or its decoded JSON. Webhooks and queues receive form-encoded
    keys; the listen API sends raw keys, in which `+` is a plus sign.

    Raises:  WrongEvent with the position of the first error.
    """
    message = _decoded(body)
    if not isinstance(message, dict):
        raise WrongEvent("The message is not a JSON object.")
    if message.get("Event") in TEST_EVENTS:
        return []
    if "Records" not in message:
        raise WrongEvent("The message has no Records.")
    records = message["Records"]
    if records is None:
        return []
    if not isinstance(records, list):
        raise WrongEvent("Records is not a list.")
    return [_event(record, place, keys_are_quoted) for place, record in enumerate(records)]


def _decoded(body: object) -> object:
    try:
        raw = body if isinstance(body, bytes | bytearray) else json.dumps(body).encode()
        if len(raw) > MAX_BODY_BYTES:
            raise WrongEvent(f"The message is larger than {MAX_BODY_BYTES} bytes.")
        return from_json(raw, allow_inf_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise WrongEvent(f"The message is not valid JSON: {error}.") from error


def _event(record: object, place: int, keys_are_quoted: bool) -> BucketEvent:  # noqa: FBT001
    try:
        valid = _Record.model_validate(record, context=keys_are_quoted)
    except ValidationError as error:
        raise WrongEvent(_fault(error.errors()[0], place), place=place) from error
    source = valid.s3.object
    if source.sequencer is None and valid.event_time is None:
        raise WrongEvent(f"Records[{place}] has neither sequencer nor eventTime.", place=place)
    return BucketEvent(
        bucket=valid.s3.bucket.name,
        key=source.key,
        dedup_key=source.sequencer or f"{valid.event_time} {valid.event_name}",
        event_name=valid.event_name,
        sequencer=source.sequencer,
        event_time=valid.event_time,
        etag=source.etag,
        size=source.size,
        version_id=source.version_id,
        record=cast("dict[str, Any]", _without_nul(record)),
    )


def _fault(error: ErrorDetails, place: int) -> str:
    where = ".".join(str(part) for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    return f"Records[{place}]{'.' if where else ''}{where}: {message}."


def _without_nul(value: object) -> object:
    """The value without NUL characters, which jsonb cannot store."""
    match value:
        case str():
            return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
        case list():
            return [_without_nul(item) for item in value]
        case dict():
            return {_without_nul(name): _without_nul(item) for name, item in value.items()}
        case _:
            return value


# -- the fields of a record


def _storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("contains a NUL character")
    return value


def _short(value: str, most_bytes: int = _MAX_TEXT_BYTES) -> str:
    if len(value.encode()) > most_bytes:
        raise ValueError(f"must have at most {most_bytes} bytes")
    return _storable(value)


def _bucket_name(value: str) -> str:
    return _short(value, MAX_BUCKET_BYTES)


def _object_key(value: str, info: ValidationInfo) -> str:
    """The decoded key; the context is whether it is form-encoded."""
    key = _storable(_unquoted(value) if info.context else value)
    if not 0 < len(key.encode()) <= MAX_KEY_BYTES:
        raise ValueError(f"must have 1 to {MAX_KEY_BYTES} bytes")
    return key


def _unquoted(value: str) -> str:
    try:
        return unquote_plus(value, errors="strict")
    except UnicodeDecodeError as error:
        raise ValueError("is not percent-encoded UTF-8") from error


def _in_utc(value: datetime) -> datetime:
    try:
        return value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is out of range") from error


def _or_none(value: str | None) -> str | None:
    return value or None


_Text = Annotated[str, AfterValidator(_short)]
_OptionalText = Annotated[_Text | None, AfterValidator(_or_none)]


class _Bucket(BaseModel):
    name: Annotated[str, Field(min_length=1), AfterValidator(_bucket_name)]


class _Object(BaseModel):
    key: Annotated[str, AfterValidator(_object_key)]
    size: Annotated[int, Field(ge=0, le=_MAX_SIZE)] | None = None
    etag: _OptionalText = Field(None, alias="eTag")
    version_id: _OptionalText = Field(None, alias="versionId")
    sequencer: _OptionalText = None


class _S3(BaseModel):
    bucket: _Bucket
    object: _Object


class _Record(BaseModel):
    event_name: Annotated[_Text, Field(min_length=1)] = Field(alias="eventName")
    event_time: Annotated[AwareDatetime | NaiveDatetime, AfterValidator(_in_utc)] | None = Field(
        None, alias="eventTime"
    )
    s3: _S3


# -- the table


def source_buckets(connection: Connection, source_bucket: str) -> list[str]:
    """The buckets of the installed datasets, sorted; `source_bucket` for those that name none."""
    named = text(statements("events")["source_buckets"])
    return list(connection.scalars(named, {"bucket": source_bucket}))


def store(connection: Connection, events: Iterable[BucketEvent], *, source_bucket: str) -> int:
    """Store the events; return how many are new, and notify the scheduler if one is pending.

    Events of buckets that are no source of an installed dataset are stored as handled. The source
    of a dataset that names none is `source_bucket`. The caller commits.
    """
    received = [_columns(event) for event in events]
    if not received:
        return 0
    new = (
        connection.execute(
            text(statements("events")["store"]),
            {"events": to_json(received, inf_nan_mode="null").decode(), "bucket": source_bucket},
        )
        .scalars()
        .all()
    )
    if any(new):
        notify(connection, CHANNEL)
    return len(new)


@dataclass(frozen=True, slots=True)
class PendingEvents:
    """Pending events, and the distinct keys that they may refer to, in byte order."""

    ids: list[int]
    keys: list[str]


def any_refused(connection: Connection) -> bool:
    """Whether an event is pending because its object could not be synced."""
    return bool(connection.scalar(text(statements("events")["any_refused"])))


def any_pending(connection: Connection, *, include_refused: bool = True) -> bool:
    """Whether an event is pending; `include_refused` includes those whose object was refused."""
    question = text(statements("events")["any_pending"])
    return bool(connection.scalar(question, {"include_refused": include_refused}))


def count_pending(connection: Connection, *, include_refused: bool = True) -> int:
    """The number of pending events; `include_refused` as in `any_pending`."""
    question = text(statements("events")["count_pending"])
    return int(connection.scalar(question, {"include_refused": include_refused}) or 0)


def oldest_pending(
    connection: Connection, *, bucket: str, limit: int, include_refused: bool = True
) -> PendingEvents:
    """The oldest pending events of a bucket, at most `limit`. The caller commits.

    `include_refused` includes events whose object a run could not read. Events of former source
    buckets are marked as handled.
    """
    parameters = {
        "bucket": bucket,
        "limit": limit,
        "include_refused": include_refused,
        "source_bucket": source_bucket_of(connection.engine),
    }
    found = connection.execute(text(statements("events")["oldest_pending"]), parameters).all()
    return _pending(found)


def listed(connection: Connection, *, bucket: str, began: datetime) -> PendingEvents:
    """The pending events that a listing which began then covers. The caller commits."""
    parameters = {"bucket": bucket, "began": began}
    return _pending(connection.execute(text(statements("events")["listed"]), parameters).all())


def _pending(found: Sequence[Row[Any]]) -> PendingEvents:
    keys = {spelling for row in found for spelling in spellings(row.key)}
    return PendingEvents([row.id for row in found], sorted(keys))


def refuse(connection: Connection, pending: PendingEvents) -> None:
    """Mark the events as refused, so that they delay no others. The caller commits."""
    connection.execute(text(statements("events")["refuse"]), {"ids": pending.ids, "run_id": NO_RUN})


def handle(
    connection: Connection, pending: PendingEvents, run_id: int, *, refused: Iterable[str] = ()
) -> None:
    """Record the run that handled the events, NO_RUN if none was needed. The caller commits.

    Events of `refused` keys, whose objects could not be synced, stay pending.
    """
    connection.execute(
        text(statements("events")["handle"]),
        {"ids": pending.ids, "run_id": run_id, "refused": list(refused)},
    )


def handle_listed(connection: Connection, *, bucket: str, began: datetime, run_id: int) -> None:
    """Record the run whose listing covers the events before `began`. The caller commits."""
    connection.execute(
        text(statements("events")["handle_listed"]),
        {"bucket": bucket, "began": began, "run_id": run_id},
    )


def missed_by_events(connection: Connection) -> int:
    """The number of staged changes without an event; valid until the manifest is written."""
    return int(connection.scalar(text(statements("events")["missed_by_events"])) or 0)


def _columns(event: BucketEvent) -> dict[str, object]:
    names: Sequence[str] = BucketEvent.__slots__
    return {name: getattr(event, name) for name in names} | {"may_change": event.may_change}
