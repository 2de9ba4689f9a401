"""The pages of runs and of held retirements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from etl.db.runs import request_run
from etl.model.errors import ObjectStoreUnavailable
from etl.model.values import Trigger
from tests.conftest import TestBucket
from tests.ui_client import send, visit

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from sqlalchemy import Engine

    from etl.settings import Settings
    from etl.sync.manager import DataManager

ROWS = 300


def users(count: int, first: int = 1) -> str:
    rows = "".join(f"{index},A,B,0\n" for index in range(first, first + count))
    return f"user_id,first_name,last_name,birthts\n{rows}"


def test_before_the_first_run_the_list_says_so(client: FlaskClient):
    seen = visit(client, "/ui/runs")
    assert seen.h1 == "Runs"
    assert "No run yet." in seen.text


def test_run_shows_its_steps_and_sums_that_add_up(
    client: FlaskClient, manager: DataManager, bucket: TestBucket
):
    bucket.put("a.csv", users(3) + "9,A,B,never\n")
    report = manager.run(Trigger.CLI)
    seen = visit(client, f"/ui/runs/{report.id}")
    assert seen.h1.startswith(f"Run {report.id} succeeded in ")
    assert "It read 4 rows and rejected 1." in seen.text
    for step in ("list", "read", "stage", "merge", "publish"):
        assert step in seen.text
    assert seen.text.count("adds up") == 3
    assert "off by" not in seen.text
    assert "Problems found 1" in seen.text
    assert "a.csv users 1 not-an-integer" in seen.text


def test_numbers_that_do_not_add_up_are_shown_as_such(
    client: FlaskClient, manager: DataManager, bucket: TestBucket, engine: Engine
):
    bucket.put("a.csv", users(3))
    report = manager.run(Trigger.CLI)
    with engine.begin() as connection:
        wrong = "UPDATE run SET counts = counts || '{\"rows_read\": 5}' WHERE id = :id"
        connection.execute(text(wrong), {"id": report.id})
    seen = visit(client, f"/ui/runs/{report.id}")
    assert seen.text.count("adds up") == 2
    assert "off by 2" in seen.text


def test_steps_begin_when_the_run_began_them(manager: DataManager, bucket: TestBucket):
    bucket.put("a.csv", users(3))
    report = manager.run(Trigger.CLI)
    spans = report.step_spans
    assert set(spans) == set(report.step_seconds)
    assert 0 <= spans["list"][0] <= spans["merge"][0] <= spans["publish"][0]
    assert all(began <= ended for began, ended in spans.values())


def test_failed_run_says_why_and_what_to_do(
    client: FlaskClient,
    manager: DataManager,
    bucket: TestBucket,
    monkeypatch: pytest.MonkeyPatch,
):
    bucket.put("a.csv", users(3))

    def refuse(*_: object) -> None:
        raise ObjectStoreUnavailable("No answer.", hint="Start the store.")

    with monkeypatch.context() as patched:
        patched.setattr(manager, "_stage_all", refuse)
        with pytest.raises(ObjectStoreUnavailable):
            manager.run(Trigger.CLI)
    recovered = manager.run(Trigger.CLI)
    seen = visit(client, f"/ui/runs/{recovered.id - 1}")
    assert seen.h1.endswith("Nothing was changed.")
    assert "Start the store." in seen.text
    assert f"Recovered by run {recovered.id}" in seen.text


def test_event_runs_without_anything_to_see_are_folded(
    client: FlaskClient, manager: DataManager, bucket: TestBucket, engine: Engine
):
    bucket.put("a.csv", users(3))
    first = manager.run(Trigger.CLI)
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO run (trigger, state, outcome, started_at, finished_at, counts)"
                " SELECT 'event', 'succeeded', 'succeeded', now(), now() + interval '1 second',"
                " jsonb_build_object('rows_read', 2, 'objects_added', 1, 'objects_modified', 0,"
                " 'objects_removed', 0, 'rows_inserted', 2, 'rows_updated', 0, 'rows_restored', 0,"
                " 'rows_retired', 0) FROM generate_series(1, 12)"
            )
        )
    seen = visit(client, "/ui/runs")
    assert "12 event runs all succeeded event" in seen.text
    assert "1.00 s each 12 24 24" in seen.text
    unfolded = visit(client, next(link for link in seen.links if "each=1&before" in link))
    assert "event runs" not in unfolded.text
    assert sum("/ui/runs/" in link for link in unfolded.links) == 13
    assert f"/ui/runs/{first.id}" in unfolded.links


def test_one_folded_run_is_a_link_to_it(
    client: FlaskClient, manager: DataManager, bucket: TestBucket, engine: Engine
):
    bucket.put("a.csv", users(3))
    manager.run(Trigger.CLI)
    with engine.begin() as connection:
        run_id = connection.scalar(
            text(
                "INSERT INTO run (trigger, state, outcome, started_at, finished_at) VALUES"
                " ('event', 'succeeded', 'succeeded', now(), now()) RETURNING id"
            )
        )
    seen = visit(client, "/ui/runs")
    assert f"/ui/runs/{run_id}" in seen.links
    assert f"{run_id} succeeded event" in seen.text


def test_run_that_held_rows_leads_to_the_hold_while_it_is_open(
    held: FlaskClient, manager: DataManager, bucket: TestBucket
):
    run_id = manager.run(Trigger.CLI).id
    seen = visit(held, f"/ui/runs/{run_id}")
    assert "It held 1 object of users: review users." in seen.text
    assert "/ui/holds/users" in seen.links
    assert f"{ROWS} retirements of users held" in visit(held, "/ui/runs").text
    bucket.put("old/a.csv", users(ROWS))
    manager.run(Trigger.CLI)
    seen = visit(held, f"/ui/runs/{run_id}")
    assert "It held 1 object of users." in seen.text
    assert "/ui/holds/users" not in seen.links


def test_filters_are_in_the_url_and_can_be_removed(
    client: FlaskClient, manager: DataManager, bucket: TestBucket
):
    bucket.put("a.csv", users(3))
    report = manager.run(Trigger.CLI)
    seen = visit(client, "/ui/runs?trigger=cli&dataset=users")
    assert f"/ui/runs/{report.id}" in seen.links
    assert "/ui/runs?dataset=users" in seen.links
    assert "No run matches these filters." in visit(client, "/ui/runs?outcome=failed").text


@pytest.mark.parametrize(
    "query", ["outcome=maybe", "trigger=moon", "before=x", f"before={10**30}", "before=-1"]
)
def test_unknown_filters_are_refused(client: FlaskClient, query: str):
    assert visit(client, f"/ui/runs?{query}").status == 422


def test_unknown_run_has_a_page(client: FlaskClient):
    seen = visit(client, "/ui/runs/99")
    assert seen.status == 404
    assert "There is no run 99." in seen.text


def test_requested_run_can_be_canceled(client: FlaskClient, engine: Engine):
    with engine.begin() as connection:
        run_id = request_run(connection, Trigger.REQUEST)
    seen = visit(client, f"/ui/runs/{run_id}")
    assert seen.h1 == f"Run {run_id} is requested, and has not begun."
    assert send(client, seen, f"/runs/{run_id}/cancel").status_code == 303
    after = visit(client, f"/ui/runs/{run_id}")
    assert after.h1 == f"Run {run_id} was canceled. Nothing was changed."
    assert not any("cancel" in form.action for form in after.forms)


@pytest.fixture
def held(client: FlaskClient, manager: DataManager, bucket: TestBucket) -> FlaskClient:
    bucket.put("old/a.csv", users(ROWS))
    bucket.put("new/b.csv", users(5, first=1_000))
    manager.run(Trigger.CLI)
    bucket.remove("old/a.csv")
    manager.run(Trigger.CLI)
    return client


def test_hold_shows_who_would_go_and_both_ways_out(held: FlaskClient, settings: Settings):
    seen = visit(held, "/ui/holds/users")
    assert seen.h1 == f"{ROWS} of {ROWS + 5} rows of users would be retired"
    assert f"{ROWS + 5} − {ROWS} = 5 rows remain in users" in seen.text  # noqa: RUF001
    assert "1 whole folder is gone and 1 complete" in seen.text
    assert "This is 98 %." in seen.text
    assert f"All 1 1 {ROWS}" in seen.text
    assert f"/ui/objects/{settings.source_bucket}?prefix=old/" in seen.links
    assert "user_id first_name last_name birthts" in seen.text  # in their order
    assert "T00:00:00" not in seen.text
    keys = held.get("/ui/holds/users/keys.txt")
    assert keys.text == f"{ROWS}\t{settings.source_bucket}/old/a.csv\n"
    header, *rows = held.get("/ui/holds/users/rows.csv").text.splitlines()
    assert header.startswith("user_id,first_name,last_name,birthts,")
    assert len(rows) == ROWS
    assert {row.split(",")[-2] for row in rows} == {"old/a.csv"}


def test_allowed_hold_retires_exactly_the_rows_shown(
    held: FlaskClient, manager: DataManager, engine: Engine
):
    seen = visit(held, "/ui/holds/users")
    refused = send(held, seen, "/holds/users", confirm="orders")
    assert refused.status_code == 422
    assert send(held, seen, "/holds/users", confirm="users").status_code == 303
    manager.run_requested()
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM users")) == 5
        assert connection.scalar(text("SELECT count(*) FROM users_retired")) == ROWS
    assert visit(held, "/ui/holds/users").status == 404
