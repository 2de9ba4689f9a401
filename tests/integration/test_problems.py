"""The open problems, over SQL and over HTTP, after real runs on a real bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from api import create_app
from etl.cli.status import status
from etl.db.problems import open_problems
from etl.images.indexer import ThumbnailIndexer
from etl.model.values import Trigger
from etl.sync.manager import DataManager
from tests.sample_images import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask.testing import FlaskClient
    from sqlalchemy import Engine

    from etl.settings import Settings
    from tests.conftest import TestBucket

HEADER = "first_name,last_name,birthts\n"
UNDATED = f"{HEADER}Ann,Lee,soon\n"


@pytest.fixture
def client(settings: Settings) -> Iterator[FlaskClient]:
    app = create_app(settings)
    yield app.test_client()
    app.extensions["bucketline"].engine.dispose()


@pytest.fixture
def three_faults(bucket: TestBucket, manager: DataManager) -> int:
    """Make a run that finds one fault in each of three objects; return its id."""
    bucket.put("b.csv", UNDATED)
    bucket.put("a.csv", f"{HEADER},Lee,0\n")
    bucket.put("c.csv", UNDATED)
    return manager.run(Trigger.CLI).id


def found(engine: Engine, **asked: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - any filter
    with engine.connect() as connection:
        return [(row["key"], row["code"]) for row in open_problems(connection, **asked)]


def get(client: FlaskClient, url: str) -> list[dict[str, Any]]:
    response = client.get(url)
    assert response.status_code == 200, response.text
    problems: list[dict[str, Any]] = response.get_json()["problems"]
    return problems


@pytest.mark.usefixtures("three_faults")
def test_open_problems_are_sorted_by_key_and_filtered(engine: Engine):
    assert found(engine) == [
        ("a.csv", "missing-cell"),
        ("b.csv", "not-an-integer"),
        ("c.csv", "not-an-integer"),
    ]
    assert found(engine, key="c.csv") == [("c.csv", "not-an-integer")]
    assert found(engine, code="missing-cell") == [("a.csv", "missing-cell")]
    assert found(engine, key="c.csv", code="missing-cell") == []


@pytest.mark.usefixtures("three_faults")
def test_problem_is_open_until_its_object_is_fixed_or_removed(
    bucket: TestBucket, manager: DataManager, engine: Engine
):
    bucket.user("b.csv")
    bucket.remove("c.csv")
    manager.run(Trigger.CLI)
    assert found(engine) == [("a.csv", "missing-cell")]


@pytest.mark.usefixtures("three_faults")
def test_file_reread_with_the_same_fault_has_one_problem(
    bucket: TestBucket, manager: DataManager, engine: Engine
):
    bucket.put("b.csv", f"{HEADER}Ann,Lee,later\n")
    manager.run(Trigger.CLI)
    assert sorted(found(engine))[1:] == [("b.csv", "not-an-integer"), ("c.csv", "not-an-integer")]


@pytest.mark.usefixtures("three_faults")
def test_status_counts_the_same_problems_and_all_object_kinds(
    bucket: TestBucket, manager: DataManager, engine: Engine, settings: Settings
):
    bucket.put("notes.txt", "x")
    bucket.put("1.png", b"x")
    manager.run(Trigger.CLI)
    with engine.connect() as connection:
        facts = status(connection, settings)
    assert sum(facts["problems"].values()) == len(found(engine)) == 4
    assert facts["objects"] == {"known": 5, "data": 3, "image": 1, "other": 1, "quarantined": 1}


def test_the_api_lists_open_problems_with_place_value_and_remedy(
    client: FlaskClient, three_faults: int, settings: Settings
):
    (row,) = get(client, "/problems?key=b.csv")
    assert row.pop("id") > 0
    assert row.pop("etag")
    assert "milliseconds" in row.pop("note")
    assert row == {
        "run_id": three_faults,
        "code": "not-an-integer",
        "severity": "error",
        "bucket": settings.source_bucket,
        "dataset": "users",
        "key": "b.csv",
        "line": 2,
        "column": "birthts",
        "value": "soon",
    }


@pytest.mark.usefixtures("three_faults")
def test_api_pages_open_problems_with_the_same_filters(client: FlaskClient):
    response = client.get("/problems?code=not-an-integer&limit=1")
    assert [row["key"] for row in response.get_json()["problems"]] == ["b.csv"]
    target, _, relation = response.headers["Link"].partition("; ")
    assert relation == 'rel="next"'
    assert [row["key"] for row in get(client, target.strip("<>"))] == ["c.csv"]
    assert "Link" not in client.get("/problems?limit=3").headers


def agreeing(client: FlaskClient, run_id: int) -> int:
    """The number of a run's problems, which must be the same everywhere it is shown."""
    listed = len(client.get(f"/runs/{run_id}/problems").get_json()["problems"])
    (in_list,) = (run for run in client.get("/runs").get_json()["runs"] if run["id"] == run_id)
    alone = client.get(f"/runs/{run_id}").get_json()
    assert in_list["counts"]["problems"] == alone["counts"]["problems"] == listed
    return listed


def test_problem_count_of_a_run_includes_later_image_problems(
    client: FlaskClient, settings: Settings, bucket: TestBucket, manager: DataManager
):
    bucket.put("1.csv", UNDATED)
    bucket.put("1.png", b"\x89PNG\r\n\x1a\nno more")
    bucket.put("2.png", b"no picture")
    first = manager.run(Trigger.CLI)
    assert first.counts.problems == agreeing(client, first.id) == 1
    ThumbnailIndexer(settings).run()
    assert agreeing(client, first.id) == 3

    bucket.put("1.png", b"\x89PNG\r\n\x1a\nno more")  # the same bytes again, known to be corrupt
    second = manager.run(Trigger.CLI)
    assert second.counts.problems == agreeing(client, second.id)
    ThumbnailIndexer(settings).run()
    assert agreeing(client, second.id) == 1
    assert agreeing(client, first.id) == 3


def test_problem_count_of_a_run_excludes_removed_problems(
    client: FlaskClient, settings: Settings, bucket: TestBucket, manager: DataManager
):
    bucket.put("1.png", plain(20, 20))
    run_id = manager.run(Trigger.CLI).id
    ThumbnailIndexer(settings.model_copy(update={"image_max_pixels": 100})).run()
    assert agreeing(client, run_id) == 1
    ThumbnailIndexer(settings).run(again=True)
    assert agreeing(client, run_id) == 0


def test_problem_count_of_a_run_includes_pruned_problems(
    engine: Engine, settings: Settings, bucket: TestBucket, manager: DataManager
):
    bucket.put("1.csv", UNDATED)
    bucket.put("1.png", plain(20, 20))
    run_id = manager.run(Trigger.CLI).id
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM problem"))  # as PROBLEM_RETENTION does, much later
    ThumbnailIndexer(settings.model_copy(update={"image_max_pixels": 100})).run()
    with engine.connect() as connection:
        query = text("SELECT counts->'problems' FROM run WHERE id = :id")
        assert connection.scalar(query, {"id": run_id}) == 2


def test_without_problems_the_list_is_empty(client: FlaskClient):
    assert get(client, "/problems") == []


@pytest.mark.parametrize("query", ["code=odd", "key=", "limit=0", "after=x", "run=1", "key=%00"])
def test_invalid_parameter_of_problems_is_named(client: FlaskClient, query: str):
    response = client.get(f"/problems?{query}")
    assert response.status_code == 422
    assert response.get_json()["errors"][0]["parameter"] == query.partition("=")[0]


def test_an_outage_of_the_database_is_a_503(settings: Settings):
    lost = settings.model_copy(
        update={"database_url": SecretStr("postgresql://db_user:hunter2@127.0.0.1:9/nowhere")}
    )
    response = create_app(lost).test_client().get("/problems")
    assert response.status_code == 503
    assert response.mimetype == "application/problem+json"
    assert "hunter2" not in response.text
