"""/storage/health: whether the object store and the database are readable and writable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apiflask import APIBlueprint
from sqlalchemy import text

from api.http.errors import RETRY_AFTER_SECONDS
from api.routes.health import check_health, reason_for_caller
from api.schemas.health import StorageHealth
from api.security.auth import needs
from api.spec import openapi
from api.state.attention import item
from api.state.services import Services, services
from etl.model.errors import ConfigurationError, DatabaseUnavailable, EtlError
from etl.model.roles import Role
from etl.runtime.program import named
from etl.storage.store_errors import bucket_remedy

if TYPE_CHECKING:
    from collections.abc import Iterable

bp = APIBlueprint("storage", __name__, tag="Health")

_DOWN = {
    "status": "down",
    "database": {"status": "ok", "latency_ms": 1.2, "reason": None},
    "object_store": {
        "status": "down",
        "latency_ms": None,
        "reason": "Could not list the buckets at http://127.0.0.1:9000: Connection refused.",
    },
    "buckets": {},
    "attention": [],
}


_HINT = "Its datasets are not synced until it can be used; all others are."


@bp.get("/storage/health")
@needs(Role.READER)
@bp.output(
    StorageHealth, description="The database and our own buckets are available and writable."
)
@bp.doc(
    responses={
        503: {
            "description": "A service or one of our own buckets is unavailable; `reason` says why.",
            "headers": openapi.RETRY_AFTER,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/StorageHealth"},
                    "example": _DOWN,
                }
            },
        },
        500: openapi.problems()[500],
    }
)
def show_storage_health() -> tuple[dict[str, Any], int, dict[str, str]]:
    """Check whether the object store and the database are available and writable.

    The check writes a small object to each bucket at most once per minute, but never to a source
    bucket. A bucket that only datasets name and that cannot be used is listed in `attention`.
    """
    shared = services()
    _, database = check_health(lambda: shared.database_probe.run(lambda: _check_database(shared)))
    _, store = check_health(shared.store_latency)
    sources = shared.sources.get() if database["status"] == "ok" else shared.sources.known
    buckets = _buckets(shared, sources) if store["status"] == "ok" else {}
    failed = {name: one["reason"] for name, one in buckets.items() if one["reason"] is not None}
    own = shared.settings.buckets
    is_healthy = database["status"] == store["status"] == "ok" and failed.keys().isdisjoint(own)
    body = {
        "status": "ok" if is_healthy else "down",
        "database": database,
        "object_store": store,
        "buckets": buckets,
        "attention": [
            item("bucket-failed", reason, _HINT)
            for name, reason in failed.items()
            if name not in own
        ],
    }
    if is_healthy:
        return body, 200, {}
    return body, 503, {"Retry-After": str(RETRY_AFTER_SECONDS)}


def _check_database(shared: Services) -> None:
    with shared.database() as connection:
        is_read_only = connection.scalar(
            text("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool")
        )
    if is_read_only:
        raise DatabaseUnavailable(
            "PostgreSQL is read-only: it is a replica, or default_transaction_read_only is on."
        )


def _buckets(shared: Services, named: Iterable[str]) -> dict[str, dict[str, Any]]:
    sources = {shared.settings.source_bucket, *named}
    others = sorted(sources.difference(shared.settings.buckets))
    return {
        name: _bucket(shared, name, is_checked=name not in sources)
        for name in (*shared.settings.buckets, *others)
    }


def _bucket(shared: Services, name: str, *, is_checked: bool) -> dict[str, Any]:
    try:
        if not shared.store.has_bucket(name):
            remedy = named(bucket_remedy(name, shared.settings.buckets))
            raise ConfigurationError(f"There is no bucket {name!r}. {remedy}")
        if is_checked:
            shared.write_checks.check(name)
    except EtlError as error:
        exists = not isinstance(error, ConfigurationError)
        return {"exists": exists, "writable": False, "reason": reason_for_caller(error)}
    return {"exists": True, "writable": True if is_checked else None, "reason": None}
