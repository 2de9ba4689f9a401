"""Users: how they are asked for, and what is told of them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    RootModel,
    ValidationInfo,
    field_validator,
)

from api.rows.fields import FIELDS, ID, USUAL_FIELDS
from api.rows.filters import Filters, ImageWanted
from api.schemas.query import _STORABLE, Query, Seconds, Truth, _storable, _whole_number

MAX_AGE = 150
MAX_PAGE = 10_000


def _known_fields(value: object) -> object:
    if not isinstance(value, str):
        return value
    names = [name for name in value.split(",") if name != ID]
    unknown = [repr(name) for name in names if name not in FIELDS]
    if unknown:
        raise ValueError(f"knows no {', '.join(unknown)}; there are {', '.join(FIELDS)}")
    if len(set(names)) < len(names):
        raise ValueError("names a field more than once")
    return tuple(names)


Years = Annotated[int, Field(ge=0, le=MAX_AGE), BeforeValidator(_whole_number)]
Page = Annotated[int, Field(ge=1, le=MAX_PAGE), BeforeValidator(_whole_number)]
Pixels = Annotated[int, Field(ge=1, le=100_000), BeforeValidator(_whole_number)]
UserId = Annotated[str, _STORABLE, AfterValidator(_storable)]
Fields = Annotated[tuple[str, ...], BeforeValidator(_known_fields, str)]


class FilterQuery(Query):
    """Which users are wanted."""

    is_image_exists: Truth | None = Field(
        None, description="Only users with (true) or without (false) an image; in any case."
    )
    min_age: Years | None = Field(
        None, description="Youngest age in whole years, inclusive.", examples=[18]
    )
    max_age: Years | None = Field(
        None, description="Oldest age in whole years, inclusive.", examples=[65]
    )

    image: ImageWanted | None = Field(
        None, description="Only users whose image is in this state; `missing`: without one."
    )

    @field_validator("max_age")
    @classmethod
    def _not_below_min_age(cls, max_age: int | None, info: ValidationInfo) -> int | None:
        min_age = info.data.get("min_age")
        if min_age is not None and max_age is not None and max_age < min_age:
            raise ValueError(f"must not be below min_age ({min_age})")
        return max_age

    @property
    def filters(self) -> Filters:
        """The filters as a value for the core."""
        return Filters(self.is_image_exists, self.min_age, self.max_age, self.image)


class DataQuery(FilterQuery):
    """Which users are wanted, which page of them, what of each, and how it is written."""

    limit: Page | None = Field(
        None, description="At most so many users; without it, all of them.", examples=[1000]
    )
    after: UserId | None = Field(
        None, description="Only users whose id comes after this one in byte order."
    )
    fields: Fields = Field(
        USUAL_FIELDS,
        description="What to tell of each user, parted by commas; the id is always told."
        f" Any of {', '.join(FIELDS)}.",
        examples=["first_name,birthdate,age"],
        json_schema_extra={"default": ",".join(USUAL_FIELDS)},
    )
    format: Literal["json", "ndjson", "csv", "parquet", "arrow"] | None = Field(
        None, description="The format, where a header Accept cannot be sent; goes before it."
    )


class RequestQuery(Query):
    """How to ask for a run."""

    wait: Seconds = Field(
        0, description="Seconds to wait for the run to finish; 202 when that was too short."
    )
    allow: Literal["mass-retirement"] | None = Field(
        None,
        description="Let this run retire more than half of the users; needs the role `admin`.",
    )


class ThumbnailQuery(Query):
    """Which thumbnail is wanted."""

    size: Pixels | None = Field(
        None, description="Longest side of its box; without it, the largest made.", examples=[64]
    )


class Record(BaseModel):
    """A user as /data shows it; with `fields`, those that were asked for."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.pop("required"))

    first_name: str
    last_name: str
    birthts: int = Field(description="Birth in milliseconds since 1970-01-01T00:00:00Z.")
    img_path: str | None = Field(description="bucket/key of the user's image, or null.")


class Records(RootModel[dict[str, Record]]):
    """Users by their id."""


class Lineage(BaseModel):
    """Where a user's values come from."""

    bucket: str
    key: str
    etag: str | None = Field(description="ETag of the object when it was last read.")
    line: int = Field(description="Physical line in the object; the header is line 1.")
    run_id: int = Field(description="The run that last changed this user.")
    updated_at: datetime


class Image(BaseModel):
    """A user's image: what is known of it, and where it can be read for a while."""

    state: Literal["ready", "corrupt", "too-large", "unsupported", "waiting"]
    reason: str | None = Field(description="Why it is not ready, and what to do.")
    key: str
    format: str | None = Field(description="JPEG, PNG, WEBP or GIF, as decoded.")
    mode: str | None = Field(description="How its pixels are stored, in Pillow's words.")
    width: int | None = Field(description="Pixels, turned as its EXIF says.")
    height: int | None
    bytes: int
    sha256: str | None
    url: str | None = Field(description="Signed address of the picture; anybody may read it.")
    thumbnails: dict[str, str | None] = Field(description="Signed addresses by size.")
    urls_expire_in: int = Field(description="Seconds from now.")


class User(BaseModel):
    """One user with everything we know."""

    user_id: str
    first_name: str
    last_name: str
    birthts: int = Field(description="Birth in milliseconds since 1970-01-01T00:00:00Z.")
    birthdate: date = Field(description="The UTC date of birthts.")
    age: int = Field(description="Whole calendar years on today's UTC date.")
    img_path: str | None
    extra: dict[str, Any] | None = Field(description="Columns of the CSV we do not know.")
    lineage: Lineage
    image: Image | None = Field(description="Null for a user without one.")


class Stats(BaseModel):
    """Figures over the users that match the filters."""

    count: int
    average_age: float | None = Field(
        description="Mean of the ages in whole years, two decimals; null when nobody matches."
    )
    with_image: int
    without_image: int
