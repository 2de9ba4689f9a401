"""Schemas of the rows of datasets that GET /data does not return."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

from api.schemas.query import SHORT_PAGE, Key, Query, ShortPage

_PLACE = r"^[0-9]{1,10}:[^\u0000]+$"


def _storable(value: str) -> str:
    line, colon, key = value.partition(":")
    if not (colon and key and line.isascii() and line.isdecimal() and len(line) <= 10):  # noqa: PLR2004
        raise ValueError("must be LINE:KEY, as in the Link header")
    if "\0" in key:
        raise ValueError("must not hold a NUL character")
    return value


PlaceText = Annotated[str, Field(json_schema_extra={"pattern": _PLACE}), AfterValidator(_storable)]


class ShadowedQuery(Query):
    """Which shadowed rows are wanted, in the order of their objects and lines."""

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
    """Where a row is in the bucket."""

    key: str
    line: int
    etag: str
    last_modified: datetime


class ShadowedRow(RowPlace):
    """A valid row that lost to another row of the same user."""

    user_id: str
    first_name: str
    last_name: str
    birthts: int
    extra: dict[str, Any] | None
    run_id: int = Field(description="The run that recorded it.")
    lost_by: Literal["last_modified", "key", "line"] = Field(
        description="Why the other row won: its object is newer; both objects are equally new and"
        " its key is smaller; or it is on a later line of the same object."
    )
    lost_to: RowPlace = Field(description="The row that won.")


class ShadowedRows(BaseModel):
    """A page of shadowed rows."""

    shadowed: list[ShadowedRow]
