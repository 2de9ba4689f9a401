"""Bucket events: notification records as values, and the table that keeps them.

Webhook, Kafka and the listener all come through here: `parse` reads what a store sent,
`store` keeps it. An event is a hint to look at a key, and never says what is there.
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
from sqlalchemy import Connection, text

from etl.db.sql import statements
from etl.model.errors import WrongEvent
from etl.model.keys import spellings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic_core import ErrorDetails

CHANNEL = "bucket_event"
MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_KEY_BYTES = 1024  # as S3 has it
NO_RUN = 0  # in handled_by_run: looked at, or of no concern, and no run was needed
MAX_BUCKET_BYTES = 63  # as S3 has it
_MAX_TEXT_BYTES = 256  # with bucket and key it must fit one row of an index: 2,704 bytes
_MAX_SIZE = 2**63 - 1
TEST_EVENTS = ("s3:TestEvent",)
_ACCESSED = "ObjectAccessed"


@dataclass(frozen=True, slots=True)
class BucketEvent:
    """One event as it was told; `record` is all of it, ready for jsonb.

    `mark` tells deliveries of one event from different events of the same key.
    """

    bucket: str
    key: str
    mark: str
    event_name: str
    sequencer: str | None
    event_time: datetime | None
    etag: str | None
    size: int | None
    version_id: str | None
    record: Mapping[str, Any]

    @property
    def is_hint(self) -> bool:
        """Whether the object may have changed: reading it changes nothing."""
        return _ACCESSED not in self.event_name


def parse(body: object, *, keys_are_quoted: bool = True) -> list[BucketEvent]:
    """The events of one S3-style notification; none in a test message.

    `body` is the message's bytes, or what its JSON stands for. Webhooks and queues receive keys
    quoted as in a form; the listen API sends them raw, and there a `+` is a plus sign.

    Raises:  WrongEvent that names the place of the first fault.
    """
    message = _decoded(body)
    if not isinstance(message, dict):
        raise WrongEvent("The message is no JSON object.")
    if message.get("Event") in TEST_EVENTS:
        return []
    if "Records" not in message:
        raise WrongEvent("The message has no Records.")
    records = message["Records"]
    if records is None:
        return []
    if not isinstance(records, list):
        raise WrongEvent("Records is no list.")
    return [_event(record, place, keys_are_quoted) for place, record in enumerate(records)]


def _decoded(body: object) -> object:
    try:
        raw = body if isinstance(body, bytes | bytearray) else json.dumps(body).encode()
        if len(raw) > MAX_BODY_BYTES:
            raise WrongEvent(f"The message has more than {MAX_BODY_BYTES} bytes.")
        return from_json(raw, allow_inf_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise WrongEvent(f"The message is no JSON we can read: {error}.") from error


def _event(record: object, place: int, keys_are_quoted: bool) -> BucketEvent:  # noqa: FBT001
    try:
        told = _Record.model_validate(record, context=keys_are_quoted)
    except ValidationError as error:
        raise WrongEvent(_fault(error.errors()[0], place), place=place) from error
    thing = told.s3.object
    if thing.sequencer is None and told.event_time is None:
        raise WrongEvent(f"Records[{place}] has neither sequencer nor eventTime.", place=place)
    return BucketEvent(
        bucket=told.s3.bucket.name,
        key=thing.key,
        mark=thing.sequencer or f"{told.event_time} {told.event_name}",
        event_name=told.event_name,
        sequencer=thing.sequencer,
        event_time=told.event_time,
        etag=thing.etag,
        size=thing.size,
        version_id=thing.version_id,
        record=cast("dict[str, Any]", _without_nul(record)),
    )


def _fault(error: ErrorDetails, place: int) -> str:
    where = ".".join(str(part) for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    return f"Records[{place}]{'.' if where else ''}{where}: {message}."


def _without_nul(value: object) -> object:
    """The value as jsonb can hold it."""
    match value:
        case str():
            return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
        case list():
            return [_without_nul(item) for item in value]
        case dict():
            return {_without_nul(name): _without_nul(item) for name, item in value.items()}
        case _:
            return value


# -- what a record must be


def _storable(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a NUL character")
    return value


def _short(value: str, most_bytes: int = _MAX_TEXT_BYTES) -> str:
    if len(value.encode()) > most_bytes:
        raise ValueError(f"must have {most_bytes} bytes at most")
    return _storable(value)


def _bucket_name(value: str) -> str:
    return _short(value, MAX_BUCKET_BYTES)


def _object_key(value: str, info: ValidationInfo) -> str:
    """The key itself; the context says whether the message quotes it."""
    key = _storable(_unquoted(value) if info.context else value)
    if not 0 < len(key.encode()) <= MAX_KEY_BYTES:
        raise ValueError(f"must have 1 to {MAX_KEY_BYTES} bytes")
    return key


def _unquoted(value: str) -> str:
    try:
        return unquote_plus(value, errors="strict")
    except UnicodeDecodeError as error:
        raise ValueError("is no quoted UTF-8") from error


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


def store(connection: Connection, events: Iterable[BucketEvent], *, source_bucket: str) -> int:
    """Keep the events and return how many were new; wake the scheduler if one is of concern.

    Events of other buckets are kept as handled, and wake nobody. The caller commits.
    """
    told = [_columns(event) for event in events]
    if not told:
        return 0
    new = (
        connection.execute(
            text(statements("events")["store"]),
            {"events": to_json(told, inf_nan_mode="null").decode(), "bucket": source_bucket},
        )
        .scalars()
        .all()
    )
    if any(new):
        connection.execute(text(f"NOTIFY {CHANNEL}"))
    return len(new)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Events that no run has handled, and the distinct keys they may mean, in byte order."""

    ids: list[int]
    keys: list[str]


def any_waiting(connection: Connection, *, refused_too: bool = True) -> bool:
    """Whether a run has something to look at, be it only what the store refused before."""
    question = text(statements("events")["any_waiting"])
    return bool(connection.scalar(question, {"refused_too": refused_too}))


def count_waiting(connection: Connection) -> int:
    """How many events wait for a run."""
    return int(connection.scalar(text(statements("events")["count_waiting"])) or 0)


def waiting(
    connection: Connection, *, bucket: str, limit: int, refused_too: bool = True
) -> Waiting:
    """The events that have waited longest, `limit` at most. The caller commits.

    `refused_too`: also those whose object a run could not read. Those of a bucket that was the
    source before wait for nothing; they are put aside.
    """
    named = statements("events")
    connection.execute(text(named["handle_strangers"]), {"bucket": bucket})
    asked = {"bucket": bucket, "limit": limit, "refused_too": refused_too}
    found = connection.execute(text(named["waiting"]), asked).all()
    keys = {spelling for row in found for spelling in spellings(row.key)}
    return Waiting([row.id for row in found], sorted(keys))


def handle(
    connection: Connection, told: Waiting, run_id: int, *, refused: Iterable[str] = ()
) -> None:
    """Note which run looked at them, NO_RUN if none was needed. The caller commits.

    `refused` are keys of objects that could not be read: what tells of those waits on.
    """
    connection.execute(
        text(statements("events")["handle"]),
        {"ids": told.ids, "run_id": run_id, "refused": list(refused)},
    )


def handle_listed(connection: Connection, *, bucket: str, began: datetime, run_id: int) -> None:
    """Note the run whose listing, begun then, has seen what they tell. The caller commits."""
    connection.execute(
        text(statements("events")["handle_listed"]),
        {"bucket": bucket, "began": began, "run_id": run_id},
    )


def untold(connection: Connection, *, bucket: str) -> int:
    """How many staged changes no event told of; to be asked before the manifest is written."""
    return int(connection.scalar(text(statements("events")["untold"]), {"bucket": bucket}) or 0)


def _columns(event: BucketEvent) -> dict[str, object]:
    names: Sequence[str] = BucketEvent.__slots__
    return {name: getattr(event, name) for name in names} | {"is_hint": event.is_hint}
