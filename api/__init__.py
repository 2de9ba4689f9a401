"""The HTTP API and the dashboard: `create_app(settings)` creates the app, a blueprint per resource.

It reads PostgreSQL and requests runs; it never executes one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask.json.provider import DefaultJSONProvider

from api import ui
from api.http import checks, errors, methods, ranges
from api.http.addresses import RawPathFlask
from api.http.converters import AnyTextConverter, DocumentNameConverter, RunIdConverter
from api.routes import (
    buckets,
    check,
    data,
    dataset_rows,
    datasets,
    docs,
    documents,
    events,
    health,
    index,
    metrics,
    objects,
    problems,
    runs,
    stats,
    storage_health,
    user_images,
)
from api.routes.webhook_fast_path import WebhookFastPath
from api.security import auth, headers, origins
from api.spec import descriptions, key_docs, openapi, schema_names
from api.state.services import (
    JSON_SCALAR_VERSION,
    TIMEOUTS,
    Services,
    Timeouts,
    install,
    utc_today,
)
from etl import __version__
from etl.db.engine import connect

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from apiflask import APIFlask

    from etl.settings import Settings

POOL_SIZE = 12  # half of the server's threads; if the database hangs, the others stay available


def create_app(
    settings: Settings,
    *,
    today: Callable[[], date] = utc_today,
    timeouts: Timeouts = TIMEOUTS,
    json_scalar_version: int = JSON_SCALAR_VERSION,
) -> APIFlask:
    """The API for one database and one object store; neither needs to be up yet.

    `today` returns the UTC date at which ages are calculated. Servers older than
    `json_scalar_version` get to_json() instead of json_scalar().

    Raises:  ConfigurationError when DATABASE_URL is missing or not a PostgreSQL URL.
    """
    app = RawPathFlask(
        "api",
        title="Bucketline",
        version=__version__,
        spec_path=None,
        docs_path=None,
        json_errors=False,
    )
    _configure(app)
    engine = connect(
        settings,
        statement_timeout_seconds=timeouts.statement,
        idle_timeout_seconds=timeouts.idle,
        pool_size=POOL_SIZE,
        checks_schema=True,
    )
    shared = Services(settings, engine, today, timeouts, json_scalar_version)
    install(app.extensions, shared)
    headers.register(app)
    checks.register(app)
    methods.register(app)
    origins.register(app)
    auth.register(app, settings)
    errors.register(app)
    ranges.register(app)
    for module in (
        index,
        data,
        user_images,
        stats,
        problems,
        datasets,
        dataset_rows,
        check,
        runs,
        events,
        documents,
        objects,
        buckets,
        health,
        storage_health,
        metrics,
        docs,
    ):
        app.register_blueprint(module.bp)
    ui.register(app)
    auth.mark_library_routes(app)
    descriptions.register(app, engine)
    app.wsgi_app = WebhookFastPath(app.wsgi_app, shared)  # type: ignore[method-assign]
    return app


class StrictJSON(DefaultJSONProvider):
    """JSON whose parser rejects deeply nested text like any other invalid JSON."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:  # noqa: ANN401 - any JSON value
        """The parsed value; raises ValueError for invalid JSON."""
        try:
            return super().loads(s, **kwargs)
        except RecursionError as error:
            raise ValueError("The JSON is nested too deeply.") from error


def _complete(spec: dict[str, Any] | str, app: APIFlask) -> dict[str, Any] | str:
    """The OpenAPI description, with the parts that APIFlask cannot generate."""
    if isinstance(spec, str):  # YAML, which the API does not serve
        return spec
    return schema_names.name_each_once(key_docs.describe(openapi.complete(spec), app))


def _configure(app: APIFlask) -> None:
    app.config.update(
        DESCRIPTION=openapi.DESCRIPTION,
        SERVERS=[{"url": "/"}],  # APIFlask would use the first request's Host
        AUTO_VALIDATION_ERROR_RESPONSE=False,
        AUTO_404_RESPONSE=False,
        AUTO_OPERATION_ID=True,
    )
    app.spec_processor(lambda spec: _complete(spec, app))
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.converters |= {
        "user_id": AnyTextConverter,
        "run_id": RunIdConverter,
        "document": DocumentNameConverter,
        "object_key": AnyTextConverter,
    }
    json = StrictJSON(app)
    json.sort_keys = False
    json.ensure_ascii = False
    app.json = json
