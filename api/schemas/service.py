"""Schemas of the index and of error responses."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Route(BaseModel):
    """One route of the index."""

    path: str = Field(examples=["/data"])
    methods: list[str] = Field(examples=[["GET"]])
    summary: str = Field(examples=["List the users."])


class Index(BaseModel):
    """The name, version and routes of this server."""

    name: str = Field(examples=["Bucketline"])
    version: str = Field(examples=["0.1.0"])
    routes: list[Route]


class FaultyParameter(BaseModel):
    """One invalid parameter."""

    parameter: str
    message: str


class ProblemDocument(BaseModel):
    """Problem details as defined by RFC 9457, with a hint on how to fix the problem."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    hint: str
    request_id: str = Field("", description="ID of this request in the API's log.")
    errors: list[FaultyParameter] | None = Field(None, description="Only with status 422.")
    available: list[str] | None = Field(
        None, description="Only with status 406: the available media types."
    )
