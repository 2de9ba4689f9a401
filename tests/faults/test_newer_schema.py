"""A newer Bucketline migrates the tables while the API and the scheduler of this one run."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from etl.db.runs import request_run
from etl.db.schema import newest
from etl.model.values import Trigger
from etl.settings import Settings
from tests.conftest import TestBucket, wait_until
from tests.processes import serving, start

_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def execute(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def answer(url: str) -> tuple[int, dict[str, Any]]:
    """The status and the JSON body of a GET."""
    try:
        with urllib.request.urlopen(url, timeout=20) as response:  # noqa: S310 - our own server
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@contextmanager
def scheduling(settings: Settings, log: Path) -> Iterator[Any]:
    with (
        log.open("wb") as output,
        start(settings, "schedule", stdout=output, stderr=output) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            assert process.wait(60) == 0


def ran(engine: Engine) -> bool:
    """Whether a run requested now succeeds."""
    with engine.begin() as connection:
        requested = request_run(connection, Trigger.REQUEST)
    asked = text("SELECT EXISTS (SELECT FROM run WHERE id = :id AND state = 'succeeded')")

    def is_over() -> bool:
        with engine.connect() as connection:
            return bool(connection.scalar(asked, {"id": requested}))

    wait_until(is_over, seconds=60)
    return True


@pytest.mark.parametrize(
    "change_and_back",
    [
        (_OTHERS, "SELECT"),
        ("ALTER TABLE users RENAME TO people", "ALTER TABLE people RENAME TO users"),
        (
            "ALTER TABLE users RENAME first_name TO given_name",
            "ALTER TABLE users RENAME given_name TO first_name",
        ),
        ("ALTER TABLE run RENAME TO runs", "ALTER TABLE runs RENAME TO run"),
    ],
    ids=["version", "table", "column", "runs"],
)
def test_api_and_scheduler_wait_for_a_known_schema_and_resume(
    settings: Settings,
    bucket: TestBucket,
    engine: Engine,
    tmp_path: Path,
    change_and_back: tuple[str, str],
):
    change, back = change_and_back
    bucket.user("1.csv")
    log = tmp_path / "schedule.log"
    with scheduling(settings, log) as scheduler, serving(settings) as (host, port, api):
        url = f"http://{host}:{port}"
        assert ran(engine)
        assert answer(f"{url}/data")[0] == answer(f"{url}/health")[0] == 200

        execute(engine, "UPDATE alembic_version SET version_num = '9999'", change)
        if "runs" not in change:
            status, problem = answer(f"{url}/data")
            assert (status, problem["type"]) == (503, "urn:bucketline:problem:newer-schema")
            assert "9999" in problem["detail"]
        status, health = answer(f"{url}/health")
        assert (status, health["status"]) == (503, "down")
        assert "9999" in health["database"]["reason"]
        bucket.user("2.csv")
        execute(engine, "NOTIFY run_requested", _OTHERS)
        wait_until(lambda: "NewerSchema" in log.read_text("utf-8"), seconds=60)

        execute(engine, f"UPDATE alembic_version SET version_num = '{newest()}'", back)
        wait_until(lambda: answer(f"{url}/health")[0] == 200)
        assert ran(engine)
        assert list(answer(f"{url}/data")[1]) == ["1", "2"]
        assert scheduler.poll() is api.poll() is None
    assert "Traceback" not in log.read_text("utf-8")
