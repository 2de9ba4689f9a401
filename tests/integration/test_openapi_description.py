"""The OpenAPI description, its page, and the HTTP documentation cover every route."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests.api_client import expect_problem, get

if TYPE_CHECKING:
    from flask.testing import FlaskClient


def test_openapi_describes_every_route_and_no_other(client: FlaskClient):
    spec = get(client, "/openapi.json")
    assert spec["openapi"] == "3.1.0"
    described = {
        (path, method.upper()) for path, methods in spec["paths"].items() for method in methods
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
                assert bool(response.get("content")) == (status not in ("204", "304"))


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
    words = (Path(__file__).parents[2] / "docs" / "reference" / "http-api.md").read_text()
    for route in get(client, "/")["routes"]:
        for method in route["methods"]:
            assert f"{method} {route['path']}" in words
    assert words.count("curl") >= len(get(client, "/")["routes"])
