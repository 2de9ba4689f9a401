"""Schemas of /objects: buckets, listings, uploads and presigned URLs."""

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

from api.schemas.query import ETAG_EXAMPLE, MAX_SHORT_PAGE, Key, Query, Truth, _whole_number

MAX_LISTING = 1_000_000
MAX_WITH_CONTENT_TYPE = 100
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
    """Filters and page of a listing, in byte order of the object keys."""

    prefix: Key | None = Field(
        None, description="Only keys with this prefix.", examples=["reports/"]
    )
    recursive: Truth = Field(False, description="List all objects instead of folders.")  # noqa: FBT003
    limit: LongPage = Field(1000, description="Maximum number of entries per page.")
    after: Key | None = Field(None, description="Only keys and folders that follow this one.")
    content_type: Truth = Field(
        False,  # noqa: FBT003
        description="Include the content type of each object. This takes one request to the store"
        f" per object, so the page has at most {MAX_WITH_CONTENT_TYPE} entries.",
    )

    @property
    def max_entries(self) -> int:
        """The maximum number of entries to return."""
        return min(self.limit, MAX_WITH_CONTENT_TYPE) if self.content_type else self.limit

    @property
    def is_long(self) -> bool:
        """Whether the response may occupy a thread for long."""
        return self.content_type or self.limit > MAX_SHORT_PAGE


class DownloadQuery(Query):
    """How to send an object."""

    download: Truth = Field(False, description="Always send the object as a file to save.")  # noqa: FBT003


class PresignRequest(BaseModel):
    """The request that a presigned URL allows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["GET", "PUT"] = Field("GET", description="Method that the URL allows.")
    expires_seconds: int = Field(
        900,
        ge=1,
        le=MAX_PRESIGNED_SECONDS,
        strict=True,
        description="Lifetime in seconds; at most one day.",
    )
    response_headers: dict[ResponseHeader, HeaderText] = Field(
        default_factory=dict,
        description="Headers that the store returns with a GET.",
        examples=[{"content-disposition": "attachment"}],
    )

    @property
    def s3_headers(self) -> dict[str, str]:
        """The headers as query parameters of S3."""
        return {f"response-{name}": value for name, value in self.response_headers.items()}


class BucketRights(BaseModel):
    """A bucket and the rights to it."""

    name: str = Field(examples=["src-data"])
    rights: Literal["r", "rw"] = Field(
        description="`r`: read only; `rw`: read and write.", examples=["rw"]
    )
    exists: bool = Field(examples=[True])


class Buckets(BaseModel):
    """The buckets that the API serves."""

    buckets: list[BucketRights]


class ListedObject(BaseModel):
    """An object in a listing."""

    key: str = Field(examples=["reports/2026.csv"])
    size: int = Field(description="Size in bytes.", examples=[66])
    etag: str = Field(examples=[ETAG_EXAMPLE])
    last_modified: datetime = Field(examples=["2026-01-02T03:04:05.006000Z"])
    content_type: str | None = Field(
        None, description="Only if the parameter `content_type` is true."
    )


class ListedFolder(BaseModel):
    """The common prefix of keys, up to the next slash."""

    folder: str = Field(examples=["photos/"])


class Listing(BaseModel):
    """A page of a bucket's listing, in byte order of the object keys."""

    bucket: str = Field(examples=["src-data"])
    entries: list[ListedObject | ListedFolder] = Field(
        examples=[
            [
                {
                    "key": "reports/2026.csv",
                    "size": 66,
                    "etag": ETAG_EXAMPLE,
                    "last_modified": "2026-01-02T03:04:05.006000Z",
                },
                {"folder": "photos/"},
            ]
        ]
    )
    after: str | None = Field(
        description="Value of `after` for the next page; null on the last page.", examples=[None]
    )


class StoredObject(BaseModel):
    """A stored object."""

    bucket: str = Field(examples=["src-data"])
    key: str = Field(examples=["1000.csv"])
    size: int = Field(description="Size in bytes.", examples=[66])
    etag: str = Field(examples=[ETAG_EXAMPLE])
    content_type: str = Field(examples=["text/csv"])


class SavedObjects(BaseModel):
    """The objects stored from a form."""

    objects: list[StoredObject]


class PresignedUrl(BaseModel):
    """A URL that works without an API key until it expires."""

    url: str = Field(
        examples=["http://127.0.0.1:9000/src-data/1000.csv?X-Amz-Algorithm=AWS4-HMAC-SHA256"]
    )
    method: Literal["GET", "PUT"]
    expires_at: datetime = Field(examples=["2026-01-02T03:19:05Z"])
