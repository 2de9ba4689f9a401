"""Schemas of /health and /storage/health."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from api.schemas.runs import Run


class ServiceHealth(BaseModel):
    """Whether the database or the object store responds."""

    status: Literal["ok", "down"]
    latency_ms: float | None = Field(
        None, description="Response time in milliseconds.", examples=[1.2]
    )
    reason: str | None = Field(None, description="Why the service counts as down.", examples=[None])


class Attention(BaseModel):
    """Something that waits for the operator, while the service works."""

    kind: Literal["hold", "dataset-failed", "datasets-file", "bucket-failed"] = Field(
        description="`hold`: retirements wait for permission. `dataset-failed`: the last run did"
        " not commit the dataset. `datasets-file`: its newest version has faults, and runs use the"
        " one before. `bucket-failed`, in /storage/health only: a bucket of datasets cannot"
        " be used."
    )
    dataset: str | None = Field(
        description="Null for `datasets-file` and `bucket-failed`.", examples=["orders"]
    )
    rows: int | None = Field(None, description="The rows of a hold.", examples=[1200])
    message: str = Field(
        examples=["1200 of 2000 rows of orders would be retired, and wait for permission."]
    )
    hint: str = Field(
        description="What to do.",
        examples=["Allow it: `bucketline run --allow-mass-retirement orders`."],
    )


class Health(BaseModel):
    """`down` without the database; `degraded` without the object store or after a failed run."""

    status: Literal["ok", "degraded", "down"]
    database: ServiceHealth | None = Field(
        None, description="Only for callers with the role `reader`."
    )
    object_store: ServiceHealth | None = Field(
        None, description="Only for callers with the role `reader`."
    )
    last_run: Run | None = Field(
        None, description="The run that started last. Only for callers with the role `reader`."
    )
    attention: list[Attention] | None = Field(
        None,
        description="What waits for the operator; it does not change `status`."
        " Only for callers with the role `reader`.",
    )


class ProbeHealth(BaseModel):
    """The answer to a probe."""

    status: Literal["ok", "down"]


class BucketHealth(BaseModel):
    """The state of one bucket."""

    exists: bool = Field(examples=[True])
    writable: bool | None = Field(
        description="Null for the source bucket, to which the check never writes.", examples=[True]
    )
    reason: str | None = Field(examples=[None])


class StorageHealth(BaseModel):
    """Whether the database and the object store are readable and writable."""

    status: Literal["ok", "down"]
    database: ServiceHealth
    object_store: ServiceHealth
    buckets: dict[str, BucketHealth] = Field(
        description="Buckets by name; empty if the store is down.",
        examples=[
            {
                "src-data": {"exists": True, "writable": None, "reason": None},
                "processed-data": {"exists": True, "writable": True, "reason": None},
            }
        ],
    )
    attention: list[Attention] = Field(
        description="Buckets of datasets that cannot be used; they do not change `status`.",
        examples=[[]],
    )
