"""Schemas of the rows of datasets."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, RootModel, model_validator

from api.rows.requests import PARAMETERS
from api.schemas.data import MAX_PAGE, Page
from api.schemas.datasets import ShadowedRow
from api.schemas.query import ETAG_EXAMPLE, Key, Query

_ROW: dict[str, JsonValue] = {
    "order_id": "DE-000017",
    "user_id": "1000",
    "amount": 12.5,
    "status": "paid",
}

FilterText = Annotated[str, Field(min_length=1)]


class RowsQuery(Query):
    """Fields, page and format of the rows to return; all other parameters are filters."""

    limit: Page | None = Field(
        None,
        description=f"Maximum number of rows per page, up to {MAX_PAGE:,}. Without it, all rows"
        " are returned.",
        examples=[1000],
    )
    after: Key | None = Field(
        None, description="Only rows after this one, as in the Link header: the key of a row."
    )
    fields: Key | None = Field(
        None,
        description="Comma-separated columns to return, in this order; `*` stands for all declared"
        " columns. Names with commas are written in double quotes. Columns that begin with `_` are"
        " returned only if they are named here.",
    )
    format: Literal["json", "ndjson", "csv", "parquet", "arrow"] | None = Field(
        None, description="Response format; takes precedence over the Accept header."
    )

    @model_validator(mode="before")
    @classmethod
    def _reject_unknown_parameters(cls, parameters: dict[str, str]) -> dict[str, str]:
        """Leave out the filters, which are checked against the columns of the dataset."""
        return {name: value for name, value in parameters.items() if name in PARAMETERS}


class RowArray(RootModel[list[dict[str, Any]]]):
    """Rows: the values of their columns by name."""

    model_config = ConfigDict(json_schema_extra={"examples": [[_ROW]]})


class RetiredRowArray(RootModel[list[dict[str, Any]]]):
    """Retired rows: the values of their columns by name, and the time of their retirement."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [[_ROW | {"_retired_at": "2026-01-03T03:04:05.000000Z"}]]}
    )


class RowLineage(BaseModel):
    """The source of a row's values."""

    bucket: str = Field(examples=["src-data"])
    key: str = Field(examples=["orders/2026-01.csv"])
    etag: str | None = Field(
        description="ETag of the object when it was last read.", examples=[ETAG_EXAMPLE]
    )
    line: int = Field(description="Physical line or row number in the object.", examples=[2])
    run_id: int = Field(description="The run that last changed this row.", examples=[1])
    updated_at: datetime = Field(examples=["2026-01-02T03:04:05Z"])


class DatasetRow(BaseModel):
    """One row with its source."""

    row: dict[str, Any] = Field(description="The values of the columns by name.", examples=[_ROW])
    extra: dict[str, Any] | None = Field(
        description="Columns of the file that are not declared.", examples=[None]
    )
    lineage: RowLineage
    shadowed: list[ShadowedRow] = Field(description="The rows that this one supersedes, up to 100.")
