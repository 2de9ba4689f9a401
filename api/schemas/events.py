"""Bucket events."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from api.schemas.query import SHORT_PAGE, Id, Key, Query, ShortPage, Truth


class EventsQuery(Query):
    """Which events are wanted, in the order they came."""

    bucket: Key | None = Field(None, description="Only events of this bucket.")
    key: Key | None = Field(None, description="Only events of this key.", examples=["1000.csv"])
    latest: Truth = Field(
        default=False, description="Only the newest event of each key, by time and sequencer."
    )
    limit: ShortPage = Field(SHORT_PAGE, description="At most so many events.")
    after: Id | None = Field(None, description="Only events that came after the one with this id.")


class Taken(BaseModel):
    """What came of a notification."""

    status: Literal["ok"]
    records: int = Field(description="How many events it held; all of them are stored.")


class Event(BaseModel):
    """One event as a store told it, and what became of it."""

    id: int
    bucket: str
    key: str
    event_name: str
    event_time: datetime | None
    sequencer: str | None = Field(description="The store's own order of a key's events.")
    etag: str | None
    size: int | None
    version_id: str | None
    received_at: datetime
    state: Literal["waiting", "handled"]
    run_id: int | None = Field(
        description="The run that looked at the key; null when none was needed, or none has yet."
    )
    record: dict[str, Any] = Field(description="The record as it came.")


class Events(BaseModel):
    """A page of events."""

    events: list[Event]
