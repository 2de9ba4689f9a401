"""Shadowed rows, over SQL, HTTP and the command line, after real runs on a real bucket."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from rich.text import Text
from sqlalchemy import Engine, text

from api import create_app
from etl.cli.common import SHOWN_ITEMS, print_found
from etl.model.dataset import USERS
from etl.model.values import Trigger
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.sync.manager import DataManager
from tests.conftest import TestBucket
from tests.processes import ROOT, environment
from tests.sample_datasets import ORDERS, READINGS

HEADER = "user_id,first_name,last_name,birthts,city\n"
PATH = "/datasets/users/shadowed"


@pytest.fixture
def client(settings: Settings) -> Iterator[FlaskClient]:
    app = create_app(settings)
    yield app.test_client()
    app.extensions["bucketline"].engine.dispose()


@pytest.fixture
def lost(bucket: TestBucket, manager: DataManager, engine: Engine) -> int:
    """Make a run with three shadowed rows, each for another reason; return its id."""
    bucket.put("old.csv", f"{HEADER}1,Old,Lee,0,Oslo\n")
    bucket.put("b.csv", f"{HEADER}2,Larger,Lee,0,\n")
    bucket.put("a.csv", f"{HEADER}2,Smaller,Lee,0,\n")
    bucket.put("1.csv", "first_name,last_name,birthts\nNew,Lee,0\n")
    bucket.put("team.csv", f"{HEADER}3,First,Lee,0,\n3,Last,Lee,0,\n")
    run_id = manager.run(Trigger.CLI).id
    # Later runs use the store's clock.
    with engine.begin() as connection:
        connection.execute(text("UPDATE source_object SET last_modified = '2026-01-02'"))
        connection.execute(
            text("UPDATE source_object SET last_modified = '2026-01-01' WHERE key = 'old.csv'")
        )
        connection.execute(text("DELETE FROM users_shadowed WHERE user_id = '2'"))
        connection.execute(text("UPDATE users SET _source_key = 'a.csv' WHERE user_id = '2'"))
        connection.execute(
            text(
                "INSERT INTO users_shadowed (_source_key, _source_line, user_id, first_name,"
                " last_name, birthts, _run_id)"
                " VALUES ('b.csv', 2, '2', 'Larger', 'Lee', 0, :run)"
            ),
            {"run": run_id},
        )
    return run_id


def get(client: FlaskClient, query: str = "") -> list[dict[str, Any]]:
    response = client.get(f"{PATH}{query}")
    assert response.status_code == 200, response.text
    rows: list[dict[str, Any]] = response.get_json()["shadowed"]
    return rows


def test_a_shadowed_row_is_listed_with_the_row_it_lost_to(client: FlaskClient, lost: int):
    larger, old, first = get(client)
    assert len(old.pop("etag")) == len(old["lost_to"].pop("etag")) == 32
    assert old == {
        "user_id": "1",
        "key": "old.csv",
        "line": 2,
        "last_modified": "2026-01-01T00:00:00Z",
        "first_name": "Old",
        "last_name": "Lee",
        "birthts": 0,
        "extra": {"city": "Oslo"},
        "run_id": lost,
        "lost_by": "last_modified",
        "lost_to": {"key": "1.csv", "line": 2, "last_modified": "2026-01-02T00:00:00Z"},
    }
    assert (larger["key"], larger["lost_by"], larger["lost_to"]["key"]) == ("b.csv", "key", "a.csv")
    assert (first["line"], first["lost_by"], first["lost_to"]["line"]) == (2, "line", 3)


@pytest.mark.usefixtures("lost")
def test_shadowed_rows_are_chosen_by_user_and_object(client: FlaskClient):
    assert [row["user_id"] for row in get(client, "?key=team.csv")] == ["3"]
    assert [row["key"] for row in get(client, "?user_id=1")] == ["old.csv"]
    assert get(client, "?user_id=1&key=team.csv") == get(client, "?user_id=4") == []


def test_pages_hold_every_row_once_in_order(
    client: FlaskClient, bucket: TestBucket, manager: DataManager
):
    """With keys that are awkward in a cursor, each page continues where the last one ended."""
    keys = ["a b.csv", "a%3A1:2.csv", "a+b&c=d.csv", "ä/1:ü.csv"]
    for key in keys:
        bucket.put(key, HEADER + "same,Ann,Lee,0,\n" * 3)
    manager.run(Trigger.CLI)
    seen, url = [], f"{PATH}?limit=2"
    while True:
        response = client.get(url)
        page = response.get_json()["shadowed"]
        assert 0 < len(page) <= 2
        seen += [(row["key"], row["line"]) for row in page]
        if "Link" not in response.headers:
            break
        url = response.headers["Link"].partition(">")[0].removeprefix("<")
    everything = [(row["key"], row["line"]) for row in get(client)]
    assert seen == everything == sorted(everything, key=lambda row: (row[0].encode(), row[1]))
    assert len(seen) == 3 * len(keys) - 1


def test_restored_row_is_no_longer_listed(
    client: FlaskClient, bucket: TestBucket, manager: DataManager
):
    bucket.user("1.csv", "Old")
    bucket.user("x/1.csv", "New")
    manager.run(Trigger.CLI)
    assert len(get(client)) == 1
    bucket.remove(get(client)[0]["lost_to"]["key"])
    manager.run(Trigger.CLI)
    assert get(client) == []


@pytest.mark.parametrize("name", ["people", "Users", "users%20", "%2E%2E"])
def test_an_unknown_dataset_is_a_404(client: FlaskClient, name: str):
    response = client.get(f"/datasets/{name}/shadowed")
    assert response.status_code == 404
    assert response.mimetype == "application/problem+json"
    assert response.get_json()["type"] == "urn:bucketline:problem:unknown-dataset"
    assert "users" in response.get_json()["hint"]


@pytest.mark.parametrize(
    "query",
    [
        *("after=x", "after=2", "after=:k", "after=2:", "after=-1:k", "after=2:%00", "after=٢:k"),
        *("limit=0", "key=", "user=1", "user_id=%00", "after=12345678901:k"),
    ],
)
def test_invalid_parameter_of_shadowed_is_named(client: FlaskClient, query: str):
    response = client.get(f"{PATH}?{quote(query, safe='=%&')}")
    assert response.status_code == 422
    assert response.get_json()["errors"][0]["parameter"] == query.partition("=")[0]


@pytest.mark.usefixtures("lost")
def test_a_line_of_any_size_is_a_place(client: FlaskClient):
    assert [row["key"] for row in get(client, "?after=9999999999:b.csv")] == ["old.csv", "team.csv"]


# -- the command


def run(settings: Settings, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "etl", *command],
        cwd=ROOT,
        env=environment(settings) | {"COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def shadowed(settings: Settings, *options: str) -> str:
    done = run(settings, "shadowed", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("lost")
def test_command_lists_rows_with_their_superseding_object(settings: Settings):
    assert shadowed(settings).splitlines() == [
        "b.csv, line 2: user 2, Larger Lee, 0",
        "  lost to a.csv, line 2: that key is smaller",
        "old.csv, line 2: user 1, Old Lee, 0",
        "  lost to 1.csv, line 2: that object is newer",
        "team.csv, line 2: user 3, First Lee, 0",
        "  lost to team.csv, line 3: that line is later",
    ]
    (one,) = json.loads(shadowed(settings, "--user", "1", "--json"))
    assert (one["key"], one["lost_to"]["key"]) == ("old.csv", "1.csv")
    assert json.loads(shadowed(settings, "--key", "a.csv", "--json")) == []
    none = shadowed(settings, "--user", "4", "--key", "a.csv")
    assert none == (
        "No row of user '4' in 'a.csv' is shadowed.\n3 other rows are: `./run.sh shadowed`.\n"
    )


ORDERS_FILE = "order_id,amount,rank,updated\nA,12.50,1,5\nA,1,,7\n"


def test_command_lists_rows_of_every_dataset(settings: Settings, bucket: TestBucket):
    own = settings.source_bucket.replace("src-", "shop-")
    ObjectStore(settings).ensure_bucket(own)
    shop = TestBucket(settings.model_copy(update={"source_bucket": own}))
    shop.put("orders/1.csv", ORDERS_FILE)
    bucket.put("orders/1.csv", ORDERS_FILE)  # another object, which is no source
    bucket.put("team.csv", HEADER + "3,First,Lee,0,\n3,Last,Lee,0,\n")
    declared = (replace(ORDERS, bucket=own), READINGS, replace(USERS, exclude=("orders/**",)))
    DataManager(settings, datasets=declared).run(Trigger.CLI)
    assert shadowed(settings).splitlines() == [
        "orders/1.csv, line 2: orders A, amount 12.50, rank 1, updated 5",
        "  lost to orders/1.csv, line 3: its updated is greater",
        "team.csv, line 2: user 3, First Lee, 0",
        "  lost to team.csv, line 3: that line is later",
    ]
    order, user = json.loads(shadowed(settings, "--json"))
    assert (user["dataset"], user["user_id"]) == ("users", "3")
    assert (order["dataset"], order["lost_by"], order["lost_to"]["line"]) == ("orders", "prefer", 3)
    assert order["row"] == {"order_id": "A", "amount": "12.50", "rank": 1, "updated": 5}
    assert len(shadowed(settings, "--user", "3").splitlines()) == 2
    assert len(shadowed(settings, "--dataset", "orders").splitlines()) == 2
    assert shadowed(settings, "--dataset", "readings").splitlines() == [
        "No row of dataset 'readings' is shadowed.",
        "2 other rows are: `./run.sh shadowed`.",
    ]


def test_unknown_dataset_is_refused_with_the_known_ones(settings: Settings):
    for command in ("shadowed", "problems"):
        done = run(settings, command, "--dataset", "orders")
        assert done.returncode == 2
        assert "There is no dataset 'orders'.\nThe datasets: users." in done.stderr
    done = run(settings, "shadowed", "--dataset", "orders", "--user", "1")
    assert (done.returncode, "--user" in done.stderr) == (2, True)


def test_a_pipe_gets_every_row_and_problem(
    settings: Settings, bucket: TestBucket, manager: DataManager
):
    count = SHOWN_ITEMS + 2
    bucket.put("a.csv", HEADER + "1,Ann,Lee,0,\n" * (count + 1) + "2,Ann,Lee,x,\n" * count)
    manager.run(Trigger.CLI)
    assert shadowed(settings).count("lost to a.csv") == count
    assert run(settings, "problems").stdout.count("not-an-integer") == count


def test_a_terminal_gets_the_first_ones_and_how_to_get_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    for found, is_more in ((SHOWN_ITEMS, False), (SHOWN_ITEMS + 1, True)):
        monkeypatch.setenv("FORCE_COLOR", "1")
        assert print_found(iter(range(found)), lambda one: [Text(f"- {one}")], filters="--key")
        shown = capsys.readouterr().out.splitlines()
        assert sum(line.startswith("- ") for line in shown) == SHOWN_ITEMS
        assert ("Filter with --key" in shown[-1]) == is_more
    assert not print_found(iter(()), lambda _: [], filters="")


def test_row_values_cannot_forge_an_output_line(
    settings: Settings, bucket: TestBucket, manager: DataManager
):
    bucket.put("team.csv", HEADER + '1,"[red]A\nn\x1b[2J",Lee,0,\n' * 2)
    manager.run(Trigger.CLI)
    (line, _) = shadowed(settings).splitlines()
    assert "[red]A\\nn\\x1b[2J" in line
