"""`status`: the sentence of the overview and its numbers, which are those of the API."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from click.testing import Result
from flask.testing import FlaskClient
from sqlalchemy import Engine, text

from etl.db import active_runs
from etl.db.overview import read
from etl.db.runs import request_run
from etl.model.errors import ObjectStoreUnavailable
from etl.model.overview import Overview, overview
from etl.model.sentences import OverviewState
from etl.model.values import Trigger
from etl.runtime.service import in_thread
from etl.services.scheduler import Scheduler
from etl.settings import Settings
from etl.sync.manager import DataManager
from tests.api_client import closed_port, get
from tests.conftest import TestBucket, wait_until

Command = Callable[..., Result]


def seen(engine: Engine, settings: Settings) -> Overview:
    with engine.connect() as connection:
        return overview(read(connection, settings, store_error=None))


def sentence(engine: Engine, settings: Settings) -> str:
    found = seen(engine, settings)
    return found.sentence.text(found.as_of)


def test_first_no_run_has_committed(settings: Settings, engine: Engine):
    found = seen(engine, settings)
    assert found.state is OverviewState.WAITING
    assert [one.name for one in found.datasets] == ["users"]


def test_an_empty_bucket_is_named(manager: DataManager, settings: Settings, engine: Engine):
    manager.run(Trigger.CLI)
    assert sentence(engine, settings).endswith(f"{settings.source_bucket} is empty.")


def test_the_words_and_the_json_say_the_same(
    command: Command, bucket: TestBucket, client: FlaskClient
):
    bucket.user("1.csv")
    bucket.put("2.csv", "first_name,last_name,birthts\nAda,Lovelace,soon\n")
    command("run")
    facts = json.loads(command("status", "--json").stdout)
    found = facts["overview"]
    assert found["state"] == "errors"
    words = command("status").stdout.splitlines()
    assert words[0] == found["sentence"]
    assert found["sentence"].endswith("UTC. 1 object needs attention.")
    assert "Needs attention: 1" in words
    (item,) = found["attention"]
    assert (item["kind"], item["key"], item["dataset"]) == ("error", "2.csv", "users")
    assert any("2.csv: 1 of 1 row rejected: 1 not-an-integer" in line for line in words)
    (line,) = found["datasets"]
    (dataset,) = get(client, "/datasets")["datasets"]
    assert line["rows"] == dataset["counts"]["rows"] == facts["users"]["live"] == 1
    assert line["errors"] + line["warnings"] == dataset["open_problems"] == 1
    assert (line["state"], line["lag_seconds"], line["objects"]) == ("in-sync", 0, 2)
    assert facts["runs"][0]["id"] == get(client, "/runs")["runs"][0]["id"]


def test_a_failed_run_is_said_until_the_next_one(
    bucket: TestBucket, settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    bucket.user("1.csv")
    manager = DataManager(settings)

    def refuse(*_: object) -> None:
        raise ObjectStoreUnavailable("The store is full.")

    with monkeypatch.context() as patched:
        patched.setattr(manager, "_stage_all", refuse)
        with pytest.raises(ObjectStoreUnavailable):
            manager.run(Trigger.CLI)
    found = seen(engine, settings)
    assert found.state is OverviewState.FAILED
    assert found.sentence.text(found.as_of).endswith("UTC. Nothing was changed.")
    assert found.attention[0].text == "The store is full."
    manager.run(Trigger.CLI)
    assert seen(engine, settings).state is OverviewState.IN_SYNC


def test_a_canceled_run_is_no_failure(
    bucket: TestBucket, command: Command, settings: Settings, engine: Engine
):
    bucket.user("1.csv")
    command("run")
    with engine.begin() as connection:
        active_runs.cancel(connection, request_run(connection, Trigger.REQUEST))
    assert seen(engine, settings).state is OverviewState.IN_SYNC


def test_held_retirements_come_before_errors(
    bucket: TestBucket, manager: DataManager, settings: Settings, engine: Engine
):
    rows = "".join(f"{n},A,B,{n}\n" for n in range(200))
    bucket.put("many.csv", f"user_id,first_name,last_name,birthts\n{rows}")
    bucket.put("bad.csv", "first_name,last_name,birthts\nAda,Lovelace,soon\n")
    manager.run(Trigger.CLI)
    bucket.remove("many.csv")
    manager.run(Trigger.CLI)
    found = seen(engine, settings)
    assert found.sentence.text(found.as_of) == (
        "200 retirements of users are held. 1 object needs attention."
    )
    assert [one.kind for one in found.attention] == ["held", "error"]
    (line,) = found.datasets
    assert (line.state, line.rows, line.held_objects) == ("Held", 200, 1)
    assert line.lag is not None
    assert line.lag > timedelta()


def test_an_outage_of_the_store_is_said_since_the_first_run_that_failed(
    bucket: TestBucket, settings: Settings, command: Command, monkeypatch: pytest.MonkeyPatch
):
    bucket.user("1.csv")
    command("run")
    with closed_port() as port:
        lost = settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{port}"})
        monkeypatch.setenv("S3_ENDPOINT", f"http://127.0.0.1:{port}")
        found = json.loads(command("status", "--json").stdout)["overview"]
        assert found["sentence"] == "The object store does not answer."
        with pytest.raises(ObjectStoreUnavailable):
            DataManager(lost).run(Trigger.CLI)
        found = json.loads(command("status", "--json").stdout)["overview"]
    assert found["sentence"].startswith("The object store has not answered since ")
    assert [one["kind"] for one in found["attention"]] == ["outage"]
    assert found["datasets"][0]["state"] == "unknown"
    assert found["datasets"][0]["is_lag_minimum"] is True


def test_without_a_database_the_sentence_says_so(command: Command, monkeypatch: pytest.MonkeyPatch):
    with closed_port() as port:
        monkeypatch.setenv("DATABASE_URL", f"postgresql://a:b@127.0.0.1:{port}/nowhere")
        shown, as_json = command("status"), command("status", "--json")
    assert (shown.exit_code, as_json.exit_code) == (75, 75)
    assert shown.stdout.startswith("The database does not answer.\n")
    assert json.loads(as_json.stdout)["overview"]["state"] == "down"


def test_the_next_full_run_is_announced_while_a_scheduler_is_up(
    manager: DataManager, settings: Settings, engine: Engine
):
    manager.run(Trigger.CLI)
    assert seen(engine, settings).next_run_at is None
    with in_thread(Scheduler(settings, manager), "scheduler"):
        wait_until(lambda: seen(engine, settings).next_run_at is not None)
    wait_until(lambda: seen(engine, settings).next_run_at is None)


def test_a_full_run_is_late_when_no_scheduler_has_made_it(
    manager: DataManager, settings: Settings, engine: Engine
):
    manager.run(Trigger.CLI)
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE run SET requested_at = requested_at - interval '1 h',"
                " started_at = started_at - interval '1 h',"
                " finished_at = finished_at - interval '1 h'"
            )
        )
    assert sentence(engine, settings).startswith("No full run since ")


def test_an_unchecked_event_makes_its_dataset_lag(
    bucket: TestBucket, manager: DataManager, settings: Settings, engine: Engine
):
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO bucket_event (bucket, key, mark, event_name, record, received_at)"
                " VALUES (:bucket, '2.csv', 'a', 's3:ObjectCreated:Put', '{}',"
                " now() - interval '90 s')"
            ),
            {"bucket": settings.source_bucket},
        )
    (line,) = seen(engine, settings).datasets
    assert line.lag is not None
    assert 90 <= line.lag.total_seconds() < 120
