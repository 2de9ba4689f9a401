"""Schemas of the rows of datasets that GET /data does not return."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from api.schemas.query import ETAG_EXAMPLE, SHORT_PAGE, Key, Query, ShortPage

_PLACE = r"^[0-9]{1,10}:[^\u0000]+$"


def _storable(value: str) -> str:
    line, colon, key = value.partition(":")
    if not (colon and key and line.isascii() and line.isdecimal() and len(line) <= 10):  # noqa: PLR2004
        raise ValueError("must be LINE:KEY, as in the Link header")
    if "\0" in key:
        raise ValueError("must not contain a NUL character")
    return value


PlaceText = Annotated[str, Field(json_schema_extra={"pattern": _PLACE}), AfterValidator(_storable)]


class ShadowedQuery(Query):
    """Filters and page of the shadowed rows, ordered by object key and line."""

    user_id: Key | None = Field(None, description="Only rows of this user.", examples=["1000"])
    key: Key | None = Field(
        None, description="Only rows of the object with this key.", examples=["team.csv"]
    )
    limit: ShortPage = Field(SHORT_PAGE, description="Maximum number of rows.")
    after: PlaceText | None = Field(
        None,
        description="Only rows after this place, LINE:KEY, as in the Link header.",
        examples=["2:team.csv"],
    )


class RowPlace(BaseModel):
    """The location of a row in the bucket."""

    key: str = Field(examples=["1000.csv"])
    line: int = Field(examples=[2])
    etag: str = Field(examples=[ETAG_EXAMPLE])
    last_modified: datetime = Field(examples=["2026-01-02T03:04:05Z"])


class ShadowedRow(RowPlace):
    """A valid row superseded by another row of the same user."""

    key: str = Field(examples=["archive/1000.csv"])
    last_modified: datetime = Field(examples=["2026-01-01T03:04:05Z"])
    user_id: str = Field(examples=["1000"])
    first_name: str = Field(examples=["Ann"])
    last_name: str = Field(examples=["Smith"])
    birthts: int = Field(examples=[631152000000])
    extra: dict[str, Any] | None = Field(examples=[None])
    run_id: int = Field(description="The run that recorded the row.", examples=[1])
    lost_by: Literal["last_modified", "key", "line"] = Field(
        description="Why the other row won. `last_modified`: its object is newer. `key`: both"
        " objects are equally new, and its key is smaller. `line`: it is on a later line of the"
        " same object."
    )
    lost_to: RowPlace = Field(description="The row that won.")


class ShadowedRows(BaseModel):
    """A page of shadowed rows."""

    shadowed: list[ShadowedRow]
