"""What the image topic is told: the messages, and their JSON Schema.

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
    key: str = Field(description="key of the image in it; also the key of the message")
    etag: str = Field(description="ETag of the version that this is about")

    def outgoing(self) -> Outgoing:
        """The message to send: those of one image share a key, and so keep their order."""
        return Outgoing(self.key.encode(), self.model_dump_json().encode())


class ImageIndexed(_Message):
    """An image is new, was replaced, or was looked at again; facts that are not known are null."""

    type: Literal["image.indexed"] = "image.indexed"
    user_id: str | None = Field(description="the user whose image it may be: its base name in NFC")
    state: str = Field(description="ready, corrupt, too-large or unsupported")
    note: str | None = Field(description="why it is not ready")
    format: str | None = Field(description="PNG, JPEG, WEBP or GIF")
    mode: str | None = Field(description="how colours are stored, as Pillow names it")
    width: int | None = Field(description="pixels, with the EXIF orientation honoured")
    height: int | None = Field(description="pixels, with the EXIF orientation honoured")
    bytes: int = Field(description="size of the object")
    sha256: str | None = Field(description="of the object's bytes, in hex")
    indexed_at: datetime = Field(description="when this was found, in UTC")


class Thumbnail(BaseModel):
    """One thumbnail in the thumbnail bucket."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(description="longest side in pixels")
    bucket: str = Field(description="thumbnail bucket")
    key: str = Field(description="key of the thumbnail in it")


class ThumbnailReady(_Message):
    """Thumbnails of the image are in the thumbnail bucket: these, and no others."""

    type: Literal["thumbnail.ready"] = "thumbnail.ready"
    user_id: str | None = Field(description="the user whose image it may be: its base name in NFC")
    sha256: str = Field(description="of the image's bytes; equal pictures share thumbnails")
    thumbnails: list[Thumbnail] = Field(min_length=1)


class ImageRemoved(_Message):
    """An image that was announced is no more; `etag` is that of the last announcement."""

    type: Literal["image.removed"] = "image.removed"


Announcement = Annotated[ImageIndexed | ThumbnailReady | ImageRemoved, Field(discriminator="type")]


def json_schema() -> str:
    """The schema of every message of the topic."""
    schema = TypeAdapter[object](Announcement).json_schema(mode="serialization")
    return json.dumps({"title": "A message of KAFKA_IMAGE_TOPIC", **schema}, indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(json_schema())
