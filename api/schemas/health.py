"""Whether what we depend on is well."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from api.schemas.runs import Run


class ServiceHealth(BaseModel):
    """Whether something we depend on answers."""

    status: Literal["ok", "down"]
    latency_ms: float | None = Field(None, description="How long it took to answer.")
    reason: str | None = Field(None, description="Why it counts as down.")


class Health(BaseModel):
    """`down` without the database; `degraded` without the store or after a failed run."""

    status: Literal["ok", "degraded", "down"]
    database: ServiceHealth | None = Field(None, description="Only for readers.")
    object_store: ServiceHealth | None = Field(None, description="Only for readers.")
    last_run: Run | None = Field(
        None, description="The newest run that has begun; only for readers."
    )


class BucketHealth(BaseModel):
    """One of our buckets."""

    exists: bool
    writable: bool | None = Field(description="null for the source bucket, which is never tried.")
    reason: str | None


class StorageHealth(BaseModel):
    """Whether database and object store can be read and written."""

    status: Literal["ok", "down"]
    database: ServiceHealth
    object_store: ServiceHealth
    buckets: dict[str, BucketHealth] = Field(description="By name; empty without the store.")
