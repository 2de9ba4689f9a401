"""Schemas of /events and /minio-event."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from api.schemas.query import ETAG_EXAMPLE, SHORT_PAGE, Id, Key, Query, ShortPage, Truth


class EventsQuery(Query):
    """Filters and page of the events, in order of arrival."""

    bucket: Key | None = Field(None, description="Only events of this bucket.")
    key: Key | None = Field(
        None, description="Only events of this object key.", examples=["1000.csv"]
    )
    latest: Truth = Field(
        default=False,
        description="Only the newest event of each object key, by time and sequencer.",
    )
    limit: ShortPage = Field(SHORT_PAGE, description="Maximum number of events per page.")
    after: Id | None = Field(
        None, description="Only events that arrived after the one with this ID."
    )


class Taken(BaseModel):
    """The result of a notification."""

    status: Literal["ok"]
    records: int = Field(
        description="Number of events in the notification; all are stored.", examples=[1]
    )


class Event(BaseModel):
    """One event and its processing state."""

    id: int = Field(examples=[1])
    bucket: str = Field(examples=["src-data"])
    key: str = Field(examples=["1000.csv"])
    event_name: str = Field(examples=["s3:ObjectCreated:Put"])
    event_time: datetime | None = Field(examples=["2026-01-02T03:04:05.678000Z"])
    sequencer: str | None = Field(
        description="Orders the events of one object key; assigned by the store.",
        examples=["1886F4D9B2A4E0A0"],
    )
    etag: str | None = Field(examples=[ETAG_EXAMPLE])
    size: int | None = Field(examples=[60])
    version_id: str | None = Field(examples=[None])
    received_at: datetime = Field(examples=["2026-01-02T03:04:05.680000Z"])
    state: Literal["waiting", "handled"] = Field(examples=["handled"])
    run_id: int | None = Field(
        description="The run that checked the object key. Null if no run has checked it yet, or"
        " none was needed.",
        examples=[2],
    )
    record: dict[str, Any] = Field(
        description="The record as received.", examples=[{"eventName": "s3:ObjectCreated:Put"}]
    )


class Events(BaseModel):
    """A page of events."""

    events: list[Event]
