"""Schemas of the check of a file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from api.schemas.query import Key, Query
from etl.model.values import ObjectState, ProblemCode, Severity
from etl.runtime.program import named


class CheckQuery(Query):
    """The key under which the file is checked."""

    key: Key | None = Field(
        None,
        description="Key that the object will have; it decides the dataset. Required, unless the"
        " body is a form.",
        examples=["orders/2026-01.csv"],
    )


class FoundProblem(BaseModel):
    """One problem that a run would record, with the line that it is about."""

    code: ProblemCode = Field(examples=["not-a-number"])
    severity: Severity
    line: int | None = Field(
        description="Physical line or row number; null for a problem of the whole file.",
        examples=[3],
    )
    column: str | None = Field(examples=["amount"])
    value: str | None = Field(
        description="The raw value, truncated and escaped.", examples=["12,50 EUR"]
    )
    note: Annotated[str, AfterValidator(named)] = Field(
        description="The problem and how to fix it.", examples=["Write amount as a number."]
    )
    raw_line: str | None = Field(
        description="The line as it is, cut after 1,000 characters; null if the format has no"
        " lines.",
        examples=["DE-000018;12,50 EUR;paid"],
    )


class FileReport(BaseModel):
    """What a run would say of the file."""

    key: str = Field(examples=["orders/2026-01.csv"])
    dataset: str | None = Field(
        description="The dataset that the key belongs to; null if none reads it.",
        examples=["orders"],
    )
    kind: Literal["rows", "image", "other"] = Field(
        description="`rows`: a file that the dataset reads. `image`: an attachment, which a run"
        " joins to a row by its name. `other`: nothing reads it."
    )
    is_accepted: bool = Field(
        description="Whether a run would reject nothing. Other objects and stored rows, with which"
        " a row may compete, are not considered.",
        examples=[False],
    )
    state: ObjectState | None = Field(
        description="`quarantined`: no row would be loaded. Null for files without rows.",
        examples=["loaded"],
    )
    rows_read: int = Field(examples=[100])
    rows_good: int = Field(examples=[99])
    rows_rejected: int = Field(examples=[1])
    kept_in_extra: list[str] = Field(
        description="Names of columns that are not declared, whose values go to `_extra`; about 100"
        " at most.",
        examples=[["note"]],
    )
    added_columns: list[str] = Field(
        description="Columns that a run would add to the table, because the dataset has"
        ' `unknown_columns = "add"`; about 100 at most.',
        examples=[[]],
    )
    problems: list[FoundProblem] = Field(
        description="At most 1,000 of rows; `more-problems` has the number of the others."
    )
    note: str | None = Field(
        description="What becomes of a file without rows, or which dataset may be meant.",
        examples=[None],
    )
