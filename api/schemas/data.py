"""Schemas of /data and /stats: queries, users and their images."""

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
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from api.rows.filters import Filters, ImageWanted
from api.rows.shapes import USERS_OF_DATA
from api.schemas.query import (
    _STORABLE,
    ETAG_EXAMPLE,
    Id,
    Query,
    Seconds,
    Truth,
    _storable,
    _whole_number,
)

ID = "user_id"
DEFAULT_FIELDS = USERS_OF_DATA.default_fields
FIELDS = [name for name in USERS_OF_DATA.columns if name != ID]
MAX_AGE = 150
MAX_PAGE = 10_000


def _known_fields(value: object) -> object:
    if not isinstance(value, str):
        return value
    names = [name for name in value.split(",") if name != ID]
    unknown = [repr(name) for name in names if name not in FIELDS]
    if unknown:
        raise ValueError(
            f"contains unknown fields {', '.join(unknown)}; available are {', '.join(FIELDS)}"
        )
    if len(set(names)) < len(names):
        raise ValueError("contains a field more than once")
    return tuple(names)


Years = Annotated[int, Field(ge=0, le=MAX_AGE), BeforeValidator(_whole_number)]
Page = Annotated[int, Field(ge=1, le=MAX_PAGE), BeforeValidator(_whole_number)]
Pixels = Annotated[int, Field(ge=1, le=100_000), BeforeValidator(_whole_number)]
DatasetNames = Annotated[
    str,
    Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,47}(,[A-Za-z][A-Za-z0-9_]{0,47})*$"),
]
UserId = Annotated[str, _STORABLE, AfterValidator(_storable)]
Fields = Annotated[tuple[str, ...], BeforeValidator(_known_fields, str)]


class FilterQuery(Query):
    """Filters of users."""

    is_image_exists: Truth | None = Field(
        None, description="Only users with (true) or without (false) an image. Case-insensitive."
    )
    min_age: Years | None = Field(
        None, description="Minimum age in whole years, inclusive.", examples=[18]
    )
    max_age: Years | None = Field(
        None, description="Maximum age in whole years, inclusive.", examples=[65]
    )
    image: ImageWanted | None = Field(
        None,
        description="Only users with an image in this state; `missing` means without an image.",
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
        """The filters as a value without Pydantic."""
        return Filters(self.is_image_exists, self.min_age, self.max_age, self.image)


class DataQuery(FilterQuery):
    """Filters, page, fields and format of the users to return."""

    limit: Page | None = Field(
        None,
        description="Maximum number of users per page. Without it, all users are returned.",
        examples=[1000],
    )
    after: UserId | None = Field(
        None, description="Only users whose ID follows this one in byte order."
    )
    fields: Fields = Field(
        DEFAULT_FIELDS,
        description="Comma-separated fields to return for each user. The ID is always included."
        f" Available fields: {', '.join(FIELDS)}.",
        examples=["first_name,birthdate,age"],
        json_schema_extra={"default": ",".join(DEFAULT_FIELDS)},
    )
    format: Literal["json", "ndjson", "csv", "parquet", "arrow"] | None = Field(
        None, description="Response format; takes precedence over the Accept header."
    )


class RequestQuery(Query):
    """Options of a requested run."""

    wait: Seconds = Field(
        0, description="Seconds to wait for the run to finish. If it does not, the response is 202."
    )
    allow: Literal["mass-retirement"] | None = Field(
        None,
        description="Let this run retire more than half of the rows of a dataset. Requires the role"
        " `admin`.",
    )
    dataset: DatasetNames | None = Field(
        None,
        description="With `allow`: the datasets that may retire rows, comma-separated. Without it,"
        " all of them.",
        examples=["users"],
    )
    at_most: Id | None = Field(
        None,
        description="With `allow`: the maximum number of rows to retire per dataset. Without it,"
        " any number.",
    )

    @model_validator(mode="before")
    @classmethod
    def _allow_something(cls, parameters: dict[str, str]) -> dict[str, str]:
        given = [name for name in ("dataset", "at_most") if name in parameters]
        if given and "allow" not in parameters:
            message = "has a meaning only with allow=mass-retirement"
            faults = [
                InitErrorDetails(
                    type=PydanticCustomError("no_allow", message), loc=(name,), input=name
                )
                for name in given
            ]
            raise ValidationError.from_exception_data(cls.__name__, faults)
        return parameters


class ThumbnailQuery(Query):
    """Which thumbnail to return."""

    size: Pixels | None = Field(
        None,
        description="Maximum width and height in pixels. Default: the largest thumbnail.",
        examples=[64],
    )


class Record(BaseModel):
    """A user in GET /data; with `fields`, only the requested fields."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.pop("required"))

    first_name: str = Field(examples=["Ann"])
    last_name: str = Field(examples=["Smith"])
    birthts: int = Field(
        description="Birth in milliseconds since 1970-01-01T00:00:00Z.", examples=[631152000000]
    )
    img_path: str | None = Field(
        description="`bucket/key` of the user's image, or null.", examples=["src-data/1000.png"]
    )


class Records(RootModel[dict[str, Record]]):
    """Users by ID."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "1000": {
                        "first_name": "Ann",
                        "last_name": "Smith",
                        "birthts": 631152000000,
                        "img_path": "src-data/1000.png",
                    },
                    "1001": {
                        "first_name": "Bo",
                        "last_name": "Li",
                        "birthts": 0,
                        "img_path": None,
                    },
                }
            ]
        }
    )


class Lineage(BaseModel):
    """The source of a user's values."""

    bucket: str = Field(examples=["src-data"])
    key: str = Field(examples=["1000.csv"])
    etag: str | None = Field(
        description="ETag of the object when it was last read.", examples=[ETAG_EXAMPLE]
    )
    line: int = Field(
        description="Physical line in the object; the header is line 1.", examples=[2]
    )
    run_id: int = Field(description="The run that last changed this user.", examples=[1])
    updated_at: datetime = Field(examples=["2026-01-02T03:04:05Z"])


class Image(BaseModel):
    """A user's image: its metadata and presigned URLs."""

    state: Literal["ready", "corrupt", "too-large", "unsupported", "waiting"]
    reason: str | None = Field(
        description="Why the image is not ready, and what to do.", examples=[None]
    )
    key: str = Field(examples=["1000.png"])
    format: str | None = Field(
        description="Decoded format: JPEG, PNG, WEBP or GIF.", examples=["PNG"]
    )
    mode: str | None = Field(description="Pixel format, as a Pillow mode.", examples=["RGB"])
    width: int | None = Field(
        description="Width in pixels after applying the EXIF orientation.", examples=[640]
    )
    height: int | None = Field(
        description="Height in pixels after applying the EXIF orientation.", examples=[480]
    )
    bytes: int = Field(description="Size of the object in bytes.", examples=[48213])
    sha256: str | None = Field(
        examples=["0a4c9d8f6c3f1b2e5a7d9e8c7b6a5f4e3d2c1b0a9f8e7d6c5b4a392817060504"]
    )
    url: str | None = Field(
        description="Presigned URL of the image; it works without an API key.",
        examples=["http://127.0.0.1:9000/src-data/1000.png?X-Amz-Signature=..."],
    )
    thumbnails: dict[str, str | None] = Field(
        description="Presigned URLs of the thumbnails by size.",
        examples=[{"256": "http://127.0.0.1:9000/thumbnails/0a4c...@256.webp?X-Amz-Signature=..."}],
    )
    urls_expire_in: int = Field(
        description="Seconds until the presigned URLs expire.", examples=[900]
    )


class User(BaseModel):
    """One user with all fields, its source and its image."""

    user_id: str = Field(examples=["1000"])
    first_name: str = Field(examples=["Ann"])
    last_name: str = Field(examples=["Smith"])
    birthts: int = Field(
        description="Birth in milliseconds since 1970-01-01T00:00:00Z.", examples=[631152000000]
    )
    birthdate: date = Field(description="The UTC date of `birthts`.", examples=["1990-01-01"])
    age: int = Field(
        description="Age in whole calendar years on the current UTC date.", examples=[36]
    )
    img_path: str | None = Field(
        description="`bucket/key` of the user's image, or null.", examples=["src-data/1000.png"]
    )
    extra: dict[str, Any] | None = Field(
        description="Additional columns of the CSV.", examples=[{"city": "Oslo"}]
    )
    lineage: Lineage
    image: Image | None = Field(description="Null for a user without an image.")


class Stats(BaseModel):
    """Statistics of the users that match the filters."""

    count: int = Field(examples=[100])
    average_age: float | None = Field(
        description="Mean age in whole years, rounded to two decimals; null if no user matches.",
        examples=[34.5],
    )
    with_image: int = Field(examples=[94])
    without_image: int = Field(examples=[6])
