"""The OpenAPI description, its page, and the HTTP documentation cover every route."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema_rs
from pydantic import SecretStr

from api import create_app
from etl.model.dataset import Dataset, Field, FieldType
from etl.model.roles import Role, entry_for, new_key
from tests.api_client import expect_problem, get
from tests.dataset_rows import install, put_rows
from tests.sample_datasets import ORDERS, READINGS, REQUIRED

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from sqlalchemy import Engine

    from etl.settings import Settings

# By column: the type of its field with its SQL, and a value.
KINDS: dict[str, tuple[tuple[FieldType, str | None], object]] = {
    "text": ((FieldType.STRING, None), "a"),
    "short": ((FieldType.STRING, "varchar(3)"), "abc"),
    "uuid": ((FieldType.STRING, "uuid"), "01234567-89ab-cdef-0123-456789abcdef"),
    "small": ((FieldType.INTEGER, "smallint"), -3),
    "large": ((FieldType.INTEGER, None), 2**63 - 1),
    "exact": ((FieldType.NUMBER, None), "12345678901234567890.5"),
    "float": ((FieldType.NUMBER, "double precision"), "NaN"),
    "real": ((FieldType.NUMBER, "real"), 1.5),
    "flag": ((FieldType.BOOLEAN, None), True),
    "day": ((FieldType.DATE, None), "2026-01-31"),
    "clock": ((FieldType.TIME, None), "13:45:00"),
    "instant": ((FieldType.DATETIME, None), "2026-01-31T13:45:00Z"),
    "plain": ((FieldType.DATETIME, "timestamp"), "2026-01-31T13:45:00"),
    "document": ((FieldType.OBJECT, None), {"a": [1, None]}),
}
ALL_TYPES = Dataset(
    name="kinds",
    table="kinds",
    include=("kinds/*.csv",),
    primary_key=("text",),
    fields=tuple(
        Field(name=name, type=type_, sql=sql, constraints=REQUIRED)
        if name == "text"
        else Field(name=name, type=type_, sql=sql)
        for name, ((type_, sql), _) in KINDS.items()
    ),
)
FILTERS = ["", "a", "eq", "is.a", "in.1", "like.a", "eqq.1", "not.a", "not.not.is.null", "in.(a"]


def test_openapi_describes_every_route_and_no_other(client: FlaskClient):
    spec = get(client, "/openapi.json")
    assert spec["openapi"] == "3.1.0"
    described = {
        (re.sub("^/datasets/users", "/datasets/{dataset}", path), method.upper())
        for path, methods in spec["paths"].items()
        for method in methods
    }
    listed = {
        (route["path"], method)
        for route in get(client, "/")["routes"]
        for method in route["methods"]
    }
    assert listed - described == {("/openapi.json", "GET"), ("/docs", "GET")}
    assert described <= listed


def test_openapi_references_resolve(client: FlaskClient):
    spec = get(client, "/openapi.json")
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(spec)))
    assert references <= spec["components"]["schemas"].keys()


def test_openapi_describes_parameters_as_they_are_checked(client: FlaskClient):
    operation = get(client, "/openapi.json")["paths"]["/data"]["get"]
    by_name = {parameter["name"]: parameter for parameter in operation["parameters"]}
    assert by_name.keys() == {
        *("is_image_exists", "image", "min_age", "max_age"),
        *("limit", "after", "fields", "format"),
    }
    assert by_name["min_age"]["schema"] == {"type": "integer", "minimum": 0, "maximum": 150}
    assert all(parameter["description"] for parameter in by_name.values())


def test_every_operation_describes_errors_with_an_example(client: FlaskClient):
    for methods in get(client, "/openapi.json")["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                for mimetype, content in response.get("content", {}).items():
                    assert content["example"], operation["operationId"]
                    is_problem = mimetype == "application/problem+json"
                    is_health = "Health" in content["schema"].get("$ref", "")
                    assert is_problem == (int(status) >= 400 and not is_health)
                assert bool(response.get("content")) == (status not in ("204", "303", "304"))


def test_docs_page_loads_nothing_from_other_hosts(client: FlaskClient):
    with client.get("/docs") as response:
        page = response.text
    assert "//" not in page.replace("<!doctype html>", "")
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        with client.get(address) as response:
            assert response.status_code == 200, address
    with client.get("/docs/oauth2-redirect.html") as response:
        expect_problem(response, 404)


def test_every_route_is_documented_with_curl(client: FlaskClient):
    words = (Path(__file__).parents[2] / "docs/reference/http-api.md").read_text()
    for route in get(client, "/")["routes"]:
        for method in route["methods"]:
            assert f"{method} {route['path']}" in words
    assert words.count("curl") >= len(get(client, "/")["routes"])


# -- declared datasets


def test_columns_of_datasets_are_schemas_and_filters(client: FlaskClient, engine: Engine):
    install(engine, ORDERS, READINGS)
    spec = get(client, "/openapi.json")
    operation = spec["paths"]["/datasets/orders/rows"]["get"]
    assert operation["operationId"] == "list_rows_of_orders"
    assert operation["x-role"] == "reader"
    names = [each["name"] for each in operation["parameters"]]
    assert names[:4] == ["limit", "after", "fields", "format"]
    assert names[4:8] == ["order_id", "amount", "rank", "updated"]
    assert "dataset" not in names
    schemas = spec["components"]["schemas"]
    content = operation["responses"]["200"]["content"]
    assert content["application/json"]["schema"] == {
        "type": "array",
        "items": {"$ref": "#/components/schemas/RowOf_orders"},
    }
    properties = schemas["RowOf_orders"]["properties"]
    assert properties["amount"]["type"] == ["number", "null"]
    assert properties["order_id"]["type"] == "string"
    assert "_retired_at" in schemas["RetiredRowOf_orders"]["properties"]
    assert "/datasets/orders/rows/{row_key}" in spec["paths"]
    assert "/datasets/readings/rows/{row_key}" not in spec["paths"]
    assert schemas["RowOf_readings"]["properties"]["celsius"]["type"] == [
        "number",
        "string",
        "null",
    ]


def test_rows_are_as_described(client: FlaskClient, engine: Engine):
    """Every type, and the filters that the patterns of parameters allow."""
    install(engine, ALL_TYPES)
    row = {name: value for name, (_, value) in KINDS.items()}
    put_rows(engine, ALL_TYPES, row, {"text": "b"})
    spec = get(client, "/openapi.json")
    schema = spec["components"]["schemas"][f"RowOf_{ALL_TYPES.name}"]
    for found in get(client, f"/datasets/{ALL_TYPES.name}/rows"):
        assert found.keys() == schema["examples"][0].keys()
        jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(found)
    parameters = spec["paths"][f"/datasets/{ALL_TYPES.name}/rows"]["get"]["parameters"]
    by_name = {each["name"]: re.compile(each["schema"]["pattern"]) for each in parameters[4:]}
    for name in KINDS:
        for text in FILTERS:
            url = f"/datasets/{ALL_TYPES.name}/rows"
            status = client.get(url, query_string={name: text}).status_code
            if not by_name[name].fullmatch(text):
                assert status == 422, (name, text)
    for name in KINDS:
        assert by_name[name].fullmatch("not.is.null")
        assert get(client, f"/datasets/{ALL_TYPES.name}/rows?{name}=not.is.null")


def test_description_follows_the_declarations(client: FlaskClient, engine: Engine):
    install(engine, ORDERS)
    assert "/datasets/orders/rows" in get(client, "/openapi.json")["paths"]
    more = replace(ORDERS, fields=(*ORDERS.fields, Field(name="paid", type=FieldType.BOOLEAN)))
    install(engine, more, READINGS)
    spec = get(client, "/openapi.json")
    assert "paid" in spec["components"]["schemas"]["RowOf_orders"]["properties"]
    install(engine, READINGS)
    assert "/datasets/orders/rows" not in get(client, "/openapi.json")["paths"]


def test_without_the_database_the_routes_are_described(without_database: FlaskClient):
    paths = get(without_database, "/openapi.json")["paths"]
    assert "/datasets/{dataset}/rows" in paths
    assert "/datasets/users/rows" not in paths


def test_names_of_clients_functions_and_classes_are_unique(client: FlaskClient, engine: Engine):
    """Names that differ in letter case only, and columns with the names of parameters."""
    columns = ("limit", "Format", "userId", "user_id", "a b")
    install(
        engine,
        ORDERS,
        replace(READINGS, name="Orders"),
        added=columns,
    )
    spec = get(client, "/openapi.json")
    operations = [one["get"]["operationId"] for one in spec["paths"].values() if "get" in one]
    assert len({one.lower() for one in operations}) == len(operations)
    assert {"RowOf_Orders", "RowOf_orders_2"} <= spec["components"]["schemas"].keys()
    names = [each["name"] for each in spec["paths"]["/datasets/orders/rows"]["get"]["parameters"]]
    assert {"limit", "userId"} <= set(names)
    assert {"Format", "user_id", "a b"}.isdisjoint(names)


def test_callers_see_only_columns_of_their_datasets(settings: Settings, engine: Engine):
    install(engine, ORDERS, READINGS)
    one, all_ = new_key(), new_key()
    entries = [
        entry_for("one", Role.READER, one, ["orders"]),
        entry_for("all", Role.READER, all_),
    ]
    keys = SecretStr(",".join(map(str, entries)))
    client = create_app(settings.model_copy(update={"api_keys": keys})).test_client()
    seen = []
    for key in (one, all_, new_key()):
        paths = client.get("/openapi.json", headers={"X-API-Key": key}).get_json()["paths"]
        names = ("orders", "readings")
        seen.append([name for name in names if f"/datasets/{name}/rows" in paths])
    assert seen == [["orders"], ["orders", "readings"], []]
    assert "celsius" not in client.get("/openapi.json").text
