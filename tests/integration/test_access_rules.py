"""Authentication: every route with every kind of key, and responses to unauthenticated clients."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from apiflask import APIFlask
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import Engine, text
from werkzeug.test import TestResponse

from api import create_app
from api.http.pages import is_page
from api.http.paths import path_of
from api.security.auth import OF_CALLER, OF_PATH, AccessRule, access_rule, needs
from api.security.limits import MAX_INVALID_KEYS
from etl.model.dataset import USERS
from etl.model.roles import Role, entry_for, new_key
from etl.runtime.logs import set_up_logs
from etl.settings import Settings, key_file
from tests.api_client import put_run
from tests.conftest import wait_until
from tests.dataset_rows import install
from tests.sample_datasets import ORDERS, READINGS
from tests.user_rows import generate_users

KEYS = {role: new_key() for role in Role}
WRONG = new_key()
PUBLIC = {"GET /", "GET /health", "GET /openapi.json", "GET /docs", "GET /docs/<name>"}
PUBLIC |= {"GET /static/<path:filename>", "GET /minio-event", "GET /livez", "GET /readyz"}
PUBLIC |= {"GET /ui/static/<digest>/<path:name>", "GET /ui/sign-in", "POST /ui/sign-in"}
PUBLIC |= {"POST /ui/sign-out", "POST /ui/theme"}
# A check stores nothing. Presigning a download needs the role reader; for an upload, the route
# checks for a writer. The statistics are computed from rows that the caller may read.
MILDER = {
    "POST /ui/datasets/<dataset>/statistics": Role.READER,
    "POST /check": Role.READER,
    "POST /objects/<bucket>/<object_key:key>/presign": Role.READER,
}
LEAST = {"POST": Role.WRITER, "PUT": Role.WRITER, "PATCH": Role.WRITER, "DELETE": Role.ADMIN}

Answers = Iterator[tuple[str, str, dict[str, Any]]]


def operations() -> Answers:
    """Method, path and description of every operation of the document."""
    app = create_app(Settings(_env_file=None, database_url="postgresql://db_user@127.0.0.1:9/none"))
    for path, methods in app.test_client().get("/openapi.json").get_json()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


OPERATIONS = [pytest.param(*each, id=f"{each[0]} {each[1]}") for each in operations()]


def address(path: str, operation: dict[str, Any]) -> str:
    """The path of an operation, with the example of each path parameter."""
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            value = quote(str(parameter["example"]), safe="")
            path = path.replace(f"{{{parameter['name']}}}", value)
    return path


def entries() -> str:
    return ",".join(str(entry_for(f"the-{role}", role, key)) for role, key in KEYS.items())


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def make(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., FlaskClient]]:
    """A function that creates clients of apps with changed settings."""
    made: list[APIFlask] = []

    def client(**values: object) -> FlaskClient:
        own = {"local_dir": tmp_path} | values
        made.append(create_app(settings.model_copy(update=own)))
        return made[-1].test_client()

    yield client
    for app in made:
        app.extensions["bucketline"].engine.dispose()


@pytest.fixture
def locked(make: Callable[..., FlaskClient]) -> FlaskClient:
    """A client of an app with a key for each role."""
    return make(api_keys=SecretStr(entries()))


def expect_problem(response: TestResponse, status: int, kind: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.mimetype == "application/problem+json"
    body: dict[str, Any] = response.get_json()
    assert body["type"] == f"urn:bucketline:problem:{kind}"
    assert body["hint"]
    return body


# -- every route, every key


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_each_role_may_use_its_documented_routes(
    locked: FlaskClient, method: str, path: str, operation: dict[str, Any]
):
    url = address(path, operation)
    credentials = {None: {}, "wrong": bearer(WRONG)} | {
        role: bearer(key) for role, key in KEYS.items()
    }
    for who, headers in credentials.items():
        with locked.open(url, method=method, headers=headers) as response:
            assert response.status_code in expected(operation, who), (who, response.text)
            if response.status_code == 403:
                assert ("role-missing" in response.text) == (who in lacking(operation)), who


def expected(operation: dict[str, Any], who: str | None) -> set[int]:
    """The statuses that this caller may get; authorized callers get the route's own."""
    needed = operation.get("x-role")
    if {"ownToken": []} in operation["security"]:
        return {401, 503}
    if needed is not None:
        assert operation["security"] == [{"bearer": []}, {"apiKey": []}]
        if who not in list(Role):
            return {401}
        if who in lacking(operation):
            return {403}
    else:
        assert operation["security"] == []
    return {int(status) for status in operation["responses"]} - {401, 429, 500, 503}


def lacking(operation: dict[str, Any]) -> set[Role]:
    """The roles that are not sufficient."""
    needed = operation.get("x-role")
    return {role for role in Role if needed and not role.includes(Role(needed))}


# -- keys that are limited to datasets

LIMITED, TWICE = new_key(), new_key()

# The routes that such a key may use, by the dataset in its limit.
OF_USERS = {
    "GET /data",
    "GET /data/{user_id}",
    "GET /data/{user_id}/image",
    "GET /data/{user_id}/thumbnail",
    "GET /stats",
}
OF_ITS_DATASET = {
    "GET /datasets/{dataset}",
    "GET /datasets/{dataset}/rows",
    "GET /datasets/{dataset}/rows/{row_key}",
    "GET /datasets/{dataset}/stats",
    "GET /datasets/{dataset}/problems",
    "GET /datasets/{dataset}/shadowed",
    "GET /datasets/{dataset}/retired",
}
OF_ALL = {"GET /datasets", "GET /problems", "POST /check"}


@pytest.fixture
def limited(make: Callable[..., FlaskClient]) -> FlaskClient:
    """A client of an app with keys that are limited to datasets, although they are admins'."""
    one = entry_for("one", Role.ADMIN, LIMITED, ["orders"])
    two = entry_for("two", Role.ADMIN, TWICE, ["orders", "users"])
    return make(api_keys=SecretStr(f"{one},{two}"))


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS)
def test_a_limited_key_may_use_only_routes_of_its_datasets(
    limited: FlaskClient, method: str, path: str, operation: dict[str, Any]
):
    name = f"{method} {path}"
    if "x-role" not in operation:
        assert name in {one.replace("<name>", "{name}") for one in PUBLIC | {"POST /minio-event"}}
        return
    url = address(path, operation)  # the example of {dataset} is `users`
    allowed = {LIMITED: OF_ALL, TWICE: OF_ALL | OF_USERS | OF_ITS_DATASET}
    for key, known in allowed.items():
        with limited.open(url, method=method, headers=bearer(key)) as response:
            is_refused = response.status_code == 403
            assert is_refused == (name not in known), (name, response.text)
            assert not is_refused or "dataset-limited" in response.text
            assert operation["x-limited-keys"] == (name in allowed[TWICE])
            says = "A key that is limited to datasets gets 403." in operation["description"]
            assert says == (name not in allowed[TWICE])


def test_a_limited_key_sees_only_its_datasets(limited: FlaskClient, engine: Engine):
    install(engine, USERS, ORDERS, READINGS)
    one, two = bearer(LIMITED), bearer(TWICE)
    both = limited.get("/datasets", headers=two).get_json()["datasets"]
    assert [each["name"] for each in both] == ["orders", "users"]
    listed = limited.get("/datasets", headers=one).get_json()["datasets"]
    assert [each["name"] for each in listed] == ["orders"]
    assert limited.get("/datasets/orders/rows", headers=one).get_json() == []
    for path in ("/datasets/readings", "/datasets/none/rows", "/problems?dataset=readings"):
        expect_problem(limited.get(path, headers=one), 403, "dataset-limited")
    install(engine, READINGS)
    missing = limited.get("/datasets/orders", headers=one)
    assert "readings" not in expect_problem(missing, 404, "unknown-dataset")["hint"]
    assert limited.get("/health", headers=two).get_json()["database"] is None


def test_a_limited_key_sees_only_problems_of_its_dataset(limited: FlaskClient, engine: Engine):
    install(engine, USERS, ORDERS)
    run_id = put_run(engine)
    with engine.begin() as connection:
        for dataset in ("users", "orders", "readings", None):
            connection.execute(
                text(
                    "INSERT INTO source_object (bucket, key, dataset, kind, etag, size,"
                    " last_modified, state, rows_read, rows_rejected, run_id)"
                    " VALUES ('b', :key, :dataset, 'data', 'e', 1, now(), 'loaded', 1, 1, :run)"
                ),
                {"key": str(dataset), "dataset": dataset, "run": run_id},
            )
            connection.execute(
                text(
                    "INSERT INTO problem (bucket, key, dataset, etag, code, severity, note, run_id)"
                    " VALUES ('b', :key, :dataset, 'e', 'short-row', 'error', '', :run)"
                ),
                {"key": str(dataset), "dataset": dataset, "run": run_id},
            )
    for path in ("/problems", "/problems?dataset=orders", "/datasets/orders/problems"):
        found = limited.get(path, headers=bearer(LIMITED)).get_json()["problems"]
        assert [one["key"] for one in found] == ["orders"], path
    found = limited.get("/problems", headers=bearer(TWICE)).get_json()["problems"]
    assert [one["key"] for one in found] == ["users", "orders"]


def test_the_documented_table_of_routes_is_complete_and_true(locked: FlaskClient):
    """Roles and limits as in "Who may use each route", which has one row per route."""
    page = Path(__file__).parents[2] / "docs/how-to/secure-the-api.md"
    rows = re.findall(r"^\| `([A-Z]+ /\S*)` \| (.+?) \| (.+?) \|$", page.read_text(), re.MULTILINE)
    documented = {route: (role, limit) for route, role, limit in rows}
    assert len(rows) == len(documented)
    app = locked.application
    expected = {
        f"{method} {path_of(rule)}": _documented(access_rule(app, rule.endpoint))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.endpoint not in ("static", "docs.show_asset") and not is_page(rule.rule)
    }
    plain = {re.sub(r"<(\w+)>", r"{\1}", route): each for route, each in documented.items()}
    assert plain.keys() == expected.keys()
    for route, (role, limits) in expected.items():
        assert plain[route][0].partition(";")[0].partition(",")[0] == role, route
        assert plain[route][1].partition(",")[0] in limits, route


def _documented(rule: AccessRule | None) -> tuple[str, set[str]]:
    """How the table writes the role of a rule, and what a limited key gets."""
    assert rule is not None
    if rule.role is None:
        role = "its own token" if rule.has_own_token else "public"
        return role, {"as without a key", "only the status", "filtered"}
    limits = {
        None: {"403"},
        OF_PATH: {"its datasets"},
        OF_CALLER: {"filtered", "its datasets"},
        "users": {"with `users`"},
    }
    return f"`{rule.role}`", limits[rule.dataset]


def rules(app: APIFlask) -> Iterator[tuple[str, str, Any]]:
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield method, rule.rule, access_rule(app, rule.endpoint)


def test_every_route_declares_its_role(locked: FlaskClient):
    """Routes without a rule fail here, and so do those that require less than their method does."""
    for method, path, rule in rules(locked.application):
        name = f"{method} {path}"
        assert rule is not None, f"{name} has no rule"
        if rule.has_own_token:
            continue
        assert (rule.role is None) == (name in PUBLIC), name
        if rule.role is not None:
            assert rule.role.includes(MILDER.get(name, LEAST.get(method, Role.READER))), name


def test_route_without_a_rule_rejects_every_client(make: Callable[..., FlaskClient]):
    for values in ({}, {"api_keys": SecretStr(entries())}):
        client = make(**values)
        client.application.add_url_rule("/forgotten", view_func=lambda: "secret")
        expect_problem(client.get("/forgotten", headers=bearer(KEYS[Role.ADMIN])), 403, "no-rule")


def test_new_route_needs_only_a_decorator_on_its_view(make: Callable[..., FlaskClient]):
    client = make(api_keys=SecretStr(entries()))

    @client.application.get("/new")
    @needs(Role.WRITER)
    def show_new() -> dict[str, str]:
        """Show it."""
        return {}

    assert client.get("/new", headers=bearer(KEYS[Role.READER])).status_code == 403
    assert client.get("/new", headers=bearer(KEYS[Role.WRITER])).status_code == 200
    operation = client.get("/openapi.json").get_json()["paths"]["/new"]["get"]
    assert operation["x-role"] == "writer"
    assert operation["responses"].keys() >= {"401", "403", "429"}
    assert operation["description"].count("Requires the role") == 1


# -- error responses


def test_key_is_accepted_as_x_api_key(locked: FlaskClient):
    assert locked.get("/data", headers={"X-API-Key": KEYS[Role.READER]}).status_code == 200
    basic = {"Authorization": "Basic eDp5", "X-API-Key": KEYS[Role.READER]}
    assert locked.get("/data", headers=basic).status_code == 200
    both = bearer(WRONG) | {"X-API-Key": KEYS[Role.READER]}
    assert locked.get("/data", headers=both).status_code == 401


def test_key_in_the_url_is_rejected(locked: FlaskClient):
    assert locked.get(f"/data?api_key={KEYS[Role.ADMIN]}").status_code == 401


ALMOST = [KEYS[Role.ADMIN][:-1], KEYS[Role.ADMIN] + "x"]


@pytest.mark.parametrize("key", ["", " ", "é", "\udcff", "x" * 5000, "bl_", *ALMOST], ids=range(8))
def test_invalid_key_is_rejected(locked: FlaskClient, key: str):
    value = f"Bearer {key}".encode("utf-8", "surrogatepass").decode("latin-1")
    response = locked.get("/data", headers={"Authorization": value})
    expect_problem(response, 401, "key-wrong")


def test_unauthenticated_clients_get_a_hint_how_to_send_a_key(locked: FlaskClient):
    none = locked.get("/data")
    assert expect_problem(none, 401, "key-missing")
    assert none.headers["WWW-Authenticate"].startswith("Bearer")
    wrong = locked.get("/data", headers=bearer(WRONG))
    assert "invalid_token" in wrong.headers["WWW-Authenticate"]
    assert "Bearer" in expect_problem(wrong, 401, "key-wrong")["hint"]


def test_insufficient_key_is_refused_with_the_missing_role(locked: FlaskClient):
    body = expect_problem(
        locked.post("/data", headers=bearer(KEYS[Role.READER])), 403, "role-missing"
    )
    assert "writer" in body["detail"]


def test_retiring_most_users_needs_an_admin(locked: FlaskClient):
    url = "/data?allow=mass-retirement"
    body = expect_problem(locked.post(url, headers=bearer(KEYS[Role.WRITER])), 403, "role-missing")
    assert "admin" in body["detail"]
    assert locked.post(url, headers=bearer(KEYS[Role.ADMIN])).status_code == 202


def test_health_shows_unauthenticated_clients_only_the_status(locked: FlaskClient):
    for headers in ({}, bearer(WRONG)):
        health = locked.get("/health", headers=headers).get_json()
        assert {name: value for name, value in health.items() if value} == {"status": "ok"}
    known = locked.get("/health", headers=bearer(KEYS[Role.READER])).get_json()
    assert known["database"]["status"] == "ok"


# -- added and revoked keys


def test_first_key_closes_an_open_api_even_after_revocation(
    make: Callable[..., FlaskClient], tmp_path: Path
):
    client, path, key = make(), tmp_path / "api-keys", new_key()
    assert client.get("/data").status_code == 200
    key_file.add(path, entry_for("ann", Role.READER, key))
    assert client.get("/data").status_code == 401
    assert client.get("/data", headers=bearer(key)).status_code == 200
    key_file.remove(path, "ann")
    assert client.get("/data", headers=bearer(key)).status_code == 401
    path.unlink()
    assert client.get("/data").status_code == 401
    assert make().get("/data").status_code == 200


def test_a_key_is_revoked_and_others_stay(make: Callable[..., FlaskClient], tmp_path: Path):
    client, path = make(api_keys=SecretStr(entries())), tmp_path / "api-keys"
    ann, bob = new_key(), new_key()
    key_file.add(path, entry_for("ann", Role.READER, ann))
    key_file.add(path, entry_for("bob", Role.READER, bob))
    key_file.remove(path, "ann")
    assert client.get("/data", headers=bearer(ann)).status_code == 401
    assert client.get("/data", headers=bearer(bob)).status_code == 200
    assert client.get("/data", headers=bearer(KEYS[Role.READER])).status_code == 200


def test_unreadable_key_file_rejects_every_client(make: Callable[..., FlaskClient], tmp_path: Path):
    (tmp_path / "api-keys").mkdir()
    assert make().get("/data").status_code == 401
    (tmp_path / "other").write_bytes(b"\xff\0nonsense\nann:admin\n")
    assert make(api_keys_file=tmp_path / "other").get("/data").status_code == 401


# -- an open API


def test_without_keys_only_this_machine_is_served(make: Callable[..., FlaskClient]):
    client = make()
    elsewhere = {"REMOTE_ADDR": "192.0.2.1"}
    for url in ("/data", "/health", "/nowhere"):
        response = client.get(url, environ_overrides=elsewhere)
        expect_problem(response, 403, "loopback-only")
    assert client.get("/data", environ_overrides={"REMOTE_ADDR": "::1"}).status_code == 200
    opened = make(api_open=True)
    assert opened.get("/data", environ_overrides=elsewhere).status_code == 200


@pytest.mark.parametrize("api_open", [True, False])
def test_rebound_host_name_is_rejected(
    make: Callable[..., FlaskClient],
    api_open: bool,  # noqa: FBT001 - a value to test
):
    client = make(api_open=api_open)
    rebound = client.get("/data", headers={"Host": "evil.example:5000"})
    expect_problem(rebound, 421, "unknown-host")
    assert client.get("/data", headers={"Host": "127.0.0.1:5000"}).status_code == 200


def test_with_a_key_any_name_will_do(locked: FlaskClient):
    headers = {"Host": "api.example.com"} | bearer(KEYS[Role.READER])
    assert locked.get("/data", headers=headers).status_code == 200


# -- browsers


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "http://[x]"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "https://app.example.com.evil.example"},
    ],
)
def test_a_page_of_another_site_starts_no_run(
    make: Callable[..., FlaskClient], engine: Engine, headers: dict[str, str]
):
    client = make(cors_origins="https://app.example.com")
    expect_problem(client.post("/data", headers=headers), 403, "cross-site-request")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM run")).scalar_one() == 0


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://app.example.com", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_own_pages_and_allowed_origins_may_send_requests(
    make: Callable[..., FlaskClient], headers: dict[str, str]
):
    client = make(cors_origins="https://app.example.com")
    assert client.post("/data", headers=headers).status_code == 202


def test_no_origin_is_shared_with_unless_it_is_named(make: Callable[..., FlaskClient]):
    asked = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "GET"}
    for client, url in ((make(), "/data"), (make(cors_origins="https://other.example"), "/data")):
        for response in (client.get(url, headers=asked), client.options(url, headers=asked)):
            assert "Access-Control-Allow-Origin" not in response.headers


def test_a_named_origin_may_ask_before_it_has_a_key(make: Callable[..., FlaskClient]):
    client = make(api_keys=SecretStr(entries()), cors_origins="https://app.example.com")
    asked = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
    preflight = client.options("/data", headers=asked)
    assert preflight.status_code == 204
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert "X-API-Key" in preflight.headers["Access-Control-Allow-Headers"]
    for key, status in ((KEYS[Role.WRITER], 202), (WRONG, 401)):
        answer = client.post("/data", headers=asked | bearer(key))
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
        assert answer.vary.find("Origin") >= 0
        assert "Access-Control-Allow-Credentials" not in answer.headers


# -- limits


def test_each_key_has_its_own_rate_limit_and_health_has_none(make: Callable[..., FlaskClient]):
    client = make(api_keys=SecretStr(entries()), api_rate_limit="3/h")
    reader, admin = bearer(KEYS[Role.READER]), bearer(KEYS[Role.ADMIN])
    assert [client.get("/data", headers=reader).status_code for _ in range(4)] == [200] * 3 + [429]
    refused = client.get("/data", headers=reader)
    expect_problem(refused, 429, "too-many-requests")
    assert 0 < int(refused.headers["Retry-After"]) <= 3600
    assert client.get("/data", headers=admin).status_code == 200
    assert [client.get("/").status_code for _ in range(4)] == [200] * 3 + [429]
    assert {client.get("/health").status_code for _ in range(10)} == {200}


def test_after_a_while_a_key_may_ask_again(make: Callable[..., FlaskClient]):
    client = make(api_rate_limit="1/s")
    wait_until(lambda: client.get("/stats").status_code == 429)
    wait_until(lambda: client.get("/stats").status_code == 200)


def test_invalid_keys_are_limited_and_valid_ones_still_pass(locked: FlaskClient):
    statuses = [
        locked.get("/data", headers=bearer(new_key())).status_code
        for _ in range(MAX_INVALID_KEYS.amount + 1)
    ]
    assert statuses == [401] * MAX_INVALID_KEYS.amount + [429]
    assert locked.get("/data", headers=bearer(KEYS[Role.READER])).status_code == 200
    elsewhere = {"REMOTE_ADDR": "192.0.2.1"}
    wrong = locked.get("/data", headers=bearer(WRONG), environ_overrides=elsewhere)
    assert wrong.status_code == 401


# -- names, ids, secrets


def test_request_id_is_echoed_or_generated(locked: FlaskClient):
    given = locked.get("/nowhere", headers={"X-Request-Id": "check-1.a"})
    assert given.headers["X-Request-Id"] == given.get_json()["request_id"] == "check-1.a"
    for odd in ("a b", "x" * 65, "-x", "<script>", "\x7f", ""):
        made = locked.get("/nowhere", headers={"X-Request-Id": odd})
        assert made.headers["X-Request-Id"] == made.get_json()["request_id"]
        assert len(made.headers["X-Request-Id"]) == 16


@pytest.fixture
def logged() -> Iterator[Callable[[], str]]:
    """The whole log, as JSON lines."""
    set_up_logs("json")
    stream = io.StringIO()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(stream))
    yield stream.getvalue
    set_up_logs("console", quiet=True)


def lines(logged: str) -> list[dict[str, Any]]:
    every = [json.loads(line) for line in logged.splitlines()]
    return [line for line in every if line["event"] == "request"]


def test_each_request_leaves_a_line_that_names_its_key(
    make: Callable[..., FlaskClient], logged: Callable[[], str]
):
    client = make(api_keys=SecretStr(entries()))
    headers = bearer(KEYS[Role.READER]) | {"X-Request-Id": "one"}
    body = client.get("/data?limit=5", headers=headers).data
    client.post("/data", headers=bearer(WRONG))
    named, unnamed = lines(logged())
    assert named["ms"] > 0
    assert {name: named[name] for name in ("method", "path", "status", "bytes")} == {
        "method": "GET",
        "path": "/data",
        "status": 200,
        "bytes": len(body),
    }
    assert (named["key"], named["role"], named["request_id"]) == ("the-reader", "reader", "one")
    assert (unnamed["key"], unnamed["status"]) == (None, 401)


def test_a_streamed_answer_is_logged_with_all_its_bytes(
    make: Callable[..., FlaskClient], engine: Engine, logged: Callable[[], str]
):
    generate_users(engine, 20_000)
    with closing(make().get("/data")) as response:
        size = len(response.data)
    (line,) = lines(logged())
    assert line["bytes"] == size > 1_000_000


@pytest.mark.parametrize("path", ["/health", "/storage/health"])
def test_addresses_are_shown_only_to_admins(make: Callable[..., FlaskClient], path: str):
    client = make(api_keys=SecretStr(entries()), s3_endpoint="http://127.0.0.1:9")
    for role, is_shown in ((Role.READER, False), (Role.WRITER, False), (Role.ADMIN, True)):
        health = client.get(path, headers=bearer(KEYS[role])).get_json()["object_store"]
        assert health["status"] == "down"
        assert ("127.0.0.1:9" in health["reason"]) is is_shown


def test_failing_requests_expose_no_secret_or_stack(
    make: Callable[..., FlaskClient],
    logged: Callable[[], str],
    engine: Engine,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
):
    """Responses and logs of every kind of failure are searched for secrets."""
    password = "hunter2-and-more"  # noqa: S105 - it opens nothing
    lost = f"postgresql://db_user:{password}@127.0.0.1:9/nowhere"
    clients = [
        make(api_keys=SecretStr(entries())),
        make(api_keys=SecretStr(entries()), database_url=SecretStr(lost)),
        make(api_keys=SecretStr(entries()), s3_endpoint="http://127.0.0.1:9"),
    ]
    exposed = "".join(answers(client) for client in clients)
    with engine.begin() as connection:  # from here on the API gets unexpected errors
        connection.execute(text("ALTER TABLE users RENAME TO kept"))
        connection.execute(
            text("CREATE VIEW public.users AS SELECT *, 1 / 0 AS odd FROM kept WHERE 1 / 0 = 1")
        )
    exposed += answers(clients[0])
    log = logged()
    assert caplog.text == ""
    assert {line["status"] for line in lines(log)} >= {401, 403, 404, 405, 413, 422, 500, 503}
    secrets = [*KEYS.values(), password, settings.s3_secret_key.get_secret_value()]
    for secret in [*secrets, "Traceback", 'File "', "SELECT "]:
        assert secret not in exposed, secret
        assert secret not in log, secret


def answers(client: FlaskClient) -> str:
    """The headers and bodies of the responses to requests, most of which fail."""
    exposed = []
    credentials = [{}, bearer(WRONG), *(bearer(key) for key in KEYS.values())]
    for headers in [*credentials, {"X-API-Key": WRONG}, {"Authorization": f"Basic {WRONG}"}]:
        for method, url in REQUESTS:
            body = b"x" * 100_000 if url == "/data?large" else b""
            with client.open(url, method=method, headers=headers, data=body) as response:
                exposed.append(f"{response.headers}\n{response.text}")
    return "".join(exposed)


REQUESTS = [
    *(("GET", url) for url in ("/", "/data", "/data/1", "/data?min_age=x", "/data?limit=1")),
    *(("GET", url) for url in ("/stats", "/runs/1", "/runs?after=x", "/problems", "/nowhere")),
    *(("GET", url) for url in ("/health", "/storage/health", f"/data?key={KEYS[Role.ADMIN]}")),
    ("DELETE", "/data"),
    ("POST", "/data"),
    ("POST", "/data?large"),
    ("POST", "/data?allow=mass-retirement"),
    ("POST", "/stats"),
]
