"""/health: the state of the database, the object store and the last run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from apiflask import APIBlueprint
from sqlalchemy import select

from api.http.errors import RETRY_AFTER_SECONDS
from api.schemas.health import Health
from api.security.auth import caller, no_rate_limit
from api.spec import openapi
from api.state.attention import attention
from api.state.services import Services, services
from etl.db import schema
from etl.db.engine import schemas_of
from etl.db.tables import run
from etl.model.errors import EtlError
from etl.model.roles import Role
from etl.model.values import RunState

if TYPE_CHECKING:
    from collections.abc import Callable

bp = APIBlueprint("health", __name__, tag="Health")

_DOWN = {
    "status": "down",
    "database": {
        "status": "down",
        "latency_ms": None,
        "reason": "PostgreSQL is not available.",
    },
    "object_store": {"status": "ok", "latency_ms": 3.4, "reason": None},
    "last_run": None,
    "attention": None,
}


@bp.get("/health")
@no_rate_limit
@bp.output(Health, description="`ok` or `degraded`: /data is available.")
@bp.doc(
    responses={
        503: {
            "description": "`down`: the database does not respond, or its schema has another"
            " version.",
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/Health"},
                    "example": _DOWN,
                }
            },
        },
        500: openapi.problems()[500],
    }
)
def show_health() -> tuple[dict[str, Any], int, dict[str, str]]:
    """Show the state of the service.

    The status is `degraded` if the object store is down or the last run failed; /data is still
    available. `attention` lists what waits for the operator, and does not change the status. Only
    callers with the role `reader` see more than `status`; other fields are null.
    """
    shared = services()
    found, database = check_health(lambda: shared.database_probe.run(lambda: _facts(shared)))
    last_run, waiting = found or (None, None)
    _, store = check_health(shared.store_latency)
    status = _status(database, store, last_run)
    body: dict[str, Any] = {"status": status}
    if _may_see_details():
        body |= {"database": database, "object_store": store, "last_run": last_run}
        body["attention"] = waiting
    if status == "down":
        return body, 503, {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return body, 200, {}


def _may_see_details() -> bool:
    """Whether the caller may see names of objects and reasons of failures."""
    role = caller().role
    return role is not None and role.includes(Role.READER) and not caller().datasets


def check_health(probe: Callable[[], Any]) -> tuple[Any, dict[str, Any]]:
    """The result of the probe, None if it failed, and the health of the service."""
    started = time.monotonic()
    try:
        found = probe()
    except EtlError as error:
        return None, {"status": "down", "reason": reason_for_caller(error)}
    except TimeoutError:
        return None, {
            "status": "down",
            "reason": f"No response within {services().timeouts.probe:g} s.",
        }
    return found, {"status": "ok", "latency_ms": _milliseconds(time.monotonic() - started)}


def reason_for_caller(error: EtlError) -> str:
    """The reason of a failure; only admins see addresses and error texts of servers."""
    role = caller().role
    return error.message if role is not None and role.includes(Role.ADMIN) else error.public_message


def _facts(shared: Services) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The run that started last, which does not always have the highest ID, and the attention.

    Raises:  NewerSchema or OlderSchema, even if the statement would succeed.
    """
    started_runs = select(run).where(run.c.started_at.is_not(None))
    statement = started_runs.order_by(run.c.started_at.desc()).limit(1)
    with shared.database() as connection:
        schema.check(schema.versions(connection, schemas_of(shared.engine)))
        row = connection.execute(statement).mappings().one_or_none()
        last_run = None if row is None else dict(row)
        return last_run, attention(connection)


def _status(
    database: dict[str, Any], store: dict[str, Any], last_run: dict[str, Any] | None
) -> str:
    if database["status"] == "down":
        return "down"
    has_failed = last_run is not None and last_run["state"] == RunState.FAILED
    return "degraded" if store["status"] == "down" or has_failed else "ok"


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 2)
