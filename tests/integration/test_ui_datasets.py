"""The pages of datasets, and the pages of their rows."""

from __future__ import annotations

import ast
import csv
import html
import io
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import pyarrow as pa
import pytest
from pyarrow import parquet
from pydantic import SecretStr
from sqlalchemy import text

from api import create_app
from api.ui.render import query
from etl.model.dataset import Constraints, Dataset, Field, FieldType
from etl.model.roles import Role, entry_for, new_key
from etl.model.values import Trigger
from tests.conftest import TestBucket
from tests.dataset_rows import install, put_rows
from tests.processes import serving
from tests.sample_datasets import ORDERS, PARTS, READINGS
from tests.ui_client import BROWSER, Seen, send, visit

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from sqlalchemy import Engine

    from etl.settings import Settings
    from etl.sync.manager import DataManager

# Columns with the names of parameters, of the dataset's own argument, and with quotes.
ODD = Dataset(
    name="odd",
    table="odd",
    include=("odd/*.csv",),
    primary_key=("id",),
    fields=(
        Field(name="id", constraints=Constraints(required=True)),
        Field(name="limit", type=FieldType.INTEGER),
        Field(name="sort"),
        Field(name="dataset"),
        Field(name='"q"'),
        Field(name="_external"),
    ),
    indexes=(("limit",),),
)


@pytest.fixture
def orders(engine: Engine) -> None:
    """65 orders, whose amounts repeat; each fifth has none."""
    install(engine, ORDERS)
    rows = [
        {
            "order_id": f"o{number:03}",
            "amount": None if number % 5 == 0 else number % 7 + 0.25,
            "rank": number,
            "updated": number,
        }
        for number in range(65)
    ]
    put_rows(engine, ORDERS, *rows)


def keys(seen: Seen) -> list[str]:
    """The keys of the rows of a page, by the links to them."""
    paths = (urlsplit(link).path for link in seen.links)
    return [path.rpartition("/rows/")[2] for path in paths if "/rows/" in path]


def all_keys(client: FlaskClient, url: str) -> list[str]:
    """The keys of all pages from this one on."""
    found: list[str] = []
    following: str | None = url
    while following is not None:
        seen = visit(client, following)
        assert seen.status == 200, seen.text
        found += keys(seen)
        following = next((one for one in seen.links if "after=" in urlsplit(one).query), None)
    return found


@pytest.mark.usefixtures("orders")
def test_the_list_has_the_state_of_each_dataset(client: FlaskClient):
    seen = visit(client, "/ui/datasets")
    assert seen.h1 == "Datasets"
    assert "/ui/datasets/orders" in [urlsplit(one).path for one in seen.links]
    assert "orders/**/*.csv" in seen.text
    assert " 65 " in seen.text


def test_a_dataset_shows_what_is_declared_and_what_is_not(
    client: FlaskClient, manager: DataManager, bucket: TestBucket
):
    bucket.put("a.csv", "user_id,first_name,last_name,birthts,branch\n1,A,B,0,north\n2,C,D,0,\n")
    report = manager.run(Trigger.CLI)
    seen = visit(client, "/ui/datasets/users")
    assert seen.h1 == "users"
    assert "2 rows from 1 object" in seen.text
    assert "birthdate date, from birthts date" in seen.text
    assert "branch not declared in 1 row _extra" in seen.text
    assert "values are being computed" in seen.text
    form = seen.form("/statistics")
    assert client.post(form.action, data=form.fields, headers=BROWSER).status_code == 303
    computed = visit(client, "/ui/datasets/users")
    assert f"values as of run {report.id}" in computed.text
    assert "first_name string, required text 0 2 A C" in computed.text
    assert "Compute now" not in computed.text


def test_the_users_are_counted_by_age_again_when_they_change(
    client: FlaskClient, manager: DataManager, bucket: TestBucket
):
    bucket.user("1.csv", birthts=0)  # 56 years on the day of the tests
    bucket.user("2.csv", birthts=946_684_800_000)  # 26
    manager.run(Trigger.CLI)
    assert "50 to 59" not in visit(client, "/ui/datasets/users").text
    seen = panel_of(client)
    assert "20 to 29 1 30 to 39 0 40 to 49 0 50 to 59 1" in seen.text
    assert "with picture, 0 without, 2 mean age 41.0 years" in seen.text
    assert seen.text.partition("Age")[2] in visit(client, "/ui/datasets/users").text
    bucket.user("3.csv", birthts=0)
    manager.run(Trigger.CLI)
    assert "50 to 59 1" in visit(client, "/ui/datasets/users").text  # as of the first run
    assert "50 to 59 2" in panel_of(client).text
    groups = client.get("/datasets/users/stats").get_json()["columns"]["age"]
    assert set(groups) == {"nulls", "distinct", "min", "max"}


def panel_of(client: FlaskClient) -> Seen:
    """The panel that computes the statistics of the users, which their page loads."""
    (url,) = (one for one in visit(client, "/ui/datasets/users").loaded if "/columns" in one)
    seen = visit(client, url)
    assert not [one for one in seen.loaded if "/columns" in one]
    return seen


def test_statistics_of_a_large_table_are_computed_only_on_request(
    client: FlaskClient, manager: DataManager, bucket: TestBucket, engine: Engine
):
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    with engine.begin() as connection:
        connection.execute(text("UPDATE dataset_tally SET rows = 1000000"))
    seen = visit(client, "/ui/datasets/users")
    assert "values not computed yet" in seen.text
    assert not [one for one in seen.loaded if "/columns" in one]
    assert "Compute now" in seen.form("/statistics").buttons


def test_the_chart_begins_with_the_rows_before_its_first_hour(
    client: FlaskClient, manager: DataManager, bucket: TestBucket, engine: Engine
):
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    seen = visit(client, "/ui/datasets/users")
    assert re.search("Rows of users since .+ UTC: from 1 to 1", seen.response.text)
    assert "Rows since" in seen.text
    bucket.user("2.csv")
    manager.run(Trigger.CLI)
    with engine.begin() as connection:
        connection.execute(text("UPDATE dataset_hour SET rows = 9, rows_inserted = 2"))
    seen = visit(client, "/ui/datasets/users")
    assert re.search("Rows of users since .+ UTC: from 7 to 9", seen.response.text)
    assert "Rows, last 30 days" in seen.text


def test_a_dataset_that_does_not_exist_is_not_found(client: FlaskClient):
    for path in ("", "/rows", "/retired", "/gallery", "/shadowed", "/rows/1", "/export/csv"):
        assert visit(client, f"/ui/datasets/none{path}").status == 404


# -- rows


@pytest.mark.usefixtures("orders")
def test_rows_come_in_pages_each_once(client: FlaskClient):
    found = all_keys(client, "/ui/datasets/orders/rows")
    assert found == [f"o{number:03}" for number in range(65)]


@pytest.mark.parametrize("sort", ["amount", "-amount", "updated", "-updated", "-order_id"])
@pytest.mark.usefixtures("orders")
def test_rows_are_ordered_by_indexed_columns(client: FlaskClient, engine: Engine, sort: str):
    name, order = sort.removeprefix("-"), "DESC" if sort.startswith("-") else "ASC"
    with engine.connect() as connection:
        expected = connection.scalars(
            text(
                f"SELECT order_id FROM orders WHERE {name} IS NOT NULL"
                f" ORDER BY {name} {order}, order_id {order}"
            )
        ).all()
    assert all_keys(client, f"/ui/datasets/orders/rows?sort={sort}") == expected
    seen = visit(client, f"/ui/datasets/orders/rows?sort={sort}")
    left_out = f"Rows without {name} are left out" in seen.text
    assert left_out == (name != "order_id")


@pytest.mark.usefixtures("orders")
def test_other_columns_are_no_order(client: FlaskClient):
    for name in ("rank", "nothing", "-", "-rank"):
        assert visit(client, f"/ui/datasets/orders/rows?sort={name}").status == 422


@pytest.mark.usefixtures("orders")
def test_filters_of_the_api_apply_and_each_can_be_removed(client: FlaskClient):
    url = "/ui/datasets/orders/rows?rank=gte.10&rank=lt.13&amount=is.not_null"
    seen = visit(client, url)
    assert keys(seen) == ["o011", "o012"]
    assert "rank ≥ 10" in seen.text
    assert "amount is not empty" in seen.text
    without = [one for one in seen.links if "amount=" not in one and "rank=gte.10" in one]
    assert "o010" in keys(visit(client, without[0]))
    wrong = visit(client, "/ui/datasets/orders/rows?rank=gte.x")
    assert wrong.status == 422
    assert "x" in wrong.text


@pytest.mark.usefixtures("orders")
def test_the_form_adds_a_filter_to_those_that_apply(client: FlaskClient):
    seen = visit(client, "/ui/datasets/orders/rows?rank=gte.10&sort=-updated")
    form = seen.form("/filter")
    fields = form.fields | {"column": "order_id", "is": "like", "value": "2_"}
    response = client.get(form.action, query_string=fields, headers=BROWSER)
    assert response.status_code == 303
    asked = parse_qs(urlsplit(response.location).query)
    assert asked == {"rank": ["gte.10"], "sort": ["-updated"], "order_id": ["like.*2\\_*"]}
    assert keys(visit(client, response.location)) == []
    assert "No row matches these filters." in visit(client, response.location).text


def test_columns_may_have_any_name(client: FlaskClient, engine: Engine):
    install(engine, ODD)
    rows = [
        {"id": str(number), "limit": number, "sort": "a", "dataset": "b", '"q"': "c"}
        for number in range(30)
    ]
    put_rows(engine, ODD, *rows)
    assert len(all_keys(client, "/ui/datasets/odd/rows?sort=-limit")) == 30
    for column in ("limit", "sort", "dataset", '"q"', "_external"):
        form = visit(client, "/ui/datasets/odd/rows").form("/filter")
        fields = form.fields | {"column": column, "is": "is.not_null", "value": ""}
        response = client.get(form.action, query_string=fields, headers=BROWSER)
        seen = visit(client, response.location)
        assert seen.status == 200, seen.text
        assert f"{column} is not empty" in seen.text
        expected = 0 if column == "_external" else 30
        assert len(all_keys(client, response.location)) == expected


def test_a_link_that_changes_a_parameter_keeps_one_with_the_name_of_an_argument(
    client: FlaskClient,
):
    with client.application.test_request_context("/ui/datasets/odd/rows?dataset=eq.b&_external=a"):
        assert query(after="1") == "/ui/datasets/odd/rows?dataset=eq.b&_external=a&after=1"
        assert query(dataset=None, _external=None) == "/ui/datasets/odd/rows"


def test_pages_of_the_api_follow_a_filter_of_a_column_named_dataset(
    client: FlaskClient, engine: Engine
):
    install(engine, ODD)
    put_rows(engine, ODD, *({"id": str(number), "dataset": "b"} for number in range(3)))
    response = client.get("/datasets/odd/rows?dataset=eq.b&limit=2")
    assert len(response.get_json()) == 2
    (following,) = re.findall("<(.+)>; rel=.?next", response.headers["Link"])
    assert [one["id"] for one in client.get(following).get_json()] == ["2"]


def test_rows_without_a_key_are_named_by_their_place(client: FlaskClient, engine: Engine):
    install(engine, READINGS)
    rows = [
        {"sensor": "a", "celsius": number / 2, "site": "x", "_source_key": "a?b/c#.csv"}
        for number in range(25)
    ]
    put_rows(engine, READINGS, *rows)
    seen = visit(client, "/ui/datasets/readings/rows")
    assert len(all_keys(client, "/ui/datasets/readings/rows")) == 25
    assert len(all_keys(client, "/ui/datasets/readings/rows?sort=-sensor")) == 25
    row = visit(client, next(one for one in seen.links if "/rows/" in one))
    assert row.status == 200
    assert "line 2 of a?b/c#.csv" in row.text
    assert visit(client, "/ui/datasets/readings/shadowed").status == 404


def test_retired_rows_have_a_page(client: FlaskClient, engine: Engine):
    install(engine, ORDERS)
    put_rows(engine, ORDERS, {"order_id": "gone", "rank": 7}, suffix="_retired")
    seen = visit(client, "/ui/datasets/orders/retired?rank=eq.7")
    assert "gone" in seen.text
    assert "Retired, UTC" in seen.text
    assert "No row matches" in visit(client, "/ui/datasets/orders/retired?rank=eq.8").text


@pytest.mark.usefixtures("orders")
def test_what_is_shown_can_be_saved_as_a_file(client: FlaskClient):
    url = "/ui/datasets/orders/rows?rank=gte.50&sort=-updated&limit=20&fields=order_id,rank"
    seen = visit(client, url)
    links = {urlsplit(one).path.rpartition("/")[2]: one for one in seen.links if "/export/" in one}
    assert set(links) == {"csv", "parquet", "json"}
    expected = [{"order_id": f"o{number:03}", "rank": number} for number in range(50, 65)]
    found = {kind: client.get(link) for kind, link in links.items()}
    for kind, response in found.items():
        named = f'attachment; filename="orders.{kind}"'
        assert response.headers["Content-Disposition"] == named
    assert json.loads(found["json"].data) == expected
    lines = csv.DictReader(io.StringIO(found["csv"].text))
    assert [one["order_id"] for one in lines] == [one["order_id"] for one in expected]
    assert parquet.read_table(pa.BufferReader(found["parquet"].data)).to_pylist() == expected
    assert client.get("/ui/datasets/orders/export/xml").status_code == 404


@pytest.mark.usefixtures("orders")
def test_lines_to_copy_read_the_same_rows(settings: Settings, engine: Engine):
    with (
        serving(settings) as (host, port, _),
        urlopen(f"http://{host}:{port}/ui/datasets/orders/rows?rank=gte.63") as page,
    ):
        lines = dict(
            re.findall(
                r"<h3>(.+?)</h3><code class=.copy.>(.+?)</code>", page.read().decode(), re.DOTALL
            )
        )
        found = {
            name: executed(html.unescape(code)) for name, code in lines.items() if "SQL" not in name
        }
        assert found["pandas"]["order_id"].to_list() == ["o063", "o064"]
        assert found["polars"]["order_id"].to_list() == ["o063", "o064"]
        assert [row[0] for row in found["DuckDB"].fetchall()] == ["o063", "o064"]
    with engine.connect() as connection:
        assert len(connection.execute(text(lines["SQL, all rows"])).all()) == 65


def executed(code: str) -> Any:  # noqa: ANN401 - a table of any library
    """The value of the last line."""
    names: dict[str, Any] = {}
    *before, last = ast.parse(code).body
    assert isinstance(last, ast.Expr)
    exec(compile(ast.Module(before, []), "lines", "exec"), names)  # noqa: S102 - our own lines
    return eval(compile(ast.Expression(last.value), "line", "eval"), names)  # noqa: S307 - our own line


def test_lines_to_copy_name_the_key_and_quote_the_table(settings: Settings, engine: Engine):
    install(engine, READINGS)
    put_rows(engine, READINGS, {"sensor": "a", "site": "x"})
    key = new_key()
    entry = entry_for("reader", Role.READER, key)
    app = create_app(settings.model_copy(update={"api_keys": SecretStr(str(entry))}))
    client = app.test_client()
    send(client, visit(client, "/ui/sign-in"), "/sign-in", key=key)
    seen = visit(client, "/ui/datasets/readings/rows")
    assert seen.text.count('{"Authorization": "Bearer KEY"}') == 3
    assert 'SELECT * FROM public."Readings";' in seen.text
    app.extensions["bucketline"].engine.dispose()


def test_a_gallery_is_only_of_datasets_with_attachments(client: FlaskClient, engine: Engine):
    install(engine, ORDERS, PARTS)
    put_rows(engine, PARTS, {"plant": "a,b", "number": 1, "drawing": "d"})
    assert visit(client, "/ui/datasets/orders/gallery").status == 404
    seen = visit(client, "/ui/datasets/parts/gallery")
    assert "no picture" in seen.text
    row = visit(client, next(one for one in seen.links if "/rows/" in one))
    assert (row.status, row.h1) == (200, "a%2Cb,1")
