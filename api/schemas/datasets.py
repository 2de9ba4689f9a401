"""Schemas of the rows of datasets that GET /data does not return."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, model_validator

from api.schemas.query import ETAG_EXAMPLE, SHORT_PAGE, Key, Query, ShortPage
from etl.model.values import RunState

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

    user_id: Key | None = Field(
        None, description="Of `users`: only rows of this user.", examples=["1000"]
    )
    key: Key | None = Field(
        None, description="Only rows of the object with this key.", examples=["team.csv"]
    )
    limit: ShortPage = Field(SHORT_PAGE, description="Maximum number of rows.")
    after: PlaceText | None = Field(
        None,
        description="Only rows after this place, LINE:KEY, as in the Link header.",
        examples=["2:team.csv"],
    )

    @model_validator(mode="before")
    @classmethod
    def _reject_unknown_parameters(cls, parameters: dict[str, str]) -> dict[str, str]:
        """Leave out the filters, which are checked against the columns of the dataset."""
        return {name: one for name, one in parameters.items() if name in cls.model_fields}


class RowPlace(BaseModel):
    """The location of a row in the bucket."""

    key: str = Field(examples=["1000.csv"])
    line: int = Field(examples=[2])
    etag: str = Field(examples=[ETAG_EXAMPLE])
    last_modified: datetime = Field(examples=["2026-01-02T03:04:05Z"])


class ShadowedUser(RowPlace):
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


class ShadowedRow(RowPlace):
    """A valid row superseded by another row with the same key."""

    row: dict[str, Any] = Field(
        description="The values of the columns by name.",
        examples=[{"order_id": "DE-000017", "status": "new"}],
    )
    extra: dict[str, Any] | None = Field(
        description="Columns of the file that are not declared.", examples=[None]
    )
    run_id: int = Field(description="The run that recorded the row.", examples=[1])
    lost_by: Literal["prefer", "last_modified", "key", "line"] = Field(
        description="Why the other row won. `prefer`: its value of the preferred column is greater;"
        " the others as for users."
    )
    lost_to: RowPlace = Field(description="The row that won.")


class ShadowedRows(BaseModel):
    """A page of shadowed rows."""

    shadowed: list[ShadowedUser | ShadowedRow]


# -- the datasets


class RowCounts(BaseModel):
    """The numbers of rows of a dataset."""

    rows: int = Field(description="Rows of its table.", examples=[100])
    retired: int = Field(description="Rows that left the bucket.", examples=[0])
    shadowed: int = Field(description="Rows that another row supersedes.", examples=[0])


class DatasetRun(BaseModel):
    """The last run that finished, with what it did to a dataset."""

    id: int = Field(examples=[2])
    state: RunState = Field(examples=["succeeded"])
    finished_at: datetime = Field(examples=["2026-01-02T03:04:05.300000Z"])
    counts: dict[str, int] = Field(
        description="Its counters for this dataset.",
        examples=[{"rows_read": 100, "rows_loaded": 100, "inserted": 100}],
    )


class Hold(BaseModel):
    """Retirements that wait for permission."""

    run_id: int = Field(description="The run that opened the hold.", examples=[2])
    opened_at: datetime = Field(examples=["2026-01-02T03:04:05Z"])
    rows: int = Field(description="Rows that would be retired.", examples=[120])
    live: int = Field(description="Rows of the table when the hold was opened.", examples=[200])


class DatasetSummary(BaseModel):
    """A dataset and the numbers of its rows and problems."""

    name: str = Field(examples=["users"])
    table: str = Field(description="`schema.table` in PostgreSQL.", examples=["public.users"])
    counts: RowCounts
    open_problems: int = Field(examples=[0])
    last_run: DatasetRun | None
    hold: Hold | None = Field(description="Null if no retirements wait.")


class Datasets(BaseModel):
    """The datasets that the caller may see."""

    datasets: list[DatasetSummary]


class DatasetColumn(BaseModel):
    """A column of a dataset's rows."""

    name: str = Field(examples=["birthts"])
    type: str | None = Field(
        description="The type of the field; null if the column is not declared as one.",
        examples=["epoch-ms"],
    )
    sql: str = Field(description="The type in PostgreSQL.", examples=["bigint"])
    kind: Literal["declared", "path", "derived", "attachment", "added", "system"]
    operators: list[str] = Field(
        description="The operators of its filters.", examples=[["eq", "gt", "in"]]
    )


class DatasetDetails(DatasetSummary):
    """A dataset with its declaration, columns and problems by code."""

    declaration: dict[str, Any] = Field(
        description="The declaration that runs use.", examples=[{"name": "users", "table": "users"}]
    )
    columns: list[DatasetColumn]
    channel: str = Field(
        description="The PostgreSQL channel that is notified when a run changes its rows.",
        examples=["bucketline_users"],
    )
    problems: dict[str, int] = Field(
        description="Open problems by code.", examples=[{"short-row": 1}]
    )


class ColumnStats(BaseModel):
    """The values of a column; `min` and `max` are null for types without an order."""

    nulls: int = Field(examples=[0])
    distinct: int = Field(examples=[100])
    min: Any = Field(description="The least value, as in a row.", examples=[0])
    max: Any = Field(description="The greatest value, as in a row.", examples=[631152000000])


class DatasetStats(BaseModel):
    """The number of rows, and the values of each column by name."""

    count: int = Field(examples=[100])
    columns: dict[str, ColumnStats] = Field(
        examples=[{"birthts": {"nulls": 0, "distinct": 100, "min": 0, "max": 631152000000}}]
    )
