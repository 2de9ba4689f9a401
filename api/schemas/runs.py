"""Schemas of /runs and /problems."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field

from api.schemas.query import ETAG_EXAMPLE, SHORT_PAGE, DatasetName, Id, Key, Query, ShortPage
from etl.model.values import ProblemCode, RunState, Severity, Trigger
from etl.runtime.program import named, naming

# Stored texts name run.sh commands; responses name the commands of the running program.
_Note = Annotated[str, AfterValidator(named)]
_Error = Annotated[dict[str, Any], AfterValidator(partial(naming, "hint"))]


class RunsQuery(Query):
    """Filters and page of the runs, newest first."""

    state: RunState | None = Field(None, description="Only runs in this state.")
    trigger: Trigger | None = Field(None, description="Only runs with this trigger.")
    limit: ShortPage = Field(SHORT_PAGE, description="Maximum number of runs per page.")
    after: Id | None = Field(None, description="Only runs older than the one with this ID.")


class ProblemsQuery(Query):
    """Filters and page of the problems, in the order in which they were recorded."""

    code: ProblemCode | None = Field(None, description="Only problems with this code.")
    limit: ShortPage = Field(SHORT_PAGE, description="Maximum number of problems per page.")
    after: Id | None = Field(None, description="Only problems recorded after the one with this ID.")


class OpenProblemsQuery(ProblemsQuery):
    """Filters and page of the open problems, in the order in which they were recorded."""

    key: Key | None = Field(
        None, description="Only problems of this object key.", examples=["1000.csv"]
    )
    bucket: Key | None = Field(
        None, description="Only problems of objects in this bucket.", examples=["src-data"]
    )


class AllProblemsQuery(OpenProblemsQuery):
    """Filters and page of the open problems of all datasets."""

    dataset: DatasetName | None = Field(
        None, description="Only problems of this dataset.", examples=["users"]
    )


class Run(BaseModel):
    """One run: its trigger, state and results."""

    id: int = Field(examples=[2])
    trigger: Trigger = Field(examples=["request"])
    state: RunState = Field(examples=["succeeded"])
    requested_at: datetime = Field(examples=["2026-01-02T03:04:05Z"])
    started_at: datetime | None = Field(examples=["2026-01-02T03:04:05.010000Z"])
    finished_at: datetime | None = Field(examples=["2026-01-02T03:04:05.300000Z"])
    counts: dict[str, int] = Field(
        description="Counters of the run; empty before they are recorded.",
        examples=[{"objects_listed": 2, "rows_read": 2, "rows_loaded": 2}],
    )
    error: _Error | None = Field(
        description="Code, message and hint of the error.", examples=[None]
    )
    published_at: datetime | None = Field(
        description="When output.csv was published for this run.",
        examples=["2026-01-02T03:04:05.400000Z"],
    )
    step_seconds: dict[str, float] = Field(
        description="Seconds that the run spent in each step or waiting for it. Fetching and"
        " parsing overlap with staging, so `read` only counts the time spent waiting for them.",
        examples=[{"list": 0.02, "read": 0.05, "stage": 0.02, "merge": 0.1, "publish": 0.1}],
    )
    step_rows: dict[str, int] = Field(
        description="Items per step: objects listed, and rows read, staged, merged and published."
        " `swap` counts the rows of new tables that replaced empty ones.",
        examples=[{"list": 2, "read": 2, "stage": 2, "merge": 2, "publish": 2}],
    )
    step_spans: dict[str, tuple[float, float]] = Field(
        description="When each step began and ended, in seconds after the start of the run.",
        examples=[{"list": [0.0, 0.02], "merge": [0.1, 0.2]}],
    )


class Runs(BaseModel):
    """A page of runs."""

    runs: list[Run]


class RunProblem(BaseModel):
    """One problem with a row or an object."""

    id: int = Field(examples=[1])
    code: ProblemCode = Field(examples=["not-an-integer"])
    severity: Severity
    bucket: str = Field(examples=["src-data"])
    dataset: str | None = Field(
        description="The dataset of the object; null if it belongs to none.", examples=["users"]
    )
    key: str = Field(examples=["1000.csv"])
    etag: str = Field(examples=[ETAG_EXAMPLE])
    line: int | None = Field(
        description="Physical line; null for a problem of the whole object.", examples=[2]
    )
    column: str | None = Field(examples=["birthts"])
    value: str | None = Field(
        description="The raw value, truncated and escaped.", examples=["31.12.1999"]
    )
    note: _Note = Field(
        description="The problem and how to fix it.",
        examples=[
            "Write birthts as integer milliseconds since 1970-01-01 UTC, or as an ISO 8601 date."
        ],
    )


class RunProblems(BaseModel):
    """A page of a run's problems."""

    problems: list[RunProblem]


class OpenProblem(RunProblem):
    """One problem with the current version of an object."""

    run_id: int = Field(
        description="The run that found the problem: the last one that read the object.",
        examples=[1],
    )


class OpenProblems(BaseModel):
    """A page of open problems."""

    problems: list[OpenProblem]
