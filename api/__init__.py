"""The HTTP API: `create_app(settings)` makes it, one blueprint per noun answers.

It reads PostgreSQL and asks for runs; it never runs one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask.json.provider import DefaultJSONProvider

from api.http import checks, errors, methods, ranges
from api.http.addresses import RawPathFlask
from api.http.converters import AnyTextConverter, DocumentNameConverter, RunIdConverter
from api.routes import (
    data,
    datasets,
    docs,
    documents,
    events,
    health,
    index,
    objects,
    problems,
    runs,
    stats,
    storage_health,
    user_images,
)
from api.routes.hook import QuickHook
from api.security import auth, headers, origins
from api.spec import key_docs, openapi, schema_names
from api.state.services import (
    IDLE_TIMEOUT_SECONDS,
    STATEMENT_TIMEOUT_SECONDS,
    Services,
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

POOL_SIZE = 12  # half of the server's threads: a database that hangs must not take them all


def create_app(settings: Settings, *, today: Callable[[], date] = utc_today) -> APIFlask:
    """The API over one database and one object store; neither needs to be up yet.

    `today` gives the UTC date that ages are counted on.

    Raises:  ConfigurationError when DATABASE_URL is missing or no PostgreSQL URL.
    """
    app = RawPathFlask(
        "api", title="Bucketline", version=__version__, docs_path=None, json_errors=False
    )
    _configure(app)
    engine = connect(
        settings,
        statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS,
        idle_timeout_seconds=IDLE_TIMEOUT_SECONDS,
        pool_size=POOL_SIZE,
        checks_schema=True,
    )
    shared = Services(settings, engine, today, IDLE_TIMEOUT_SECONDS)
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
        runs,
        events,
        documents,
        objects,
        health,
        storage_health,
        docs,
    ):
        app.register_blueprint(module.bp)
    auth.mark_library_routes(app)
    app.wsgi_app = QuickHook(app.wsgi_app, shared)  # type: ignore[method-assign]
    return app


class OurJSON(DefaultJSONProvider):
    """JSON that refuses what is nested too deeply as it refuses what is none."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:  # noqa: ANN401 - any JSON value
        """The value of the text; ValueError when there is none."""
        try:
            return super().loads(s, **kwargs)
        except RecursionError as error:
            raise ValueError("It is nested too deeply.") from error


def _finished(spec: dict[str, Any] | str, app: APIFlask) -> dict[str, Any] | str:
    """The document with what APIFlask cannot know."""
    if isinstance(spec, str):  # YAML, which we do not serve
        return spec
    return schema_names.name_each_once(key_docs.describe(openapi.complete(spec), app))


def _configure(app: APIFlask) -> None:
    app.config.update(
        DESCRIPTION=openapi.DESCRIPTION,
        SERVERS=[{"url": "/"}],  # by itself it would trust the first request's Host
        AUTO_VALIDATION_ERROR_RESPONSE=False,
        AUTO_404_RESPONSE=False,
        AUTO_OPERATION_ID=True,
    )
    app.spec_processor(lambda spec: _finished(spec, app))
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.converters |= {
        "user_id": AnyTextConverter,
        "run_id": RunIdConverter,
        "document": DocumentNameConverter,
        "object_key": AnyTextConverter,
    }
    json = OurJSON(app)
    json.sort_keys = False
    json.ensure_ascii = False
    app.json = json
