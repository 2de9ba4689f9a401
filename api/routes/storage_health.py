"""/storage/health: whether the object store and the database are readable and writable."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint
from sqlalchemy import text

from api.http.errors import RETRY_AFTER_SECONDS
from api.routes.health import check_health, reason_for_caller
from api.schemas.health import StorageHealth
from api.security.auth import needs
from api.spec import openapi
from api.state.services import Services, services
from etl.model.errors import ConfigurationError, DatabaseUnavailable, EtlError
from etl.model.roles import Role
from etl.runtime.program import program

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
}


@bp.get("/storage/health")
@needs(Role.READER)
@bp.output(StorageHealth, description="The database and all buckets are available and writable.")
@bp.doc(
    responses={
        503: {
            "description": "A service or a bucket is unavailable; `reason` names the cause.",
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
    bucket.
    """
    shared = services()
    _, database = check_health(lambda: shared.database_probe.run(lambda: _check_database(shared)))
    _, store = check_health(shared.store_latency)
    buckets = _buckets(shared) if store["status"] == "ok" else {}
    is_healthy = database["status"] == store["status"] == "ok" and all(
        bucket["reason"] is None for bucket in buckets.values()
    )
    body = {
        "status": "ok" if is_healthy else "down",
        "database": database,
        "object_store": store,
        "buckets": buckets,
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


def _buckets(shared: Services) -> dict[str, dict[str, Any]]:
    sources = {shared.settings.source_bucket, *shared.sources.get()}
    others = sorted(sources.difference(shared.settings.buckets))
    return {
        name: _bucket(shared, name, is_checked=name not in sources)
        for name in (*shared.settings.buckets, *others)
    }


def _bucket(shared: Services, name: str, *, is_checked: bool) -> dict[str, Any]:
    try:
        if not shared.store.has_bucket(name):
            raise ConfigurationError(f"There is no bucket {name!r}. {_missing(shared, name)}")
        if is_checked:
            shared.write_checks.check(name)
    except EtlError as error:
        exists = not isinstance(error, ConfigurationError)
        return {"exists": exists, "writable": False, "reason": reason_for_caller(error)}
    return {"exists": True, "writable": True if is_checked else None, "reason": None}


def _missing(shared: Services, name: str) -> str:
    if name in shared.settings.buckets:
        return (
            f"Create it with `{program()} migrate`, or correct the *_BUCKET setting that names it."
        )
    return "Create it, or correct `bucket` in the datasets file."
