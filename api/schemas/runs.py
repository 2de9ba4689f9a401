"""Runs, and the problems they found."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field

from api.schemas.query import SHORT_PAGE, Id, Key, Query, ShortPage
from etl.model.values import ProblemCode, RunState, Severity, Trigger
from etl.runtime.program import named, naming

# Stored with run.sh commands, and shown with the commands of the running program.
_Note = Annotated[str, AfterValidator(named)]
_Error = Annotated[dict[str, Any], AfterValidator(partial(naming, "hint"))]


class RunsQuery(Query):
    """Which runs are wanted, newest first."""

    state: RunState | None = Field(None, description="Only runs in this state.")
    trigger: Trigger | None = Field(None, description="Only runs that this asked for.")
    limit: ShortPage = Field(SHORT_PAGE, description="At most so many runs.")
    after: Id | None = Field(None, description="Only runs older than the one with this id.")


class ProblemsQuery(Query):
    """Which problems are wanted, in the order they were recorded."""

    code: ProblemCode | None = Field(None, description="Only problems with this code.")
    limit: ShortPage = Field(SHORT_PAGE, description="At most so many problems.")
    after: Id | None = Field(None, description="Only problems recorded after the one with this id.")


class OpenProblemsQuery(ProblemsQuery):
    """Which of the open problems are wanted, in the order they were recorded."""

    key: Key | None = Field(
        None, description="Only problems of the object with this key.", examples=["1000.csv"]
    )


class Run(BaseModel):
    """One run: what asked for it, where it stands, what it did."""

    id: int
    trigger: Trigger
    state: RunState
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    counts: dict[str, int] = Field(description="The run's figures; empty until it has some.")
    error: _Error | None = Field(description="code, message and hint of what went wrong.")
    published_at: datetime | None = Field(description="When output.csv was put for this run.")
    step_seconds: dict[str, float] = Field(
        description="Seconds that the run was at each step, or waited for it."
        " Fetching and parsing go on beside staging: `read` is only what was waited for."
    )
    step_rows: dict[str, int] = Field(
        description="What each step handled: objects listed, rows read, staged, merged, published."
    )


class Runs(BaseModel):
    """A page of runs."""

    runs: list[Run]


class RunProblem(BaseModel):
    """One fault in one row or object."""

    id: int
    code: ProblemCode
    severity: Severity
    key: str
    etag: str
    line: int | None = Field(description="Physical line; null for a fault of the whole object.")
    column: str | None
    value: str | None = Field(description="The raw value, cut and safe to show.")
    note: _Note = Field(description="The fault and how to fix it.")


class RunProblems(BaseModel):
    """A page of a run's problems."""

    problems: list[RunProblem]


class OpenProblem(RunProblem):
    """One fault in an object as it is now."""

    run_id: int = Field(description="The run that found it: the last that read the object.")


class OpenProblems(BaseModel):
    """A page of open problems."""

    problems: list[OpenProblem]
