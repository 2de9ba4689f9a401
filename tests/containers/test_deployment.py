"""An operator's day: deploy, upload, restart, scale, lose power, take down and bring back."""

from __future__ import annotations

import json
import time
from datetime import datetime
from itertools import pairwise

import pytest

from tests.conftest import wait_until
from tests.containers.deployment import SERVICES, Deployment
from tests.sample_images import plain

pytestmark = pytest.mark.timeout(600)  # the first test makes the images and starts everything

SAMPLE_USERS = 60
RUNNING = {
    "store": "running healthy",
    "database": "running healthy",
    "setup": "exited",
    "scheduler": "running",
    "api": "running healthy",
}


def assert_agreement(deployment: Deployment) -> None:
    """Buckets, tables and outputs agree, by the independent implementation."""
    deployment.bucketline("run")
    deployment.bucketline("verify")


def await_running(deployment: Deployment) -> None:
    """Wait until every container runs and is healthy. A failure shows which is not."""
    deadline = time.monotonic() + 120
    while deployment.states() != RUNNING and time.monotonic() < deadline:
        time.sleep(0.5)
    logs = deployment.compose("logs", "--tail", "5")
    assert deployment.states() == RUNNING, logs


def test_deployed_services_are_healthy_and_serve_the_sample(deployment: Deployment):
    await_running(deployment)
    wait_until(lambda: deployment.sql("SELECT count(*) FROM users") == [[str(SAMPLE_USERS)]])
    status, stats = deployment.ask("/stats")
    assert status == 200
    assert stats["count"] == SAMPLE_USERS


def test_ports_are_published_on_loopback_only(deployment: Deployment):
    shown = deployment.compose("ps", "--format", "json").splitlines()
    published = {
        (port["URL"], port["PublishedPort"])
        for container in map(json.loads, shown)
        for port in container["Publishers"] or ()
        if port["PublishedPort"]
    }
    assert published == {("127.0.0.1", port) for port in (5000, 8080, 9000, 9001)}


def test_put_object_becomes_a_row_by_its_event(deployment: Deployment):
    deployment.put_user("event-1", "Eve")
    deployment.await_user("event-1")
    ((trigger,),) = deployment.sql(
        "SELECT trigger FROM users JOIN bucketline.run ON run.id = users._run_id"
        " WHERE user_id = 'event-1'"
    )
    assert trigger == "event"


def test_removed_object_retires_its_row_by_its_event(deployment: Deployment):
    deployment.put_user("gone-1")
    deployment.await_user("gone-1")
    deployment.remove("gone-1.csv")
    wait_until(lambda: deployment.ask("/data/gone-1")[0] == 404)
    assert deployment.sql("SELECT count(*) FROM users_retired WHERE user_id = 'gone-1'") == [["1"]]


def test_image_gets_its_thumbnails_from_a_sandbox_in_the_container(deployment: Deployment):
    deployment.put("picture-1.png", plain())
    deployment.put_user("picture-1")
    find = "SELECT cardinality(sizes) FROM bucketline.image WHERE key = 'picture-1.png'"
    wait_until(lambda: deployment.sql(find) == [["2"]], pause=0.5)


def test_seeded_files_become_rows(deployment: Deployment):
    (deployment.folder / "files").mkdir()
    (deployment.folder / "files" / "seed-1.csv").write_text("first_name,last_name,birthts\nA,B,0\n")
    mount = f"--volume={deployment.folder}/files:/files:ro"
    command = ("--entrypoint", "bucketline", "setup", "seed", "/files")
    deployment.compose("run", "--rm", "-T", "--no-deps", mount, *command)
    deployment.await_user("seed-1")


def test_run_on_request_is_made_by_the_scheduler(deployment: Deployment):
    status, run = deployment.ask("/data?wait=30", "POST")
    assert status == 200
    assert (run["trigger"], run["state"]) == ("request", "succeeded")


def test_event_of_an_outage_of_the_api_is_delivered_after_it(deployment: Deployment):
    deployment.compose("stop", "api")
    deployment.put_user("outage-1")
    deployment.compose("start", "api")
    deployment.await_user("outage-1")


@pytest.mark.parametrize("service", SERVICES)
def test_restarted_service_takes_up_its_work(deployment: Deployment, service: str):
    deployment.compose("restart", service)
    deployment.await_health()
    deployment.put_user(f"restarted-{service}")
    deployment.await_user(f"restarted-{service}")


@pytest.mark.parametrize("service", SERVICES)
def test_killed_service_is_restarted_by_the_engine(deployment: Deployment, service: str):
    (container,) = deployment.containers(service)
    before = deployment.inspect(container, "{{.State.StartedAt}}")
    deployment.kill(container)
    wait_until(lambda: deployment.inspect(container, "{{.State.StartedAt}}") != before, pause=0.2)
    deployment.await_health()
    deployment.put_user(f"killed-{service}")
    deployment.await_user(f"killed-{service}")


def test_two_schedulers_share_the_work_and_one_suffices(deployment: Deployment):
    deployment.compose("up", "--detach", "--no-recreate", "--scale", "scheduler=2", "scheduler")
    first, second = deployment.containers("scheduler")
    for number in range(20):
        deployment.put_user(f"both-{number}")
    for number in range(20):
        deployment.await_user(f"both-{number}")
    for container in (first, second):
        deployment.engine.run("stop", container)
        user = f"without-{container[:12]}"
        deployment.put_user(user)
        deployment.await_user(user)
        deployment.engine.run("start", container)
    deployment.compose("up", "--detach", "--no-recreate", "--scale", "scheduler=1", "scheduler")
    assert_runs_did_not_overlap(deployment)
    assert_agreement(deployment)


def assert_runs_did_not_overlap(deployment: Deployment) -> None:
    rows = deployment.sql("SELECT started_at, finished_at FROM bucketline.run ORDER BY started_at")
    runs = [tuple(map(datetime.fromisoformat, row)) for row in rows]
    assert len(runs) > 5
    for (_, end), (start, _) in pairwise(runs):
        assert end <= start


@pytest.mark.parametrize("end", ["stop", "cut_power"])
def test_everything_comes_back_when_the_engine_does(deployment: Deployment, end: str):
    deployment.put_user(f"before-{end}")
    deployment.await_user(f"before-{end}")
    users = deployment.sql("SELECT user_id FROM users ORDER BY 1")
    getattr(deployment.engine, end)()
    deployment.engine.start()
    await_running(deployment)
    deployment.await_health()
    assert deployment.sql("SELECT user_id FROM users ORDER BY 1") == users
    deployment.put_user(f"after-{end}")
    deployment.await_user(f"after-{end}")
    assert_agreement(deployment)


def test_data_outlast_down_and_up(deployment: Deployment):
    deployment.remove("0001.csv")
    wait_until(lambda: deployment.ask("/data/0001")[0] == 404)
    read = "SELECT user_id, first_name, _run_id FROM users ORDER BY 1"
    users, runs = deployment.sql(read), deployment.sql("SELECT max(id) FROM bucketline.run")
    deployment.compose("down")
    assert deployment.states() == {}
    deployment.up()
    assert deployment.sql(read) == users
    assert deployment.sql("SELECT max(id) FROM bucketline.run") >= runs
    assert not deployment.has_user("0001"), "the sample was seeded again"
    assert_agreement(deployment)


def test_first_key_locks_the_api_and_outlasts_its_container(deployment: Deployment):
    key = deployment.bucketline("keys", "new", "ann", "--role", "admin", service="api").strip()
    wait_until(lambda: deployment.ask("/stats")[0] == 401)
    deployment.compose("up", "--detach", "--force-recreate", "--no-deps", "--wait", "api")
    assert deployment.ask("/stats")[0] == 401
    assert deployment.ask("/stats", **{"X-API-Key": key})[0] == 200
    deployment.bucketline("keys", "revoke", "ann", service="api")
