"""The large instance of the benchmark: its tallies are right, and its pages open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from bench.large_instance import Size, fill
from bench.ui import PAGES
from etl.model.values import Trigger
from tests.tallies import wrong_tallies
from tests.ui_client import visit

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from sqlalchemy import Engine

    from etl.settings import Settings
    from etl.sync.manager import DataManager

SIZE = Size(users=1_010, runs=600, problems=333)


def filled(settings: Settings) -> None:
    schemas = f"{settings.database_schema},{settings.state_schema}"
    assert settings.database_url
    fill(settings.database_url.get_secret_value(), settings.source_bucket, SIZE, schemas)


@pytest.fixture
def large(settings: Settings, manager: DataManager) -> Settings:
    manager.run(Trigger.CLI)
    filled(settings)
    return settings


@pytest.mark.usefixtures("large")
def test_tallies_of_the_large_instance_are_those_of_its_tables(engine: Engine):
    assert wrong_tallies(engine) == {}
    with engine.connect() as connection:
        for table, count in (("users", 1_010), ("run", 601), ("problem", 333)):
            assert connection.scalar(text(f"SELECT count(*) FROM {table}")) == count


def test_pages_of_the_large_instance_open_and_its_runs_add_up(large: Settings, client: FlaskClient):
    names = {"bucket": large.source_bucket, "run": "600"}
    for path in PAGES:
        seen = visit(client, path.format(**names))
        assert seen.status == 200, (path, seen.text)
    for run in ("2", "11", "38"):  # the first of them, a full run, and one with problems
        seen = visit(client, f"/ui/runs/{run}")
        assert "off by" not in seen.text
        assert "adds up" in seen.text


def test_a_database_that_is_not_new_is_left_as_it_is(settings: Settings, large: Settings):
    assert large.database_url == settings.database_url
    with pytest.raises(ValueError, match="use a new one"):
        filled(settings)


def test_a_database_without_a_run_is_refused(settings: Settings):
    with pytest.raises(ValueError, match="No run has been made"):
        filled(settings)
