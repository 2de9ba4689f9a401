"""The API's application and test clients, on the test's own database and buckets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from pydantic import SecretStr
from sqlalchemy import text

from api import create_app
from etl.cli.main import commands
from tests.api_client import TODAY, closed_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apiflask import APIFlask
    from click.testing import Result
    from flask.testing import FlaskClient
    from sqlalchemy import Engine

    from etl.settings import Settings

Query = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(autouse=True)
def short_boundaries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Werkzeug's test client makes a boundary longer than the 70 characters of RFC 2046 at times.

    Its length depends on a random number.
    """
    monkeypatch.setattr("werkzeug.test.random", lambda: 0.5)


@pytest.fixture
def app(settings: Settings) -> Iterator[APIFlask]:
    app = create_app(settings, today=lambda: TODAY)
    shared = app.extensions["bucketline"]
    shared.store_watch.wait_seconds = 30  # a store may be slow on a busy machine
    yield app
    shared.engine.dispose()


@pytest.fixture
def client(app: APIFlask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def command(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Runs a command of the command line on the test's servers, without a datasets file."""
    monkeypatch.chdir(tmp_path)
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(plain, (str, int, float, Path)):
            monkeypatch.setenv(name.upper(), str(plain))

    def run(*words: str) -> Result:
        return CliRunner().invoke(commands, words)

    return run


@pytest.fixture
def query(engine: Engine) -> Query:
    """Executes a statement, commits, and returns its rows."""

    def ask(statement: str, **parameters: object) -> list[tuple[Any, ...]]:
        with engine.begin() as connection:
            result = connection.execute(text(statement), parameters)
            return [tuple(row) for row in result] if result.returns_rows else []

    return ask


@pytest.fixture
def without_database(settings: Settings) -> Iterator[FlaskClient]:
    with closed_port() as port:
        url = f"postgresql://db_user:hunter2@127.0.0.1:{port}/nowhere"
        lost = settings.model_copy(update={"database_url": SecretStr(url)})
        yield create_app(lost, today=lambda: TODAY).test_client()


@pytest.fixture
def without_store(settings: Settings) -> Iterator[FlaskClient]:
    with closed_port() as port:
        lost = settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{port}"})
        app = create_app(lost, today=lambda: TODAY)
        yield app.test_client()
        app.extensions["bucketline"].engine.dispose()
