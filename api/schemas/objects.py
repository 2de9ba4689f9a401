"""Objects, and the buckets they lie in."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
)

from api.schemas.query import MAX_SHORT_PAGE, Key, Query, Truth, _whole_number

MAX_LISTING = 1_000_000
MAX_LOOKED_AT = 100
MAX_PRESIGNED_SECONDS = 86_400


def _header_text(value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise ValueError("must be printable ASCII")
    return value


ResponseHeader = Literal[
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
]
HeaderText = Annotated[str, AfterValidator(_header_text)]
LongPage = Annotated[int, Field(ge=1, le=MAX_LISTING), BeforeValidator(_whole_number)]


class ObjectsQuery(Query):
    """Which objects of a bucket are wanted, in byte order of their keys."""

    prefix: Key | None = Field(None, description="Only keys that begin so.", examples=["reports/"])
    recursive: Truth = Field(False, description="Every object, instead of folders.")  # noqa: FBT003
    limit: LongPage = Field(1000, description="At most so many entries.")
    after: Key | None = Field(None, description="Only keys and folders that come after this one.")
    content_type: Truth = Field(
        False,  # noqa: FBT003
        description="Look up each object's content type: one request to the store for each,"
        f" so there are {MAX_LOOKED_AT} entries at most, whatever `limit` says.",
    )

    @property
    def most(self) -> int:
        """How many entries to show."""
        return min(self.limit, MAX_LOOKED_AT) if self.content_type else self.limit

    @property
    def is_long(self) -> bool:
        """Whether the answer may hold a thread for long."""
        return self.content_type or self.limit > MAX_SHORT_PAGE


class DownloadQuery(Query):
    """How an object is to be handed out."""

    download: Truth = Field(False, description="As a file to save, whatever it is.")  # noqa: FBT003


class PresignRequest(BaseModel):
    """What a presigned URL is to allow."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["GET", "PUT"] = Field("GET", description="What may be done with it.")
    expires_seconds: int = Field(
        900, ge=1, le=MAX_PRESIGNED_SECONDS, strict=True, description="How long; a day at most."
    )
    response_headers: dict[ResponseHeader, HeaderText] = Field(
        default_factory=dict,
        description="Headers the store is to answer a GET with.",
        examples=[{"content-disposition": "attachment"}],
    )

    @property
    def s3_headers(self) -> dict[str, str]:
        """The headers as S3's query parameters."""
        return {f"response-{name}": value for name, value in self.response_headers.items()}


class BucketRights(BaseModel):
    """A bucket, and what may be done in it here."""

    name: str
    rights: Literal["r", "rw"]
    exists: bool


class Buckets(BaseModel):
    """The buckets that may be used here."""

    buckets: list[BucketRights]


class ListedObject(BaseModel):
    """An object, as a listing shows it."""

    key: str
    size: int = Field(description="Bytes.")
    etag: str
    last_modified: datetime
    content_type: str | None = Field(None, description="Only when it was asked for.")


class ListedFolder(BaseModel):
    """What the keys have in common that go on after the next slash."""

    folder: str


class Listing(BaseModel):
    """Part of a bucket, in byte order of the keys."""

    bucket: str
    entries: list[ListedObject | ListedFolder]
    after: str | None = Field(description="What to go on after; null when there is no more.")


class StoredObject(BaseModel):
    """An object that was stored."""

    bucket: str
    key: str
    size: int = Field(description="Bytes.")
    etag: str
    content_type: str


class SavedObjects(BaseModel):
    """The objects that a form stored."""

    objects: list[StoredObject]


class PresignedUrl(BaseModel):
    """A URL that needs no key, until it expires."""

    url: str
    method: Literal["GET", "PUT"]
    expires_at: datetime
