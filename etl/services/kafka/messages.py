"""The messages of the image topic, and their JSON Schema.

`python -m etl.services.kafka.messages` prints docs/reference/image-topic.schema.json.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from etl.services.kafka.client import Outgoing


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    bucket: str = Field(description="source bucket")
    key: str = Field(description="object key of the image; also the message key")
    etag: str = Field(description="ETag of the image version")

    def outgoing(self) -> Outgoing:
        """Return the message to send. Messages of one image share a key, so they stay in order."""
        return Outgoing(self.key.encode(), self.model_dump_json().encode())


class _OfRow(_Message):
    dataset: str | None = Field(description="dataset of the image")
    attachment_id: str | None = Field(
        description="value of the key that joins the image to a row, in NFC; the row may not exist"
    )
    user_id: str | None = Field(description="attachment_id of an image of users, else null")


class ImageIndexed(_OfRow):
    """An image is new, was replaced or was processed again; unknown metadata is null."""

    type: Literal["image.indexed"] = "image.indexed"
    state: str = Field(description="ready, corrupt, too-large or unsupported")
    note: str | None = Field(description="why it is not ready")
    format: str | None = Field(description="PNG, JPEG, WEBP or GIF")
    mode: str | None = Field(description="Pillow's name of the color mode")
    width: int | None = Field(description="pixels, after the EXIF orientation is applied")
    height: int | None = Field(description="pixels, after the EXIF orientation is applied")
    bytes: int = Field(description="size of the object")
    sha256: str | None = Field(description="of the object's bytes, in hex")
    indexed_at: datetime = Field(description="when the image was processed, in UTC")


class Thumbnail(BaseModel):
    """One thumbnail in the thumbnail bucket."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(description="longest side in pixels")
    bucket: str = Field(description="thumbnail bucket")
    key: str = Field(description="object key of the thumbnail")


class ThumbnailReady(_OfRow):
    """All thumbnails of the image that are in the thumbnail bucket."""

    type: Literal["thumbnail.ready"] = "thumbnail.ready"
    sha256: str = Field(description="hex, of the image's bytes; equal images share thumbnails")
    thumbnails: list[Thumbnail] = Field(min_length=1)


class ImageRemoved(_Message):
    """An announced image was removed; `etag` is that of the last announcement."""

    type: Literal["image.removed"] = "image.removed"


Announcement = Annotated[ImageIndexed | ThumbnailReady | ImageRemoved, Field(discriminator="type")]


def json_schema() -> str:
    """Return the schema of all messages of the topic."""
    schema = TypeAdapter[object](Announcement).json_schema(mode="serialization")
    return json.dumps({"title": "A message of KAFKA_IMAGE_TOPIC", **schema}, indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(json_schema())
