"""/metrics for Prometheus, and the probes /livez and /readyz."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apiflask import APIBlueprint
from flask import Response
from sqlalchemy import text

from api.http.errors import RETRY_AFTER_SECONDS
from api.http.exposition import CONTENT_TYPE, Family, Kind, exposition
from api.routes.health import check_health
from api.routes.metric_families import STORED
from api.schemas.health import ProbeHealth
from api.security.auth import needs, no_rate_limit
from api.spec import openapi
from api.state.services import services
from etl import __version__
from etl.db import runs, schema
from etl.db.engine import schemas_of
from etl.db.sql import statements
from etl.model.dataset import USERS
from etl.model.errors import EtlError
from etl.model.roles import Role

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from api.state.services import Services
    from etl.runtime.measures import Labels, Timings

bp = APIBlueprint("metrics", __name__, tag="Health")

_UP = {"status": "ok"}
_DOWN = {"status": "down"}
_EXAMPLE = """\
# HELP bucketline_rows Live rows.
# TYPE bucketline_rows gauge
bucketline_rows{dataset="users"} 48221
"""


# -- GET /livez, GET /readyz


@bp.get("/livez")
@no_rate_limit
@bp.output(ProbeHealth, description="The process responds.")
@bp.doc(responses=openapi.problems())
def show_liveness() -> dict[str, str]:
    """Respond, whatever the state of the database and the store.

    A process that does not respond has to be restarted.
    """
    return _UP


@bp.get("/readyz")
@no_rate_limit
@bp.output(ProbeHealth, description="/data is available.")
@bp.doc(
    responses={
        503: {
            "description": "The database does not respond, or its schema has another version.",
            "headers": openapi.RETRY_AFTER,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/ProbeHealth"},
                    "example": _DOWN,
                }
            },
        },
        500: openapi.problems()[500],
    }
)
def show_readiness() -> tuple[dict[str, str], int, dict[str, str]]:
    """Show whether the process can serve /data: the database responds, with the right schema.

    The object store is not needed, as for `ok` and `degraded` of /health.
    """
    shared = services()
    _, database = check_health(lambda: shared.database_probe.run(lambda: _check_schema(shared)))
    if database["status"] == "down":
        return _DOWN, 503, {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return _UP, 200, {}


def _check_schema(shared: Services) -> None:
    with shared.database() as connection:
        schema.check(schema.versions(connection, schemas_of(shared.engine)))


# -- GET /metrics


@bp.get("/metrics")
@needs(Role.READER, is_rate_limited=False)
@bp.doc(
    responses={
        200: {
            "description": "The metrics, as text of Prometheus.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        },
        **openapi.problems(),
    }
)
def show_metrics() -> Response:
    """Show the metrics of this installation and of this process.

    Runs, rows, problems and events are counted in the database, so they are the same in every
    process, survive restarts, and advance only when a run commits. While the database is
    unavailable, they are left out. The rest is what this process has measured since its start.
    """
    return Response(
        exposition([*_stored(services()), *_measured(services())]), content_type=CONTENT_TYPE
    )


def _stored(shared: Services) -> Iterator[Family]:
    """The metrics from the database, and whether it responds."""
    try:
        found, failing = shared.metrics_probe.run(lambda: _read(shared))
    except (EtlError, TimeoutError):
        yield _up("database", is_up=False)
        return
    yield _up("database", is_up=True)
    datasets = [labels[0] for labels in found.get("rows", {})] or [USERS.name]
    found["failing"] = {(name,): 1 for name in datasets if name in failing}
    for one in STORED:
        yield one.family(found.get(one.key, {}), datasets)


def _read(shared: Services) -> tuple[dict[str, dict[Labels, float]], Collection[str]]:
    """The numbers by metric and labels, and the datasets that failed last."""
    found: dict[str, dict[Labels, float]] = {}
    with shared.database(shared.autocommit) as connection:
        for row in connection.execute(text(statements("metrics")["numbers"])):
            found.setdefault(row.family, {})[tuple(row.labels)] = float(row.number)
        return found, runs.failing_datasets(connection)


def _up(part: str, *, is_up: bool) -> Family:
    return Family(
        f"bucketline_{part}_up", Kind.GAUGE, f"Whether the {part} responds.", numbers={(): is_up}
    )


def _measured(shared: Services) -> Iterator[Family]:
    """The metrics of this process."""
    latency = shared.store_watch.last().seconds
    yield _up("store", is_up=latency is not None)
    yield Family(
        "bucketline_build_info",
        Kind.GAUGE,
        "The version; always 1.",
        ("version",),
        {(__version__,): 1},
    )
    measures = shared.measures
    yield Family(
        "bucketline_http_request_duration_seconds",
        Kind.HISTOGRAM,
        "Seconds from the request to the end of its response, by route and class of status.",
        ("route", "status"),
        durations=measures.requests.durations(),
    )
    yield from _timed(
        "database_statement", "database", "Statements of the API.", measures.statements
    )
    try:
        timings = shared.store.timings
    except EtlError:  # its settings are incomplete
        return
    yield from _timed(
        "store_request", "store", "Requests to the object store.", timings, ("operation",)
    )


def _timed(
    name: str, part: str, what: str, timings: Timings, labels: tuple[str, ...] = ()
) -> Iterator[Family]:
    yield Family(
        f"bucketline_{name}_duration_seconds",
        Kind.HISTOGRAM,
        f"Seconds that they took. {what}",
        labels,
        durations=timings.durations(),
    )
    yield Family(
        f"bucketline_{part}_errors_total",
        Kind.COUNTER,
        f"Those that failed because the {part} was unavailable. {what}",
        labels,
        dict(timings.errors()),
    )
