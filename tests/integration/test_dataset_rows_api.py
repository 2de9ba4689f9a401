"""GET /datasets/<dataset>/rows: fields, filters, formats, pages and single rows of any dataset."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlencode

import pyarrow as pa
import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyarrow import ipc, parquet
from sqlalchemy import Engine, insert, text

from api import create_app
from api.rows import cursors
from api.rows.shapes import live_rows
from api.state.catalog import Installed
from etl.db.tables import source_object
from etl.model.dataset import (
    USERS,
    Constraints,
    Dataset,
    Derived,
    DerivedAs,
    Field,
    FieldType,
    UnknownColumns,
)
from etl.settings import Settings
from tests.api_client import TODAY, expect_problem, get, next_url, parameters_at_fault
from tests.dataset_rows import install, put_rows
from tests.sample_datasets import ORDERS, PARTS, READINGS
from tests.user_rows import NOW, person, put_users

FORMATS = ("json", "ndjson", "csv", "parquet", "arrow")

# A column of each type.
KINDS = Dataset(
    name="kinds",
    table="Kinds",
    include=("kinds/*.csv",),
    primary_key=("id",),
    fields=(
        Field(name="id", constraints=Constraints(required=True)),
        Field(name="whole", type=FieldType.INTEGER),
        Field(name="exact", type=FieldType.NUMBER),
        Field(name="cents", type=FieldType.NUMBER, sql="numeric(12,2)"),
        Field(name="real", type=FieldType.NUMBER, sql="real"),
        Field(name="double", type=FieldType.NUMBER, sql="double precision"),
        Field(name="truth", type=FieldType.BOOLEAN),
        Field(name="day", type=FieldType.DATE),
        Field(name="clock", type=FieldType.TIME),
        Field(name="moment", type=FieldType.DATETIME),
        Field(name="local", type=FieldType.DATETIME, sql="timestamp"),
        Field(name="year", type=FieldType.YEAR),
        Field(name="uuid", sql="uuid"),
        Field(name="code", sql="varchar(5)"),
        Field(name="tags", type=FieldType.ARRAY),
        Field(name="born", type=FieldType.EPOCH_MS),
    ),
    derived=(
        Derived(name="born_on", source="born", computed_as=DerivedAs.DATE),
        Derived(name="age", source="born", computed_as=DerivedAs.AGE),
        Derived(name="days", source="moment", computed_as=DerivedAs.AGE),
    ),
)
FULL = {
    "id": "a",
    "whole": 2**60,
    "exact": Decimal("123456789012345678901234567890.5"),
    "cents": Decimal("12.50"),
    "real": 0.1,
    "double": 0.1,
    "truth": True,
    "day": date(2026, 1, 31),
    "clock": time(13, 45, 0, 500000),
    "moment": datetime(2026, 1, 31, 13, 45, tzinfo=UTC),
    "local": datetime(2026, 1, 31, 13, 45),  # noqa: DTZ001 - a column without a zone
    "year": 2026,
    "uuid": "01234567-89ab-cdef-0123-456789abcdef",
    "code": "ab",
    "tags": [1, "two"],
    "born": 645408000000,  # 1990-06-15
}
AS_JSON = {
    "id": "a",
    "whole": 2**60,
    "exact": Decimal("123456789012345678901234567890.5"),
    "cents": Decimal("12.50"),
    "real": Decimal("0.1"),
    "double": Decimal("0.1"),
    "truth": True,
    "day": "2026-01-31",
    "clock": "13:45:00.5",
    "moment": "2026-01-31T13:45:00.000000Z",
    "local": "2026-01-31T13:45:00.000000Z",
    "year": 2026,
    "uuid": "01234567-89ab-cdef-0123-456789abcdef",
    "code": "ab",
    "tags": [1, "two"],
    "born": 645408000000,
    "born_on": "1990-06-15",
    "age": 36,
    "days": 0,
}


def rows(client: FlaskClient, path: str) -> list[dict[str, Any]]:
    response = client.get(f"/datasets/{path}")
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = json.loads(response.text, parse_float=Decimal)
    return found


def filtered(client: FlaskClient, dataset: str, *filters: tuple[str, str]) -> list[Any]:
    """The first column of the rows that match."""
    found = rows(client, f"{dataset}/rows?{urlencode(filters)}")
    return [next(iter(row.values())) for row in found]


@pytest.fixture
def kinds(engine: Engine) -> None:
    install(engine, KINDS)
    put_rows(engine, KINDS, FULL, {"id": "b"})


# -- fields and formats


@pytest.mark.usefixtures("kinds")
def test_rows_have_every_declared_column_as_json(client: FlaskClient):
    full, empty = rows(client, "kinds/rows")
    assert full == AS_JSON
    assert list(full) == list(AS_JSON)
    assert empty == dict.fromkeys(AS_JSON) | {"id": "b"}


@pytest.mark.usefixtures("kinds")
def test_text_formats_have_the_same_rows(client: FlaskClient):
    expected = rows(client, "kinds/rows")
    lines = client.get("/datasets/kinds/rows?format=ndjson").text.splitlines()
    assert [json.loads(line, parse_float=Decimal) for line in lines] == expected
    table = list(csv.DictReader(io.StringIO(client.get("/datasets/kinds/rows?format=csv").text)))
    assert table[0]["truth"] == "true"
    assert table[0]["moment"] == AS_JSON["moment"]
    assert Decimal(table[0]["exact"]) == AS_JSON["exact"]
    assert table[1] == dict.fromkeys(AS_JSON, "") | {"id": "b"}


@pytest.mark.usefixtures("kinds")
@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_columnar_formats_have_typed_columns(client: FlaskClient, kind: str):
    content = io.BytesIO(client.get(f"/datasets/kinds/rows?format={kind}").data)
    table = (
        parquet.read_table(content) if kind == "parquet" else ipc.open_stream(content).read_all()
    )
    full, empty = table.to_pylist()
    assert empty == dict.fromkeys(AS_JSON) | {"id": "b"}
    derived = {"born_on": date(1990, 6, 15), "age": 36, "days": 0}
    as_utc = {"local": FULL["moment"]}
    as_text = {"exact": str(FULL["exact"]), "tags": '[1, "two"]'}
    assert full == FULL | derived | as_utc | as_text | {"real": pytest.approx(0.1)}
    assert table.schema.field("cents").type == pa.decimal128(12, 2)


@pytest.mark.usefixtures("kinds")
def test_older_servers_return_the_same_json(settings: Settings, client: FlaskClient):
    app = create_app(settings, today=lambda: TODAY, json_scalar_version=10**9)
    assert app.test_client().get("/datasets/kinds/rows").data == (
        client.get("/datasets/kinds/rows").data
    )
    app.extensions["bucketline"].engine.dispose()


def test_fields_are_returned_in_the_given_order(client: FlaskClient, engine: Engine):
    install(engine, ORDERS)
    put_rows(engine, ORDERS, {"order_id": "1", "rank": 3, "_extra": {"a": 1}})
    assert rows(client, "orders/rows?fields=rank,order_id") == [{"rank": 3, "order_id": "1"}]
    (row,) = rows(client, "orders/rows?fields=*,_source_key,_extra")
    assert row["_extra"] == {"a": 1}
    assert list(row) == [*ORDERS.field_names, "_source_key", "_extra"]


def test_columns_added_by_data_may_have_any_name(client: FlaskClient, engine: Engine):
    names = ('a"b', "c,d", "e'f", "g\\h", "100% i", ":j", "ä\n", "json_scalar(", "limit", "x" * 63)
    dataset = Dataset(
        name="odd",
        table="odd",
        include=("odd/*",),
        fields=(Field(name="id"),),
        unknown_columns=UnknownColumns.ADD,
    )
    install(engine, dataset, added=names)
    put_rows(engine, dataset, {name: f"<{name}>" for name in names} | {"id": "1"})
    expected = {"id": "1"} | {name: f"<{name}>" for name in names}
    for kind in ("json", "ndjson"):
        for page in ("", "&limit=1"):
            text_ = client.get(f"/datasets/odd/rows?format={kind}{page}").text
            found = json.loads(text_)
            assert (found[0] if kind == "json" else found) == expected
    table = client.get("/datasets/odd/rows?format=csv").text
    assert list(csv.DictReader(io.StringIO(table, newline=""))) == [expected]
    for name in names:
        quoted = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        fields = urlencode({"fields": quoted, quoted: f"eq.<{name}>"})
        assert rows(client, f"odd/rows?{fields}") == [{name: f"<{name}>"}]


# -- filters


@pytest.mark.usefixtures("kinds")
@pytest.mark.parametrize(
    ("column", "value", "less"),
    [
        ("whole", str(2**60), str(2**60 - 1)),
        ("exact", "123456789012345678901234567890.5", "123456789012345678901234567890.4"),
        ("cents", "12.5", "-1e300"),
        ("real", "0.1", "0.09"),
        ("double", "0.1", "-Infinity"),
        ("day", "2026-01-31", "2026-01-30"),
        ("clock", "13:45:00.5", "13:45"),
        ("moment", "2026-01-31T14:45:00+01:00", "2026-01-31"),
        ("local", "2026-01-31T13:45:00", "2026-01-31T13:44:59.999999Z"),
        ("year", "2026", "0"),
        ("code", "ab", "aa"),
        ("uuid", "01234567-89AB-cdef-0123-456789abcdef", "00000000-89ab-cdef-0123-456789abcdef"),
        ("age", "36", "-5"),
        ("whole", str(2**60), "-" + "9" * 100),
    ],
)
def test_each_type_has_every_comparison(client: FlaskClient, column: str, value: str, less: str):
    for operator, matching, other in [
        ("eq", value, less),
        ("neq", less, value),
        ("gt", less, value),
        ("gte", value, None),
        ("lt", None, value),
        ("lte", value, less),
    ]:
        for given_value, expected in ((matching, ["a"]), (other, [])):
            if given_value is not None:
                found = filtered(client, "kinds", (column, f"{operator}.{given_value}"))
                assert found == expected, (operator, given_value)
    assert filtered(client, "kinds", (column, f"in.({value},{less})")) == ["a"]
    assert filtered(client, "kinds", (column, "in.()")) == []
    assert filtered(client, "kinds", (column, "is.null")) == ["b"]
    assert filtered(client, "kinds", (column, "is.not_null")) == ["a"]
    assert filtered(client, "kinds", (column, f"not.eq.{less}")) == ["a"]


@pytest.mark.usefixtures("kinds")
def test_booleans_and_json_have_their_own_operators(client: FlaskClient):
    for text_ in ("eq.true", "is.true", "not.is.false", "in.(true,false)", "neq.False"):
        expected = ["a", "b"] if text_ == "not.is.false" else ["a"]
        assert filtered(client, "kinds", ("truth", text_)) == expected, text_
    assert filtered(client, "kinds", ("tags", "is.null")) == ["b"]


def test_text_filters_follow_postgrest(client: FlaskClient, engine: Engine):
    install(engine, ORDERS)
    ids = ["a,b", 'q"', "(x)", "100%", "a_c", "abc", "null", "eq.1", " pad "]
    put_rows(engine, ORDERS, *({"order_id": one} for one in ids))
    for one in ids:
        assert filtered(client, "orders", ("order_id", f"eq.{one}")) == [one]
        quoted = '"' + one.replace('"', '\\"') + '"'
        assert filtered(client, "orders", ("order_id", f"in.({quoted},zzz)")) == [one]
    assert filtered(client, "orders", ("order_id", "like.a*c")) == ["a_c", "abc"]
    assert filtered(client, "orders", ("order_id", "like.a\\_c")) == ["a_c"]
    assert filtered(client, "orders", ("order_id", "not.like.*b*")) == sorted(
        {one for one in ids if "b" not in one}
    )


def test_filters_of_one_column_must_all_hold(client: FlaskClient, engine: Engine):
    install(engine, ORDERS)
    put_rows(engine, ORDERS, *({"order_id": str(n), "rank": n} for n in range(9)))
    found = filtered(client, "orders", ("rank", "gte.3"), ("rank", "lt.6"), ("order_id", "neq.4"))
    assert found == ["3", "5"]


def test_quotes_select_a_column_named_like_a_parameter(client: FlaskClient, engine: Engine):
    dataset = Dataset(
        name="pages",
        table="pages",
        include=("pages/*",),
        primary_key=("limit",),
        fields=(Field(name="limit", type=FieldType.INTEGER), Field(name="after")),
    )
    install(engine, dataset)
    put_rows(engine, dataset, *({"limit": n, "after": str(n)} for n in (9, 10, 11)))
    assert filtered(client, "pages", ('"limit"', "eq.10")) == [10]
    assert filtered(client, "pages", ("limit", "1")) == [9]
    response = client.get("/datasets/pages/rows?limit=2")
    assert [row["limit"] for row in response.get_json()] == [9, 10]
    assert [row["limit"] for row in get(client, str(next_url(response)))] == [11]


@pytest.mark.usefixtures("kinds")
@pytest.mark.parametrize(
    ("parameter", "value", "words"),
    [
        ("whole", "5", ["no operator", "whole=eq.5"]),
        ("whole", "eq.x", ["bigint", "'x'", "42"]),
        ("wohle", "eq.5", ["wohle is not a column; did you mean whole?"]),
        ("WHOLE", "eq.5", ["not a column", "whole"]),
        ("zzzzzz", "eq.5", ["the columns are id, whole"]),
        ("whole", "equals.5", ["'equals'", "eq"]),
        ("whole", "gtt.5", ["did you mean gt?"]),
        ("whole", "like.5*", ["no operator like", "eq, neq"]),
        ("tags", "eq.1", ["no operator eq", "is"]),
        ("whole", "is.nil", ["is.null"]),
        ("whole", "is.true", ["is.null"]),
        ("whole", "in.1,2", ["parentheses"]),
        ("code", 'in.(a"b,c)', ["double quotes"]),
        ("whole", "in.(1,x)", ["'x'"]),
        ("day", "gt.31.01.2026", ["date", "2026-01-31"]),
        ("moment", "gt.2026-01-31T00:00:00 01:00", ["%2B"]),
        ("uuid", "eq.1", ["UUID"]),
        ("truth", "eq.yes", ["true"]),
        ("clock", "eq.25:00", ["13:45:00"]),
        ("clock", "eq.13:45:00Z", ["13:45:00"]),
        ("cents", "eq.1,5", ["12.50"]),
        ("double", "eq.0x10", ["12.5"]),
        ("id", "like.a\\", ["backslash"]),
        ("id", "eq.a\0", ["NUL"]),
        ("id", "like.\0", ["NUL"]),
        ("fields", "id,wohle", ["whole"]),
        ("fields", "id,id", ["more than once"]),
        ("after", "\0", ["NUL"]),
    ],
)
def test_a_wrong_parameter_gets_a_hint(
    client: FlaskClient, parameter: str, value: str, words: list[str]
):
    response = client.get(f"/datasets/kinds/rows?{urlencode({parameter: value})}")
    assert parameters_at_fault(response) == {parameter}
    detail = response.get_json()["detail"]
    assert all(word in detail for word in words), detail
    assert not detail.endswith("?.")


def test_all_faults_are_reported_at_once(client: FlaskClient):
    response = client.get("/datasets/users/rows?birthts=eq.x&fields=no&nope=eq.1")
    assert parameters_at_fault(response) == {"birthts", "fields", "nope"}


def test_hostile_filters_are_values(client: FlaskClient, engine: Engine):
    put_users(engine, person("1"))
    for hostile in ("'; DROP TABLE users; --", "%(limit)s", "%s", "\\'", "$1", ":x"):
        assert filtered(client, "users", ("user_id", f"eq.{hostile}")) == []
        assert filtered(client, "users", ("first_name", f"in.({hostile})")) == []
        response = client.get(f"/datasets/users/rows?{urlencode({hostile: 'eq.1'})}")
        assert response.status_code == 422
    assert filtered(client, "users") == ["1"]


# -- pages


def collect(client: FlaskClient, url: str | None) -> list[Any]:
    """The rows of all pages; every page but the last is full."""
    found: list[Any] = []
    while url is not None:
        response = client.get(url)
        assert response.status_code == 200, response.text
        found += json.loads(response.text, parse_float=Decimal)
        url = next_url(response)
    return found


@pytest.mark.parametrize("fields", ["", "&fields=drawing", "&fields=number,plant"])
def test_pages_of_a_composite_key_have_every_row_once(
    client: FlaskClient, engine: Engine, fields: str
):
    install(engine, PARTS)
    plants = ["a,b", "ä/%2C", "a", "", "Z", 'q"', "two\nlines"]
    put_rows(
        engine,
        PARTS,
        *({"plant": one, "number": n, "drawing": f"{one}{n}"} for one in plants for n in (-1, 2)),
    )
    everything = get(client, f"/datasets/parts/rows?{fields}")
    assert len(everything) == 14
    for limit in (1, 3, 14):
        assert collect(client, f"/datasets/parts/rows?limit={limit}{fields}") == everything


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("fields", ["", "&fields=celsius", "&fields=_source_line,sensor"])
def test_pages_of_a_dataset_without_key_follow_object_and_line(
    client: FlaskClient, engine: Engine, kind: str, fields: str
):
    install(engine, READINGS)
    keys = ["b.csv", 'a"\n,.csv', "a.csv"]
    put_rows(
        engine,
        READINGS,
        *(
            {"sensor": f'{key}"{n}\n', "celsius": n / 3, "_source_key": key}
            for key in keys
            for n in range(3)
        ),
    )
    url: str | None = f"/datasets/readings/rows?format={kind}&limit=2{fields}"
    seen = []
    while url is not None:
        response = client.get(url)
        assert response.status_code == 200, response.text
        seen += decoded(response.data, kind)
        url = next_url(response)
    everything = client.get(f"/datasets/readings/rows?format={kind}{fields}").data
    assert seen == decoded(everything, kind)
    assert len(seen) == 9


def decoded(content: bytes, kind: str) -> list[Any]:
    if kind == "json":
        return list(json.loads(content))
    if kind == "ndjson":
        return [json.loads(line) for line in content.splitlines()]
    if kind == "csv":
        return list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    file = io.BytesIO(content)
    table = parquet.read_table(file) if kind == "parquet" else ipc.open_stream(file).read_all()
    return list(table.to_pylist())


KEYS = [
    ("text", Field(name="k"), ["1", "10", "a b", "ä,%2C", "\\", "'"]),
    (
        "number",
        Field(name="k", type=FieldType.NUMBER),
        [Decimal("-0.5"), Decimal(10**30), Decimal("1.10")],
    ),
    ("date", Field(name="k", type=FieldType.DATE), [date(1, 1, 1), date(9999, 12, 31)]),
    ("moment", Field(name="k", type=FieldType.DATETIME), [NOW, NOW.replace(microsecond=1)]),
    ("truth", Field(name="k", type=FieldType.BOOLEAN), [False, True]),
    ("float", Field(name="k", type=FieldType.NUMBER, sql="double precision"), [0.1, 1 / 3, 1e300]),
]


@pytest.mark.parametrize(("_name", "field", "values"), KEYS, ids=[one[0] for one in KEYS])
def test_keys_of_every_type_page_and_are_found(
    client: FlaskClient, engine: Engine, _name: str, field: Field, values: list[Any]
):
    dataset = Dataset(
        name="keyed", table="keyed", include=("k/*",), primary_key=("k",), fields=(field,)
    )
    install(engine, dataset)
    put_rows(engine, dataset, *({"k": one} for one in values))
    everything = rows(client, "keyed/rows")
    assert collect(client, "/datasets/keyed/rows?limit=1") == everything
    for row in everything:
        key = json.dumps(row["k"]) if isinstance(row["k"], bool) else str(row["k"])
        found = client.get(f"/datasets/keyed/rows/{quote(key, safe='')}")
        assert found.status_code == 200, found.text
        assert json.loads(found.text, parse_float=Decimal)["row"] == row


@hypothesis_settings(max_examples=30)
@given(
    st.dictionaries(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\0")),
            st.integers(-(2**62), 2**62),
        ),
        st.none(),
        max_size=8,
    )
)
def test_composite_keys_round_trip_through_cursors(keys: dict[tuple[str, int], None]):
    shape = live_rows(Installed(PARTS, {}), "public")
    for plant, number in keys:
        written = cursors.text(shape, (plant, str(number)))
        assert cursors.parsed(shape, written) == (plant, number)
        assert cursors.of_path(shape, written) == (plant, number)
        assert cursors.of_path(shape, quote(written, safe="")) == (plant, number)


# -- ETags


def test_etag_depends_on_the_dataset_alone(client: FlaskClient, engine: Engine):
    install(engine, USERS, ORDERS, PARTS)
    put_rows(engine, ORDERS, {"order_id": "1"})
    first = client.get("/datasets/orders/rows")
    known = {"If-None-Match": first.headers["ETag"]}
    put_rows(engine, PARTS, {"plant": "a", "number": 1})
    assert client.get("/datasets/orders/rows", headers=known).status_code == 304
    assert client.get("/datasets/orders/rows?rank=eq.1", headers=known).status_code == 200
    assert client.get("/datasets/orders/rows?fields=rank", headers=known).status_code == 200
    put_rows(engine, ORDERS, {"order_id": "2"})
    assert len(client.get("/datasets/orders/rows", headers=known).get_json()) == 2


@pytest.mark.parametrize(
    ("one", "other"), [("eq.1", "eq.2"), ("in.(1)", "in.(1,2)"), ("eq.1", "gt.1")]
)
def test_filters_with_other_values_have_other_etags(client: FlaskClient, one: str, other: str):
    tags = [
        client.get(f"/datasets/users/rows?birthts={each}").headers["ETag"] for each in (one, other)
    ]
    assert tags[0] != tags[1]


def test_a_changed_declaration_shows_at_once(client: FlaskClient, engine: Engine):
    install(engine, ORDERS)
    put_rows(engine, ORDERS, {"order_id": "1"})
    first = client.get("/datasets/orders/rows")
    install(engine, ORDERS, added=("color",))
    known = {"If-None-Match": first.headers["ETag"]}
    again = client.get("/datasets/orders/rows", headers=known)
    assert again.get_json()[0]["color"] is None


def test_responses_are_compressed(client: FlaskClient, engine: Engine):
    put_users(engine, *(person(str(n)) for n in range(100)))
    response = client.get("/datasets/users/rows", headers={"Accept-Encoding": "gzip"})
    assert response.content_encoding == "gzip"
    assert {"Accept", "Accept-Encoding"} <= set(response.vary)


# -- datasets that exist


def test_users_are_a_dataset_before_a_file_is_installed(client: FlaskClient, engine: Engine):
    put_users(engine, person("1"))
    (row,) = rows(client, "users/rows")
    assert row == {
        "user_id": "1",
        "first_name": "Ann",
        "last_name": "Smith",
        "birthts": 645408000000,
        "birthdate": "1990-06-15",
        "age": 36,
        "img_path": None,
    }


def test_an_unknown_dataset_is_a_404_that_names_the_others(client: FlaskClient, engine: Engine):
    install(engine, ORDERS, READINGS)
    for path in ("", "/rows", "/rows/1", "/stats", "/problems", "/shadowed", "/retired"):
        body = expect_problem(client.get(f"/datasets/users{path}"), 404)
        assert body["type"].endswith("unknown-dataset")
        assert "orders, readings" in body["hint"]


def test_without_users_their_routes_are_404(client: FlaskClient, engine: Engine):
    put_users(engine, person("1", img_path="src/1.png"))
    install(engine, ORDERS)
    for path in ("/data", "/data?limit=1", "/data/1", "/data/1/image", "/data/2", "/stats"):
        body = expect_problem(client.get(path), 404)
        assert path == "/data/2" or body["type"].endswith("unknown-dataset"), path
    install(engine, ORDERS, USERS)
    assert list(get(client, "/data")) == ["1"]


# -- single rows


def test_a_row_has_its_source_and_its_shadowed_rows(
    client: FlaskClient, engine: Engine, settings: Settings
):
    install(engine, PARTS)
    put_rows(engine, PARTS, {"plant": "a,b/c", "number": 1, "_extra": {"x": "y"}})
    put_rows(
        engine,
        PARTS,
        {"plant": "a,b/c", "number": 1, "drawing": "old", "_source_key": "old.csv"},
        suffix="_shadowed",
    )
    put_objects(engine, settings, "k.csv", "old.csv")
    found = get(client, "/datasets/parts/rows/a%2Cb%2Fc,1")
    assert found["row"]["plant"] == "a,b/c"
    assert found["extra"] == {"x": "y"}
    assert found["lineage"] == {
        "bucket": settings.source_bucket,
        "key": "k.csv",
        "etag": "of k.csv",
        "line": 2,
        "run_id": 1,
        "updated_at": "2026-06-15T12:00:00Z",
    }
    (shadowed,) = found["shadowed"]
    assert shadowed["row"] == {"plant": "a,b/c", "number": 1, "drawing": "old", "made": None}
    assert (shadowed["key"], shadowed["lost_by"]) == ("old.csv", "key")
    assert get(client, "/datasets/parts/shadowed") == {"shadowed": [shadowed]}
    assert get(client, "/datasets/parts/shadowed?plant=eq.a&number=gt.1") == {"shadowed": []}
    assert get(client, "/datasets/parts/shadowed?key=old.csv&number=in.(1)")["shadowed"]
    assert get(client, "/datasets/parts/shadowed?key=k.csv") == {"shadowed": []}


def put_objects(engine: Engine, settings: Settings, *keys: str) -> None:
    with engine.begin() as connection:
        for key in keys:
            connection.execute(
                insert(source_object).values(
                    bucket=settings.source_bucket,
                    key=key,
                    kind="data",
                    etag=f"of {key}",
                    size=1,
                    last_modified=NOW,
                    state="loaded",
                    rows_read=1,
                    rows_rejected=0,
                    run_id=1,
                    dataset="parts",
                )
            )


def test_a_preferred_value_is_why_a_row_won(
    client: FlaskClient, engine: Engine, settings: Settings
):
    install(engine, ORDERS)
    put_rows(engine, ORDERS, {"order_id": "1", "updated": 2})
    losers = [{"order_id": "1", "updated": one} for one in (1, 2, None)]
    put_rows(engine, ORDERS, *losers, suffix="_shadowed")
    put_objects(engine, settings, "k.csv")
    found = get(client, "/datasets/orders/shadowed?limit=2")["shadowed"]
    assert [one["lost_by"] for one in found] == ["prefer", "line"]
    response = client.get("/datasets/orders/shadowed?limit=2")
    (last,) = get(client, str(next_url(response)))["shadowed"]
    assert (last["row"]["updated"], last["lost_by"]) == (None, "prefer")


def test_retired_rows_are_listed_and_explained(client: FlaskClient, engine: Engine):
    install(engine, ORDERS)
    put_rows(engine, ORDERS, {"order_id": "gone", "amount": 1}, suffix="_retired")
    (row,) = rows(client, "orders/retired")
    assert row["_retired_at"] == "2026-06-15T12:00:00.000000Z"
    assert rows(client, "orders/retired?_retired_at=lt.2026-01-01") == []
    body = expect_problem(client.get("/datasets/orders/rows/gone"), 404)
    assert body["type"].endswith("retired-row")
    body = expect_problem(client.get("/datasets/orders/rows/none"), 404)
    assert body["type"].endswith("unknown-row")


def test_a_row_without_key_is_found_by_its_place(client: FlaskClient, engine: Engine):
    install(engine, READINGS)
    put_rows(engine, READINGS, {"sensor": "s"})
    body = expect_problem(client.get("/datasets/readings/rows/1"), 404)
    assert body["type"].endswith("no-primary-key")
    assert "_source_key=eq." in body["hint"]
    assert len(rows(client, "readings/rows?_source_key=eq.k.csv&_source_line=eq.2")) == 1
    assert get(client, "/datasets/readings/shadowed") == {"shadowed": []}


def test_a_key_of_another_form_is_refused(client: FlaskClient, engine: Engine):
    install(engine, PARTS)
    for key in ("a", "a,b,c", "a,x"):
        assert client.get(f"/datasets/parts/rows/{key}").status_code == 422


# -- numbers


def test_stats_describe_each_column(client: FlaskClient, engine: Engine):
    install(engine, KINDS)
    put_rows(engine, KINDS, FULL, {"id": "b"}, {"id": "Z", "whole": 1, "truth": False})
    response = client.get("/datasets/kinds/stats")
    found = json.loads(response.text)
    assert found["count"] == 3
    columns = found["columns"]
    assert columns["id"] == {"nulls": 0, "distinct": 3, "min": "Z", "max": "b"}
    assert columns["whole"] == {"nulls": 1, "distinct": 2, "min": 1, "max": 2**60}
    assert columns["truth"] == {"nulls": 1, "distinct": 2, "min": False, "max": True}
    assert columns["tags"] == {"nulls": 2, "distinct": 1, "min": None, "max": None}
    assert columns["exact"]["max"] == str(FULL["exact"])
    assert columns["age"] == {"nulls": 2, "distinct": 1, "min": 36, "max": 36}
    assert columns["uuid"]["min"] == FULL["uuid"]
    assert columns.keys() == AS_JSON.keys()
    known = {"If-None-Match": response.headers["ETag"]}
    assert client.get("/datasets/kinds/stats", headers=known).status_code == 304


def test_stats_are_computed_once_per_revision(client: FlaskClient, engine: Engine):
    install(engine, ORDERS)
    put_rows(engine, ORDERS, {"order_id": "1"})
    assert get(client, "/datasets/orders/stats")["count"] == 1
    with engine.begin() as connection:  # not a merge, so the revision stays
        connection.execute(text("DELETE FROM orders"))
    assert get(client, "/datasets/orders/stats")["count"] == 1
    put_rows(engine, ORDERS)
    assert get(client, "/datasets/orders/stats")["count"] == 0


def test_datasets_are_listed_with_their_numbers(client: FlaskClient, engine: Engine):
    install(engine, ORDERS, READINGS)
    put_rows(engine, ORDERS, {"order_id": "1"}, {"order_id": "2"})
    put_rows(engine, ORDERS, {"order_id": "0"}, suffix="_retired")
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO hold (dataset, run_id, opened_at, rows, live)"
                " VALUES ('orders', 7, now(), 120, 200)"
            )
        )
    orders, readings = get(client, "/datasets")["datasets"]
    assert (orders["name"], orders["table"]) == ("orders", "public.orders")
    assert orders["counts"] == {"rows": 2, "retired": 1, "shadowed": 0}
    assert (orders["hold"]["run_id"], orders["hold"]["rows"]) == (7, 120)
    assert (readings["table"], readings["hold"]) == ("public.Readings", None)


def test_a_dataset_shows_its_declaration_and_columns(client: FlaskClient, engine: Engine):
    install(engine, PARTS, added=("note",))
    found = get(client, "/datasets/parts")
    assert found["declaration"]["primary_key"] == ["plant", "number"]
    kinds = {one["name"]: one["kind"] for one in found["columns"]}
    assert kinds == {
        "number": "declared",
        "drawing": "declared",
        "made": "declared",
        "plant": "path",
        "made_on": "derived",
        "photo": "attachment",
        "plan": "attachment",
        "note": "added",
        "_extra": "system",
        "_source_key": "system",
        "_source_line": "system",
        "_run_id": "system",
        "_updated_at": "system",
    }
    assert found["problems"] == {}
