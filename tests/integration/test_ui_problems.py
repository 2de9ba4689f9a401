"""The page of problems: groups, examples with their lines, filters, exports and replay."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from api.ui.problems import COLUMNS
from api.ui.source_lines import MOST_BYTES
from etl.model.roles import Role, entry_for, new_key
from etl.model.values import Trigger
from etl.settings import key_file
from tests.conftest import TestBucket
from tests.ui_client import BROWSER, send, visit

if TYPE_CHECKING:
    from apiflask import APIFlask
    from flask.testing import FlaskClient
    from sqlalchemy import Engine

    from etl.settings import Settings
    from etl.sync.manager import DataManager

HEAD = "user_id,first_name,last_name,birthts\n"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """With a key file of its own."""
    return settings.model_copy(update={"api_keys_file": tmp_path / "api-keys"})


@pytest.fixture
def faulty(client: FlaskClient, manager: DataManager, bucket: TestBucket) -> FlaskClient:
    """Two objects with five errors of two codes: four without a date, and a short row."""
    bucket.put("crm/a.csv", HEAD + "1,A,B,0\n2,C,D,never\n3,E,F,soon\n4,G,H,later\n")
    bucket.put("web/b.csv", HEAD + "5,I,J,once\n6,K\n")
    manager.run(Trigger.CLI)
    return client


def codes(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT code, count(*) FROM problem GROUP BY code"))
        return {row[0]: row[1] for row in rows}


@pytest.fixture
def code(faulty: FlaskClient, engine: Engine) -> str:  # noqa: ARG001 - the problems
    """The code of the four rows without a date."""
    return next(code for code, count in codes(engine).items() if count == 4)


def test_without_problems_the_page_says_since_when(
    client: FlaskClient, manager: DataManager, bucket: TestBucket
):
    seen = visit(client, "/ui/problems")
    assert seen.h1 == "No problem is open"
    assert "None was ever found." in seen.text
    bucket.put("a.csv", HEAD + "1,A,B,never\n")
    manager.run(Trigger.CLI)
    assert visit(client, "/ui/problems").h1 == "1 problem is open: 1 error"
    bucket.put("a.csv", HEAD + "1,A,B,0\n")
    manager.run(Trigger.CLI)
    seen = visit(client, "/ui/problems")
    assert "No problem is open. The last one closed at " in seen.text
    assert not any("export" in link for link in seen.links)


def test_groups_are_ordered_and_explained(faulty: FlaskClient, code: str):
    seen = visit(faulty, "/ui/problems")
    assert seen.faults == []
    assert seen.h1 == "5 problems are open: 5 errors"
    assert "2 objects need attention." in seen.text
    assert f"Error {code} users 4 problems 2" in seen.text
    assert "Means" in seen.text
    assert seen.response.text.count('<details class="group" open>') == 1
    assert "never" in seen.text  # the value of the first example, before its line is fetched
    assert "later" in seen.text
    assert "once" not in seen.text  # only three
    assert "These rows are left out; other rows of the same object are loaded." in seen.text


def test_examples_show_their_lines(faulty: FlaskClient, code: str):
    seen = visit(faulty, "/ui/problems")
    (panel, *_) = [one for one in seen.loaded if "/problems/examples" in one]
    shown = visit(faulty, panel)
    assert "2,C,D,<mark>never</mark>" in shown.response.text
    assert "crm/a.csv" in shown.text
    assert f"code={code}" in panel
    again = faulty.get(panel, headers={"If-None-Match": shown.response.headers["ETag"]})
    assert again.status_code == 304


def test_line_of_an_object_that_has_changed_is_not_shown(
    faulty: FlaskClient, bucket: TestBucket, code: str
):
    bucket.put("crm/a.csv", HEAD + "9,other,content,0\n9,other,content,0\n" * 2)
    shown = visit(faulty, f"/ui/problems/examples?dataset=users&code={code}")
    assert "other,content" not in shown.text
    assert "never" in shown.text


def test_lines_are_found_in_the_first_megabyte_only(
    client: FlaskClient, manager: DataManager, bucket: TestBucket
):
    many = "".join(f"{index},A,B,0\n" for index in range(MOST_BYTES // 8))
    bucket.put("a.csv", f"{HEAD}x1,First,B,never\n{many}x2,Last,B,never\n")
    manager.run(Trigger.CLI)
    shown = visit(client, "/ui/problems/examples")
    assert "x1,First,B," in shown.text
    assert "Last" not in shown.text


def test_filters_are_in_the_url(faulty: FlaskClient, code: str):
    seen = visit(faulty, f"/ui/problems?code={code}&dataset=users&severity=error")
    assert seen.h1 == "4 of 5 open problems: 4 errors"
    assert "once" in seen.text  # a group that is shown alone has all its lines
    panel = next(one for one in seen.loaded if "/problems/examples" in one)
    assert "5,I,J,<mark>once</mark>" in visit(faulty, panel).response.text
    assert f"/ui/problems?code={code}&severity=error" in seen.links
    below = visit(faulty, "/ui/problems?prefix=web/")
    assert below.h1 == "2 of 5 open problems: 2 errors"
    assert not any(form.action.endswith("/replay") for form in below.forms)
    nothing = visit(faulty, "/ui/problems?severity=warning&prefix=web%25")
    assert "No open problem has severity warning and prefix web%." in nothing.text
    assert "5 problems are open in all." in nothing.text
    assert "/ui/problems" in nothing.links


@pytest.mark.parametrize("query", ["code=no-such", "severity=mild", "prefix=%00"])
def test_unknown_filters_are_refused(client: FlaskClient, query: str):
    for path in ("", "/examples", "/export.csv"):
        assert visit(client, f"/ui/problems{path}?{query}").status == 422


def test_exports_have_what_the_filters_match(faulty: FlaskClient, code: str):
    seen = visit(faulty, f"/ui/problems?code={code}&prefix=crm/")
    link = next(link for link in seen.links if "export.csv" in link)
    response = faulty.get(link)
    assert response.headers["Content-Disposition"] == 'attachment; filename="problems.csv"'
    (head, *rows) = csv.reader(StringIO(response.text))
    assert tuple(head) == COLUMNS
    assert [row[4] for row in rows] == ["3", "4", "5"]
    found = faulty.get("/ui/problems/export.json").json
    assert [(one["key"], one["line"]) for one in found] == [
        ("crm/a.csv", 3),
        ("crm/a.csv", 4),
        ("crm/a.csv", 5),
        ("web/b.csv", 2),
        ("web/b.csv", 3),
    ]
    assert {one["dataset"] for one in found} == {"users"}


def test_export_of_nothing_is_complete(client: FlaskClient):
    assert client.get("/ui/problems/export.json").json == []
    assert client.get("/ui/problems/export.csv").text == ",".join(COLUMNS) + "\n"


def test_replay_reads_the_objects_of_a_group_again(
    faulty: FlaskClient, manager: DataManager, code: str
):
    seen = visit(faulty, f"/ui/problems?code={code}")
    assert seen.form("/replay").buttons == ["Replay 2 objects"]
    response = send(faulty, seen, "/replay")
    assert response.status_code == 303
    assert response.headers["Location"].startswith("/ui/?run=")
    report = manager.run_requested()
    assert report is not None
    assert report.counts.rows_read == 6


def test_replay_of_nothing_makes_no_run(faulty: FlaskClient, engine: Engine, code: str):
    seen = visit(faulty, f"/ui/problems?code={code}")
    assert send(faulty, seen, "/replay", dataset="orders").status_code == 409
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM run WHERE state = 'requested'")) == 0


@pytest.mark.usefixtures("faulty")
@pytest.mark.parametrize(
    ("role", "datasets", "shown"),
    [
        (Role.READER, (), (5, 0)),
        (Role.WRITER, (), (5, 2)),
        (Role.WRITER, ("users",), (5, 0)),
        (Role.READER, ("orders",), (0, 0)),
    ],
)
def test_keys_see_what_they_may(
    app: APIFlask,
    settings: Settings,
    role: Role,
    datasets: tuple[str, ...],
    shown: tuple[int, int],
):
    problems, buttons = shown
    key = new_key()
    key_file.add(settings.key_file, entry_for("someone", role, key, datasets))
    client = app.test_client()
    headers = {"Authorization": f"Bearer {key}"}
    seen = visit(client, "/ui/problems", **headers)
    assert seen.h1.startswith(f"{problems} problems" if problems else "No problem is open")
    assert sum(form.action.endswith("/replay") for form in seen.forms) == buttons
    exported = client.get("/ui/problems/export.json", headers=BROWSER | headers).json
    assert len(exported) == problems
    if "orders" in datasets:
        assert visit(client, "/ui/problems?dataset=users", **headers).status == 403
