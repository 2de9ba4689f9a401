"""The pages of events and of documents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from api.ui.events import PAGE_EVENTS
from tests.ui_client import read, send, visit

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from sqlalchemy import Engine

    from etl.settings import Settings


def put_events(engine: Engine, count: int, *, bucket: str = "b", run: int | None = None) -> None:
    now = datetime.now(UTC)
    with engine.begin() as connection:
        for index in range(count):
            connection.execute(
                text(
                    "INSERT INTO bucket_event (bucket, key, mark, event_name, size, record,"
                    " received_at, handled_by_run)"
                    " VALUES (:bucket, :key, :mark, 's3:Put', 44, '{}', :at, :run)"
                ),
                {
                    "bucket": bucket,
                    "key": f"k{index:03}.csv",
                    "mark": f"{bucket}-{run}-{index}",
                    "at": now - timedelta(minutes=count - index),
                    "run": run,
                },
            )


def test_without_events_the_page_says_that_runs_need_none(client: FlaskClient):
    seen = visit(client, "/ui/events")
    assert seen.h1 == "No event in the last 24 h"
    assert "No event has arrived yet." in seen.text


def test_events_are_shown_newest_first_page_by_page(client: FlaskClient, engine: Engine):
    put_events(engine, PAGE_EVENTS + 2)
    seen = visit(client, "/ui/events")
    assert seen.h1 == f"{PAGE_EVENTS + 2} events in the last 24 h"
    assert f"{PAGE_EVENTS + 2} wait for a run" in seen.text
    assert f"k{PAGE_EVENTS + 1:03}.csv" in seen.text
    assert "k001.csv" not in seen.text
    (older,) = [link for link in seen.links if "before=" in link]
    rest = visit(client, older)
    assert "k001.csv" in rest.text
    assert "k002.csv" not in rest.text
    assert not [link for link in rest.links if "before=" in link]


def test_filters_are_in_the_url_and_can_be_removed(client: FlaskClient, engine: Engine):
    put_events(engine, 3)
    put_events(engine, 2, bucket="other", run=7)
    seen = visit(client, "/ui/events?bucket=other&key=&state=")
    assert "2 events, newest first" in seen.text
    assert "Handled" in seen.text
    assert visit(client, "/ui/events?state=waiting").text.count("b Waiting") == 0
    assert "3 events, newest first" in visit(client, "/ui/events?state=waiting").text
    one = visit(client, "/ui/events?bucket=b&key=k001.csv")
    assert "1 event, newest first" in one.text
    assert "/ui/events?bucket=b" in [link.partition("#")[0] for link in one.links]
    none = visit(client, "/ui/events?key=%3Cb%3E")
    assert "No event has key: <b>." in none.text
    assert "/ui/events" in none.links


@pytest.mark.parametrize("query", ["before=x", "before=-1", "state=odd"])
def test_a_wrong_parameter_has_an_error_page(client: FlaskClient, query: str):
    assert visit(client, f"/ui/events?{query}").status == 422


def test_messages_that_could_not_be_read_are_shown(client: FlaskClient, engine: Engine):
    with engine.begin() as connection:
        connection.execute(
            text(
                'INSERT INTO dead_letter (topic, partition, "offset", reason)'
                " VALUES ('uploads', 3, 1204, 'It is <not> JSON.')"
            )
        )
    assert "uploads 3 1,204 It is <not> JSON." in visit(client, "/ui/events").text


# -- documents


def save(client: FlaskClient, name: str, content: str) -> None:
    response = client.post(f"/documents?name={name}", data=content, content_type="application/json")
    assert response.status_code == 201


def test_a_document_is_listed_shown_and_removed_with_its_versions(client: FlaskClient):
    assert "There is no document." in visit(client, "/ui/documents").text
    save(client, "first", '{"a": "</pre><script>alert(1)</script>"}')
    save(client, "first", '{"a": 2}')
    listed = visit(client, "/ui/documents?prefix=fi")
    assert "/ui/documents/first" in listed.links
    seen = visit(client, "/ui/documents/first")
    assert seen.h1 == "first"
    assert '{"a": 2}' in seen.text
    older = [link for link in seen.links if "?version=" in link and "download" not in link][-1]
    old = visit(client, older)
    assert "</pre><script>alert(1)</script>" in old.text
    assert old.faults == []
    with client.get("/ui/documents/first/download") as download:
        assert download.get_json() == {"a": 2}
        assert "attachment" in download.headers["Content-Disposition"]
    asked = visit(client, "/ui/documents/first/remove")
    assert "2 versions" in asked.text
    assert send(client, asked, "/remove").status_code == 303
    assert visit(client, "/ui/documents/first").status == 404
    assert read("/ui/documents/first/remove", send(client, asked, "/remove")).status == 404


def test_no_document_begins_so(client: FlaskClient):
    seen = visit(client, "/ui/documents?prefix=zz")
    assert "begins with zz" in seen.text


def test_a_large_document_is_only_for_download(client: FlaskClient, settings: Settings):
    assert settings.document_max_size > 100_000
    save(client, "large", '"' + "x" * 70_000 + '"')
    seen = visit(client, "/ui/documents/large")
    assert "too large to show" in seen.text


def test_without_the_store_documents_have_an_error_page(without_store: FlaskClient):
    seen = visit(without_store, "/ui/documents")
    assert seen.status == 503
    assert seen.h1 == "The object store does not answer."
    assert seen.faults == []
