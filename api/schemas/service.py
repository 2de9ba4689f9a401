"""The service itself: its routes, and how it tells of errors."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Route(BaseModel):
    """One route of the index."""

    path: str
    methods: list[str]
    summary: str


class Index(BaseModel):
    """What this server is, and where to go."""

    name: str
    version: str
    routes: list[Route]


class FaultyParameter(BaseModel):
    """One parameter at fault."""

    parameter: str
    message: str


class ProblemDocument(BaseModel):
    """An error as RFC 9457 describes it, with a hint what to do."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    hint: str
    request_id: str = Field("", description="What the API's log calls this request.")
    errors: list[FaultyParameter] | None = Field(None, description="Only with status 422.")
    available: list[str] | None = Field(
        None, description="Only with status 406: the media types there are."
    )
