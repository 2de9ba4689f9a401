"""Messages that contain bucket events: S3 notifications, alone or in the envelopes of AWS.

S3 and MinIO send an object with `Records`, in which keys are form-encoded. SNS puts the text of
that object into the `Message` of its own. EventBridge sends one event in a form of its own, and its
keys are not encoded.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, cast
from urllib.parse import unquote_plus
from uuid import uuid4

from pydantic import (
    AfterValidator,
    AliasChoices,
    AwareDatetime,
    BaseModel,
    Field,
    NaiveDatetime,
    ValidationError,
    ValidationInfo,
    WrapValidator,
)
from pydantic_core import from_json

from etl.model.arns import is_topic_arn
from etl.model.errors import SubscriptionNotice, WrongEvent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import ValidatorFunctionWrapHandler
    from pydantic_core import ErrorDetails

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_KEY_BYTES = 1024  # S3's limit
MAX_BUCKET_BYTES = 63  # S3's limit
_MAX_TEXT_BYTES = 256  # with bucket and key it must fit one index entry of 2,704 bytes
_MAX_SIZE = 2**63 - 1
TEST_EVENTS = ("s3:TestEvent",)
_ACCESSED = "ObjectAccessed"
_NOTIFICATION, _ENDED = "Notification", "UnsubscribeConfirmation"
SNS_TYPES = (_NOTIFICATION, "SubscriptionConfirmation", _ENDED)
_SNS_TOKEN = re.compile(r"[A-Za-z0-9]{1,512}")
# The names that S3 gives to these events elsewhere; the reason follows, as in ObjectCreated:Put.
_BRIDGE_NAMES = {"Object Created": "ObjectCreated", "Object Deleted": "ObjectRemoved"}
_LEAP_SECOND = re.compile(r"(?<=[Tt ]\d\d:\d\d:)60")
_BEFORE_S3 = datetime(2006, 1, 1, tzinfo=UTC)  # such as Go's zero time, for an unknown time


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
    """The events of one message; none for a test message.

    `body` is the message's bytes or its decoded JSON. Webhooks and queues receive form-encoded
    keys; EventBridge and the listen API send raw keys, in which `+` is a plus sign.

    Raises:  WrongEvent with the position of the first error; SubscriptionNotice for a message of
             SNS about a subscription.
    """
    message = _decoded(body)
    if _is_of_sns(message):
        message = _decoded(_sns_text(message).encode())
    if not isinstance(message, dict):
        raise WrongEvent("The message is not a JSON object.")
    if "detail-type" in message:
        return [_bridge_event(message)]
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


def _decoded(body: object) -> Any:  # noqa: ANN401 - any JSON value
    try:
        raw = body if isinstance(body, bytes | bytearray) else json.dumps(body).encode()
        if len(raw) > MAX_BODY_BYTES:
            raise WrongEvent(f"The message is larger than {MAX_BODY_BYTES} bytes.")
        return from_json(raw, allow_inf_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise WrongEvent(f"The message is not valid JSON: {error}.") from error


# -- envelopes


def _is_of_sns(message: object) -> bool:
    return isinstance(message, dict) and "TopicArn" in message and message.get("Type") in SNS_TYPES


def _sns_text(message: Mapping[str, object]) -> str:
    """The text of a notification of SNS.

    Raises:  SubscriptionNotice for a message about a subscription.
    """
    topic, token, text = (message.get(name) for name in ("TopicArn", "Token", "Message"))
    if message["Type"] == _NOTIFICATION:
        if not isinstance(text, str):
            raise WrongEvent("Message of the SNS notification is not a text.")
        return text
    if not (isinstance(topic, str) and is_topic_arn(topic)):
        raise WrongEvent("TopicArn is not the ARN of an SNS topic.")
    if not (isinstance(token, str) and _SNS_TOKEN.fullmatch(token)):
        raise WrongEvent("Token is not one of SNS.")
    if message["Type"] == _ENDED:
        raise SubscriptionNotice(f"SNS ended a subscription to {topic}.", topic=topic)
    raise SubscriptionNotice(
        f"SNS asks to confirm a subscription to {topic}.", topic=topic, token=token
    )


def _bridge_event(message: Mapping[str, object]) -> BucketEvent:
    try:
        valid = _BridgeEvent.model_validate(message, context=False)
    except ValidationError as error:
        raise WrongEvent(_fault(error.errors()[0], "")) from error
    kind, reason = valid.detail_type, valid.detail.reason
    name = _BRIDGE_NAMES.get(kind, kind) + (f":{reason}" if reason else "")
    return _bucket_event(valid.detail, name[:_MAX_TEXT_BYTES], valid.time, valid.id, message)


def _event(record: object, place: int, keys_are_quoted: bool) -> BucketEvent:  # noqa: FBT001
    try:
        valid = _Record.model_validate(record, context=keys_are_quoted)
    except ValidationError as error:
        raise WrongEvent(_fault(error.errors()[0], f"Records[{place}]"), place=place) from error
    time = valid.event_time
    mark = f"{time} {valid.event_name}" if time is not None and time > _BEFORE_S3 else None
    return _bucket_event(valid.s3, valid.event_name, time, mark, record)


def _bucket_event(
    source: _Source, name: str, time: datetime | None, mark: str | None, record: object
) -> BucketEvent:
    """The event; `mark` identifies one without a sequencer.

    One without a mark counts as new whenever it is delivered: a key that is checked twice does no
    harm, but one that is not checked does.
    """
    changed = source.object
    return BucketEvent(
        bucket=source.bucket.name,
        key=changed.key,
        dedup_key=changed.sequencer or mark or uuid4().hex,
        event_name=name,
        sequencer=changed.sequencer,
        event_time=time,
        etag=changed.etag,
        size=changed.size,
        version_id=changed.version_id,
        record=cast("dict[str, Any]", _without_nul(record)),
    )


def _fault(error: ErrorDetails, record: str) -> str:
    where = ".".join(str(part) for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    return f"{record}{'.' if record and where else ''}{where}: {message}."


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


def _time_or_none(value: object, parse: ValidatorFunctionWrapHandler) -> datetime | None:
    """The time in UTC; None if it is not one, because the key counts even if its time does not.

    A leap second is the second after it, as in PostgreSQL.
    """
    leap = timedelta(0)
    if isinstance(value, str):
        value, count = _LEAP_SECOND.subn("59", value, count=1)
        leap = timedelta(seconds=count)
    try:
        time: datetime | None = parse(value)
        return time and time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC) + leap
    except (ValueError, OverflowError):
        return None


def _or_none(value: str | None) -> str | None:
    return value or None


_Text = Annotated[str, AfterValidator(_short)]
_OptionalText = Annotated[_Text | None, AfterValidator(_or_none)]
_Time = Annotated[AwareDatetime | NaiveDatetime | None, WrapValidator(_time_or_none)]


class _Bucket(BaseModel):
    name: Annotated[str, Field(min_length=1), AfterValidator(_bucket_name)]


class _Object(BaseModel):
    key: Annotated[str, AfterValidator(_object_key)]
    size: Annotated[int, Field(ge=0, le=_MAX_SIZE)] | None = None
    etag: _OptionalText = Field(None, validation_alias=AliasChoices("eTag", "etag"))
    version_id: _OptionalText = Field(
        None, validation_alias=AliasChoices("versionId", "version-id")
    )
    sequencer: _OptionalText = None


class _Source(BaseModel):
    bucket: _Bucket
    object: _Object


class _Record(BaseModel):
    event_name: Annotated[_Text, Field(min_length=1)] = Field(alias="eventName")
    event_time: _Time = Field(None, alias="eventTime")
    s3: _Source


class _Detail(_Source):
    reason: _OptionalText = None


class _BridgeEvent(BaseModel):
    detail_type: Annotated[_Text, Field(min_length=1)] = Field(alias="detail-type")
    time: _Time = None
    id: _OptionalText = None
    detail: _Detail
