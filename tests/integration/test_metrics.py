"""/metrics, read by a parser of Prometheus; the probes; the alert rules and the dashboard."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, event, text

from api.http.exposition import CONTENT_TYPE
from api.routes.metric_families import STORED
from etl.db import runs
from etl.model.dataset import USERS
from etl.model.values import RunOutcome, Trigger
from etl.runtime import traces
from etl.sync.manager import DataManager
from tests.collector import collecting
from tests.conftest import TestBucket
from tests.sample_datasets import ORDERS

if TYPE_CHECKING:
    from apiflask import APIFlask
    from flask.testing import FlaskClient
    from prometheus_client.metrics_core import Metric

    from etl.settings import Settings

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy/prometheus/alerts.yml"
DASHBOARD = ROOT / "deploy/grafana/bucketline.json"
REFERENCE = ROOT / "docs/reference/metrics.md"
OF_PROMETHEUS = {"up"}  # made by the scrape itself

FAULTY = "order_id,amount,rank,updated\nA,x,1,1\nB,1,1,1\n"

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def families(client: FlaskClient) -> dict[str, Metric]:
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == CONTENT_TYPE
    found = list(text_string_to_metric_families(response.text))
    assert len({one.name for one in found}) == len(found)
    return {one.name: one for one in found}


def series(client: FlaskClient) -> Series:
    """The value of each series, which is there once."""
    samples = [
        ((sample.name, frozenset(sample.labels.items())), sample.value)
        for family in families(client).values()
        for sample in family.samples
    ]
    assert len(dict(samples)) == len(samples)
    return dict(samples)


def value(found: Series, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


# -- what is counted


def test_promised_series_exist_before_the_first_run(client: FlaskClient):
    found = series(client)
    for trigger in Trigger:
        for outcome in RunOutcome:
            labels = {"trigger": trigger.value, "outcome": outcome.value}
            assert value(found, "bucketline_runs_total", **labels) == 0
        assert value(found, "bucketline_last_success_timestamp_seconds", trigger=trigger) == 0
    for name in ("rows", "objects", "held_rows", "dataset_failing"):
        assert value(found, f"bucketline_{name}", dataset="users") == 0
    assert value(found, "bucketline_problems", dataset="users", severity="error") == 0
    assert value(found, "bucketline_pending_events") == value(found, "bucketline_lag_seconds") == 0
    assert value(found, "bucketline_database_up") == value(found, "bucketline_store_up") == 1


def test_metrics_say_what_runs_have_done(
    bucket: TestBucket, settings: Settings, client: FlaskClient, engine: Engine
):
    manager = DataManager(settings, datasets=(ORDERS, USERS))
    bucket.put("orders/1.csv", FAULTY)
    bucket.user("1.csv")
    manager.run(Trigger.INTERVAL)
    bucket.remove("1.csv")
    manager.run(Trigger.INTERVAL)
    found = series(client)
    succeeded = {"trigger": "interval", "outcome": "succeeded"}
    assert value(found, "bucketline_runs_total", **succeeded) == 2
    assert value(found, "bucketline_run_seconds_total", **succeeded) > 0
    assert value(found, "bucketline_last_success_timestamp_seconds", trigger="interval") > 1.7e9
    assert value(found, "bucketline_rows", dataset="orders") == 1
    assert value(found, "bucketline_rows", dataset="users") == 0
    assert value(found, "bucketline_retired_rows", dataset="users") == 1
    assert value(found, "bucketline_objects", dataset="orders") == 1
    assert value(found, "bucketline_changed_rows_total", dataset="users", change="retired") == 1
    assert value(found, "bucketline_changed_rows_total", dataset="orders", change="rejected") == 1
    problem = {"dataset": "orders", "code": "not-a-number", "severity": "error"}
    assert value(found, "bucketline_open_problems", **problem) == 1
    assert value(found, "bucketline_problems", dataset="orders", severity="error") == 1
    assert value(found, "bucketline_faulty_objects", dataset="orders") == 1
    assert value(found, "bucketline_steps_total", step="merge") == 2
    assert value(found, "bucketline_step_seconds_total", step="merge") > 0
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO bucket_event (bucket, key, mark, event_name, record, received_at)"
                " VALUES ('b', 'k', 'm', 'n', '{}', now() - interval '1 hour')"
            )
        )
    found = series(client)
    assert value(found, "bucketline_pending_events") == 1
    assert 3600 <= value(found, "bucketline_lag_seconds") < 3700


def test_counters_advance_only_when_a_run_commits(
    manager: DataManager,
    bucket: TestBucket,
    client: FlaskClient,
    monkeypatch: pytest.MonkeyPatch,
):
    bucket.user("1.csv")
    before = stored(client)

    def look(*args: Any, **named: Any) -> None:  # noqa: ANN401
        complete(*args, **named)
        assert stored(client) == before | {"bucketline_running_runs": 1}

    complete = runs.complete_run
    with monkeypatch.context() as patched:
        patched.setattr(runs, "complete_run", look)
        manager.run(Trigger.CLI)
    after = series(client)
    assert value(after, "bucketline_changed_rows_total", dataset="users", change="inserted") == 1
    assert value(after, "bucketline_runs_total", trigger="cli", outcome="succeeded") == 1


def stored(client: FlaskClient) -> dict[str, float]:
    """The series that are counted in the database, summed by name."""
    names = {f"bucketline_{one.name}" for one in STORED} - {"bucketline_dataset_failing"}
    sums: dict[str, float] = {}
    for (name, _), number in series(client).items():
        if name in names:
            sums[name] = sums.get(name, 0) + number
    return sums


def test_requests_are_counted_by_route_and_class_of_status(client: FlaskClient):
    for path in ("/data/1", "/data/2", "/data?min_age=x", "/nowhere", "/livez"):
        client.get(path)
    found = series(client)
    name = "bucketline_http_request_duration_seconds_count"
    assert value(found, name, route="/data/{user_id}", status="4xx") == 2
    assert value(found, name, route="/data", status="4xx") == 1
    assert value(found, name, route="none", status="4xx") == 1
    assert value(found, name, route="/livez", status="2xx") == 1
    assert value(found, "bucketline_database_statement_duration_seconds_count") > 0


def test_any_text_is_a_label(client: FlaskClient, engine: Engine):
    odd = 'a"b\\c\nd{e="f"} 7\u2028\N{SNOWMAN}'
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO run_total (trigger, outcome, error, runs, seconds, last_at)"
                " VALUES ('cli', 'failed', :odd, 3, 1.5, now())"
            ),
            {"odd": odd},
        )
    found = series(client)
    assert value(found, "bucketline_run_errors_total", error=odd) == 3


def test_the_number_of_series_does_not_depend_on_the_data(
    client: FlaskClient, bucket: TestBucket, manager: DataManager
):
    """Keys, ids and messages are no labels."""
    for number in range(30):
        bucket.user(f"{number}.csv")
        client.get(f"/data/{number}")
    manager.run(Trigger.CLI)
    client.get("/metrics")
    before = series(client).keys()
    for number in range(30, 60):
        bucket.user(f"{number}.csv")
        client.get(f"/data/{number}")
    manager.run(Trigger.CLI)
    assert series(client).keys() == before


# -- outages and cost


def test_without_the_database_the_rest_is_shown(without_database: FlaskClient):
    found = families(without_database)
    assert found["bucketline_database_up"].samples[0].value == 0
    assert found["bucketline_store_up"].samples[0].value == 1
    assert "bucketline_rows" not in found
    assert without_database.get("/livez").status_code == 200
    assert without_database.get("/readyz").status_code == 503


def test_without_the_store_it_is_ready(without_store: FlaskClient):
    found = families(without_store)
    assert found["bucketline_store_up"].samples[0].value == 0
    errors = found["bucketline_store_errors"].samples
    assert {(one.labels["operation"], one.value) for one in errors} == {("list", 1)}
    assert without_store.get("/readyz").get_json() == {"status": "ok"}


def test_other_tables_are_not_ready(client: FlaskClient, engine: Engine):
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert client.get("/readyz").status_code == 503
    assert families(client)["bucketline_database_up"].samples[0].value == 0


def test_a_scrape_makes_few_statements_and_one_check_of_the_store_every_15_s(
    app: APIFlask, client: FlaskClient
):
    shared = app.extensions["bucketline"]
    client.get("/metrics")
    executed: list[str] = []
    event.listen(shared.engine, "before_cursor_execute", lambda *found: executed.append(found[2]))
    for _ in range(10):
        client.get("/metrics")
    assert len(executed) <= 20
    (listed,) = shared.store.timings.durations().values()
    assert listed.count == 1


# -- traces


def test_runs_and_requests_are_traced_without_data(
    bucket: TestBucket, manager: DataManager, client: FlaskClient
):
    bucket.user("secret-id.csv", "Secret")
    with collecting() as server:
        manager.run(Trigger.CLI)
        assert client.get("/data/secret-id").status_code == 200
        traces.end()
        names = [one.name for one in server.spans]
        assert names[0] == "run"
        assert {"list", "read", "stage", "merge", "publish"} <= set(names)
        assert names[-1] == "GET /data/{user_id}"
        assert "ecret" not in str(server.requests)


# -- the documents that name the metrics


@pytest.fixture
def everything(bucket: TestBucket, settings: Settings, client: FlaskClient) -> dict[str, set[str]]:
    """The labels of each series by name, once each kind has been counted."""
    manager = DataManager(settings, datasets=(ORDERS, USERS))
    bucket.put("orders/1.csv", FAULTY)
    manager.run(Trigger.CLI)
    client.get("/data")
    found: dict[str, set[str]] = {}
    for name, labels in series(client):
        found.setdefault(name, set()).update(dict(labels))
    return found


def expressions() -> list[str]:
    alerts = yaml.safe_load(ALERTS.read_text("utf-8"))
    found = [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]:
        found += [target["expr"] for target in panel["targets"]]
    return [one.replace("$__rate_interval", "5m").replace("$job", "x") for one in found]


def selectors(node: Any) -> Iterator[Any]:  # noqa: ANN401
    """The selectors in an expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "args", "param", "vector_selector", "vs"):
        part = getattr(node, name, None)
        for one in part if isinstance(part, list) else [part]:
            if one is not None and not isinstance(one, str | int | float):
                yield from selectors(one)


def test_each_expression_names_series_and_labels_that_exist(everything: dict[str, set[str]]):
    for expression in expressions():
        found = list(selectors(promql_parser.parse(expression)))
        named = set(re.findall(r"\bbucketline_\w+|\bup\b", expression))
        assert {one.name for one in found} == named != set()
        for one in found:
            assert one.name in everything.keys() | OF_PROMETHEUS
            labels = {matcher.name for matcher in one.matchers.matchers}
            assert labels <= everything.get(one.name, set()) | {"job", "instance"}


def test_alert_rules_are_complete():
    (group,) = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert len(set(names)) == len(names)
    for rule in group["rules"]:
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "description"}
        for template in re.findall(r"{{.*?}}", " ".join(rule["annotations"].values())):
            assert re.fullmatch(r"{{ \$(value( \| \w+)?|labels\.\w+) }}", template)


def test_the_dashboard_is_sound():
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    panels = dashboard["panels"]
    assert len({one["id"] for one in panels}) == len(panels)
    covered: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & covered
        assert place["x"] + place["w"] <= 24
        covered |= cells
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)
    variables = {one["name"] for one in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$(\w+)", DASHBOARD.read_text("utf-8"))) - {"__rate_interval", "__all"}
    assert used <= variables


def test_every_metric_is_in_the_reference_and_vice_versa(everything: dict[str, set[str]]):
    """With its labels."""
    rows = re.findall(
        r"^\| `(bucketline_\w+)` \| (\w+) \|(.*?)\|", REFERENCE.read_text("utf-8"), re.MULTILINE
    )
    documented = {name: set(re.findall(r"`(\w+)`", labels)) for name, _, labels in rows}
    found: dict[str, set[str]] = {}
    for name, labels in everything.items():
        family = re.sub(r"_(bucket|sum|count)$", "", name)
        found.setdefault(family, set()).update(labels - {"le"})
    assert documented == found
