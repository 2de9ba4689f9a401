"""Odd requests for the rows of datasets: each is answered, or refused with a hint."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote, urlencode

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from etl.model.dataset import USERS, OnRemoved
from tests.api_client import expect_problem, get, parameters_at_fault
from tests.dataset_rows import install, put_rows
from tests.integration.test_dataset_rows_api import KINDS, filtered
from tests.sample_datasets import ORDERS, PARTS, READINGS

NUMBERS = (
    *(
        "",
        "NaN",
        "-Infinity",
        "inf",
        "1e39",
        "-1e39",
        "1e-60",
        "1e400",
        "1e-400",
        "1e999",
        "1e9999",
    ),
    *("9" * 131, "-" + "9" * 131, "9" * 132, "0." + "0" * 130 + "1", "-0", "00", "+1", "1 ", "1_0"),
    *("٣", "0x10", "1.", ".5", ".", "32768", "2147483648", "9223372036854775808", "a\0"),
)
TIMES = (
    *("0000-01-01", "0001-01-01", "9999-12-31", "10000-01-01", "2026-02-30", "infinity", "now"),
    *("24:00", "23:59:60", "13:45:00+02", "13:45:00.1234567", "0001-01-01T00:00:00+23:59"),
    *("9999-12-31T23:59:59-23:59", "2026-01-31T13:45:00+16:00", "2026-01-31T00:00:00+23:59:59.9"),
)
TEXTS = ("\0", "x" * 5000, "'; --", "%s %(x)s :x", "\\", '"', "(", "{}", "null", "é😀")
ODD = {
    **dict.fromkeys(("whole", "exact", "cents", "real", "double", "age", "_source_line"), NUMBERS),
    **dict.fromkeys(("day", "clock", "moment", "local"), TIMES),
    **dict.fromkeys(("id", "code", "uuid", "truth", "tags", "_extra"), TEXTS),
}


@pytest.fixture
def kinds(engine: Engine) -> None:
    """The extreme values of floats and times; a row without any."""
    install(engine, KINDS)
    put_rows(
        engine,
        KINDS,
        {"id": "a", "real": "Infinity", "double": "NaN", "moment": "0001-01-01 00:00:00+00"},
        {"id": "b", "real": 1e-45, "double": 5e-324, "moment": "9999-12-31 23:59:59.999999+00"},
        {"id": "c"},
    )


@pytest.mark.usefixtures("kinds")
def test_odd_values_match_or_are_refused_by_name(client: FlaskClient):
    for column, values in ODD.items():
        for value in values:
            filters = urlencode([(column, f"eq.{value}"), (column, f"not.in.({value})")])
            response = client.get(f"/datasets/kinds/rows?{filters}&limit=1")
            if response.status_code != 200:
                assert parameters_at_fault(response) == {column}, value


@pytest.mark.usefixtures("kinds")
@pytest.mark.parametrize(
    ("column", "value"), [("real", "1e39"), ("real", "1e-60"), ("double", "1e309")]
)
def test_a_number_that_a_float_cannot_hold_is_out_of_range(
    client: FlaskClient, column: str, value: str
):
    response = client.get(f"/datasets/kinds/rows?{column}=lt.{value}")
    (fault,) = expect_problem(response, 422)["errors"]
    assert "range" in fault["message"]
    assert value in fault["message"]


@pytest.mark.usefixtures("kinds")
def test_extreme_values_are_found(client: FlaskClient):
    assert filtered(client, "kinds", ("real", "eq.Infinity")) == ["a"]
    assert filtered(client, "kinds", ("real", "eq.1e-45")) == ["b"]
    assert filtered(client, "kinds", ("double", "eq.NaN")) == ["a"]
    assert filtered(client, "kinds", ("double", "lt.1")) == ["b"]
    assert filtered(client, "kinds", ("moment", "lte.0001-01-01T15:59+15:59")) == ["a"]
    # Offsets that PostgreSQL does not know.
    assert filtered(client, "kinds", ("moment", "lt.2026-01-31T00:00:00+23:59")) == ["a"]
    assert filtered(client, "kinds", ("moment", "gt.2026-01-31T00:00:00-23:59")) == ["b"]


@pytest.mark.usefixtures("kinds")
def test_extreme_values_are_json(client: FlaskClient):
    (first, *_) = get(client, "/datasets/kinds/rows")
    assert (first["real"], first["double"]) == ("Infinity", "NaN")
    columns = get(client, "/datasets/kinds/stats")["columns"]
    assert (columns["real"]["max"], columns["double"]["max"]) == ("Infinity", "NaN")
    assert columns["moment"]["min"] == "0001-01-01T00:00:00.000000Z"


def test_unknown_columns_are_refused_on_each_route(client: FlaskClient, engine: Engine):
    install(engine, ORDERS, READINGS, PARTS)
    for dataset in ("orders", "readings", "parts"):
        for route in ("rows", "retired", "shadowed"):
            for query in ("nope=eq.1", "xmin=eq.1", "=eq.1", "_source_key=k", "offset=5"):
                response = client.get(f"/datasets/{dataset}/{route}?{query}")
                assert parameters_at_fault(response) == {query.partition("=")[0]}


def test_limits_are_whole_numbers_in_range(client: FlaskClient, engine: Engine):
    install(engine, ORDERS)
    for limit in ("0", "-1", "10001", "1e3", "+5", "٣", "", "9" * 30, "1&limit=2"):
        for route in ("rows", "retired", "shadowed", "problems"):
            response = client.get(f"/datasets/orders/{route}?limit={limit}")
            assert parameters_at_fault(response) == {"limit"}, limit


def test_cursors_of_another_form_are_refused(client: FlaskClient, engine: Engine):
    install(engine, READINGS, PARTS)
    for after in ("", "a", "a,b", "a,", ",", "a,1,2", "a,1e3", "%2500,1", "%25FF,1"):
        for dataset in ("parts", "readings"):
            response = client.get(f"/datasets/{dataset}/rows?after={after}")
            assert parameters_at_fault(response) == {"after"}, after


def test_keys_of_any_text_are_found_by_their_path(client: FlaskClient, engine: Engine):
    install(engine, PARTS)
    plants = ["a/b", "a,b", "50%", "%2C", "ä 😀", "..", "?x=1#y", ""]
    put_rows(engine, PARTS, *({"plant": one, "number": -1} for one in plants))
    for plant in plants:
        found = get(client, f"/datasets/parts/rows/{quote(plant, safe='')},-1")
        assert found["row"]["plant"] == plant
    for key in ("a,b,-1", "a", "a,1.5", "a%00,1", f"a,{'9' * 132}"):
        expect_problem(client.get(f"/datasets/parts/rows/{key}"), 422)
    expect_problem(client.get(f"/datasets/parts/rows/a,{'9' * 131}"), 404)


def test_every_route_serves_datasets_that_delete_their_rows(client: FlaskClient, engine: Engine):
    declared = [replace(one, on_removed=OnRemoved.DELETE) for one in (ORDERS, READINGS, USERS)]
    install(engine, *declared)
    for one in declared:
        for route in ("", "/rows", "/retired", "/shadowed", "/stats", "/problems"):
            get(client, f"/datasets/{one.name}{route}")
        expect_problem(client.get(f"/datasets/{one.name}/rows/nope"), 404)
