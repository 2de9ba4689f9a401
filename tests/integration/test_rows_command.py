"""`rows`: the output is that of the API, with the same filters, formats and pages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from click.testing import Result
from flask.testing import FlaskClient
from sqlalchemy import Engine, text

from etl.model.dataset import Dataset, Field
from etl.model.errors import ConfigurationError
from tests.dataset_rows import install, put_rows
from tests.sample_datasets import ORDERS, READINGS

Command = Callable[..., Result]
ROWS = [
    {"order_id": f"o{number}", "amount": number * 1.5, "rank": number % 3, "updated": number}
    for number in range(7)
]


@pytest.fixture
def orders(engine: Engine) -> None:
    install(engine, ORDERS)
    put_rows(engine, ORDERS, *ROWS)


def api(client: FlaskClient, dataset: str, **parameters: object) -> bytes:
    response = client.get(f"/datasets/{dataset}/rows?{urlencode(parameters)}")
    assert response.status_code == 200, response.text
    return response.data


def printed(result: Result) -> bytes:
    assert result.exit_code == 0, result.output
    return result.stdout_bytes


@pytest.mark.usefixtures("orders")
@pytest.mark.parametrize("kind", ["csv", "json", "ndjson", "parquet", "arrow"])
def test_every_format_is_that_of_the_api(kind: str, command: Command, client: FlaskClient):
    everything = command("rows", "orders", "--format", kind)
    assert printed(everything) == api(client, "orders", format=kind)
    page = command("rows", "orders", "--format", kind, "--limit", "3", "--after", "o1")
    assert printed(page) == api(client, "orders", format=kind, limit=3, after="o1")


@pytest.mark.usefixtures("orders")
@pytest.mark.parametrize(
    ("column", "condition"),
    [
        ("amount", "gte.3"),
        ("rank", "in.(1,2)"),
        ("order_id", "not.like.*3"),
        ("updated", "is.null"),
        ("order_id", "eq.o=1"),
    ],
)
def test_filters_are_those_of_the_api(
    column: str, condition: str, command: Command, client: FlaskClient
):
    found = command("rows", "orders", "--where", f"{column}={condition}", "--json")
    assert printed(found) == api(client, "orders", **{column: condition})


@pytest.mark.usefixtures("orders")
def test_several_conditions_must_all_hold(command: Command):
    words = ("rows", "orders", "--where", "amount=gt.1", "--where", "amount=lt.4", "--json")
    assert [row["order_id"] for row in json.loads(command(*words).stdout)] == ["o1", "o2"]


@pytest.mark.usefixtures("orders")
def test_pages_follow_each_other_to_the_end(command: Command):
    found: list[str] = []
    words: list[str] = []
    while True:
        page = command("rows", "orders", "--limit", "3", "--fields", "order_id", "--json", *words)
        found += [row["order_id"] for row in json.loads(page.stdout)]
        more = re.search(r"--after (\S+)`", page.stderr)
        if more is None:
            break
        words = ["--after", more[1]]
    assert found == [row["order_id"] for row in ROWS]


def test_rows_without_a_key_are_paged_by_their_place(engine: Engine, command: Command):
    install(engine, READINGS)
    put_rows(engine, READINGS, *({"site": "x", "sensor": f"s{number}"} for number in range(3)))
    first = command("rows", "readings", "--limit", "2")
    more = re.search(r"--after (.*)`\.", first.stderr)
    assert more is not None
    last = command("rows", "readings", "--after", more[1])
    assert "s2" in last.stdout
    assert "s1" not in last.stdout


@pytest.mark.usefixtures("orders")
def test_a_table_shows_the_rows_and_says_when_there_are_more(command: Command):
    found = command("rows", "orders", "--fields", "amount,order_id", "--limit", "2")
    assert [line.split() for line in found.stdout.splitlines()] == [
        ["amount", "order_id"],
        ["0.00", "o0"],
        ["1.50", "o1"],
    ]
    assert "There are more rows: add `--after o1`." in found.stderr
    assert command("rows", "orders", "--where", "rank=eq.9").stdout == "No row matches.\n"


def test_values_and_names_are_shown_as_text(engine: Engine, command: Command):
    odd = Dataset(
        name="odd",
        table="odd",
        include=("odd/*.csv",),
        fields=(Field(name="[red]name[/red]"), Field(name="text")),
    )
    install(engine, odd)
    put_rows(engine, odd, {"[red]name[/red]": "[bold]x", "text": "a\n\x1b[2Jb"})
    heading, row = command("rows", "odd").stdout.splitlines()
    assert heading.split() == ["[red]name[/red]", "text"]
    assert row.split() == ["[bold]x", "a\\n\\x1b[2Jb"]


@pytest.mark.usefixtures("orders")
def test_retired_rows_are_those_of_the_api(engine: Engine, command: Command, client: FlaskClient):
    put_rows(engine, ORDERS, {"order_id": "gone"}, suffix="_retired")
    found = command("rows", "orders", "--retired", "--json")
    assert printed(found) == client.get("/datasets/orders/retired").data
    assert json.loads(found.stdout)[0]["order_id"] == "gone"


@pytest.mark.usefixtures("orders")
def test_each_fault_is_named(command: Command):
    faulty = command(
        "rows", "orders", "--where", "amonut=eq.1", "--where", "rank=gt.x", "--fields", "nope"
    )
    assert faulty.exit_code == 2
    for part in ("did you mean amount?", "rank ", "names 'nope'"):
        assert part in faulty.stderr
    assert "COLUMN=OPERATOR.VALUE" in command("rows", "orders", "--where", "amount").stderr
    unknown = command("rows", "ordres")
    assert isinstance(unknown.exception, ConfigurationError)


@pytest.mark.usefixtures("orders")
def test_a_table_that_is_gone_is_named(engine: Engine, command: Command):
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE orders"))
    for words in ((), ("--json",)):
        error = command("rows", "orders", *words).exception
        assert isinstance(error, ConfigurationError), error
        assert "is missing" in error.message
