"""/storage/health: whether the object store and the database can be read and written."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint
from sqlalchemy import text

from api.http.errors import RETRY_AFTER_SECONDS
from api.routes.health import look_at, reason_for_caller
from api.schemas.health import StorageHealth
from api.security.auth import needs
from api.spec import openapi
from api.state.services import Services, services
from etl.model.errors import ConfigurationError, DatabaseUnavailable, EtlError
from etl.model.roles import Role
from etl.runtime.program import program

bp = APIBlueprint("storage", __name__, tag="Health")

_WELL = {"status": "ok", "latency_ms": 1.2, "reason": None}
_BUCKET = {"exists": True, "writable": True, "reason": None}
_HEALTHY = {
    "status": "ok",
    "database": _WELL,
    "object_store": _WELL,
    "buckets": {"src-data": _BUCKET | {"writable": None}, "processed-data": _BUCKET},
}
_DOWN = _HEALTHY | {
    "status": "down",
    "object_store": {
        "status": "down",
        "latency_ms": None,
        "reason": "Could not list the buckets at http://127.0.0.1:9000: Connection refused.",
    },
    "buckets": {},
}


@bp.get("/storage/health")
@needs(Role.READER)
@bp.output(StorageHealth, description="Both answer and can be written.", example=_HEALTHY)
@bp.doc(
    responses={
        503: {
            "description": "One of them does not, or a bucket is missing; `reason` says why.",
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
    """Tell whether object store and database answer, and can be written.

    Our buckets are written by a tiny put, at most once a minute; the source bucket never is.
    """
    shared = services()
    _, database = look_at(lambda: shared.database_probe.ask(lambda: _check_database(shared)))
    _, store = look_at(shared.store_latency)
    buckets = _buckets(shared) if store["status"] == "ok" else {}
    is_well = database["status"] == store["status"] == "ok" and not _faults(buckets)
    body = {
        "status": "ok" if is_well else "down",
        "database": database,
        "object_store": store,
        "buckets": buckets,
    }
    if is_well:
        return body, 200, {}
    return body, 503, {"Retry-After": str(RETRY_AFTER_SECONDS)}


def _check_database(shared: Services) -> None:
    with shared.database() as connection:
        is_read_only = connection.scalar(
            text("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::bool")
        )
    if is_read_only:
        raise DatabaseUnavailable(
            "PostgreSQL takes no writes: it is a replica, or set to read only."
        )


def _buckets(shared: Services) -> dict[str, dict[str, Any]]:
    return {name: _bucket(shared, name) for name in shared.settings.buckets}


def _bucket(shared: Services, name: str) -> dict[str, Any]:
    is_ours = name != shared.settings.source_bucket
    try:
        if not shared.store.has_bucket(name):
            raise ConfigurationError(
                f"There is no bucket {name!r}; `{program()} migrate` makes it, or correct the"
                " *_BUCKET setting that names it."
            )
        if is_ours:
            shared.write_checks.check(name)
    except EtlError as error:
        exists = not isinstance(error, ConfigurationError)
        return {"exists": exists, "writable": False, "reason": reason_for_caller(error)}
    return {"exists": True, "writable": True if is_ours else None, "reason": None}


def _faults(buckets: dict[str, dict[str, Any]]) -> list[str]:
    return [bucket["reason"] for bucket in buckets.values() if bucket["reason"] is not None]
