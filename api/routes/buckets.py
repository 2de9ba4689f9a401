"""/objects/<bucket>: create and remove buckets."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from apiflask import APIBlueprint

from api.http import bodies
from api.http.errors import Refused, WrongParameters
from api.routes.objects import allow, unknown_bucket
from api.schemas.objects import BucketRights
from api.schemas.query import NoQuery
from api.security.auth import needs
from api.spec import openapi
from api.state.services import services
from etl.model.bucket_names import BUCKET_NAMES, is_bucket_name
from etl.model.roles import Role

bp = APIBlueprint("buckets", __name__, tag="Objects")


@bp.put("/objects/<bucket>")
@needs(Role.ADMIN)
@bp.input(NoQuery, location="query")
@bp.output(BucketRights, 201, description="The bucket is created.")
@bp.doc(responses=openapi.problems(403, 404, 409, 422, 503))
def create_bucket(bucket: str, query_data: NoQuery) -> tuple[dict[str, Any], int]:  # noqa: ARG001
    """Create a bucket.

    The API creates buckets that it may write: those of OBJECT_BUCKETS or, without this setting,
    those of datasets and, in the embedded store, of any name.
    """
    return create(bucket), 201


@bp.delete("/objects/<bucket>")
@needs(Role.ADMIN)
@bp.input(NoQuery, location="query")
@bp.output({}, 204, description="The bucket is removed.")
@bp.doc(responses=openapi.problems(403, 404, 409, 422, 503))
def remove_bucket(bucket: str, query_data: NoQuery) -> tuple[str, int]:  # noqa: ARG001
    """Remove an empty bucket that no setting and no dataset names."""
    remove(bucket)
    return "", 204


def create(bucket: str) -> dict[str, Any]:
    """Create a bucket, and describe it.

    Raises:  WrongParameters, NotFound, and Refused with 403, or 409 if it exists.
    """
    if not is_bucket_name(bucket):
        raise WrongParameters([("bucket", f"must be {BUCKET_NAMES}")])
    shared = services()
    if not may_create_any():
        allow(bucket, "w")
    elif bucket in shared.settings.buckets:
        allow(bucket)
    if shared.store.has_bucket(bucket) or not shared.store.create_bucket(bucket):
        raise Refused(
            HTTPStatus.CONFLICT,
            "bucket-exists",
            f"Bucket {bucket!r} exists already.",
            "Use it as it is, or choose another name.",
        )
    shared.sources.forget()
    rights = bodies.with_sources(shared.settings, shared.sources.get())
    return {"name": bucket, "rights": rights.get(bucket, "rw"), "exists": True}


def may_create_any() -> bool:
    """Whether buckets of any name may be created: only in the embedded store."""
    settings = services().settings
    return settings.embeds_object_store and settings.object_buckets is None


def remove(bucket: str) -> None:
    """Remove an empty bucket.

    Raises:  NotFound, and Refused with 403, or 409 if it is used or not empty.
    """
    allow(bucket, "w")
    shared = services()
    if not shared.store.has_bucket(bucket):
        raise unknown_bucket(bucket)
    user = user_of(bucket)
    if user is not None:
        raise Refused(
            HTTPStatus.CONFLICT,
            "bucket-used",
            f"Bucket {bucket!r} is used by {user}.",
            "Change the setting or the datasets file first.",
        )
    if not (shared.store.is_empty(bucket) and shared.store.remove_bucket(bucket)):
        raise Refused(
            HTTPStatus.CONFLICT,
            "bucket-not-empty",
            f"Bucket {bucket!r} is not empty.",
            "Remove its objects first.",
        )
    shared.sources.forget()


def user_of(bucket: str) -> str | None:
    """The setting or the dataset that names the bucket; None if it may be removed."""
    shared = services()
    for setting in ("source_bucket", "processed_bucket", "thumbnail_bucket", "document_bucket"):
        if getattr(shared.settings, setting) == bucket:
            return f"the setting {setting.upper()}"
    with shared.database(shared.autocommit) as connection:
        datasets = shared.catalog.read(connection).datasets
    names = [name for name, one in datasets.items() if shared.bucket_of(one.dataset) == bucket]
    return f"the dataset {names[0]}" if names else None
