"""Sessions of the dashboard: signing in and out, what ends one, and forms without a token."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from waitress.adjustments import Adjustments

from api import create_app
from api.http.bodies import SMALL_BYTES
from api.http.pages import is_page
from api.security.auth import keyring_of, sessions_of
from api.security.limits import MAX_INVALID_KEYS
from api.security.sessions import COOKIE
from api.server.parser import RequestParser
from etl.model.roles import Role, entry_for, new_key
from etl.settings import Settings, key_file
from tests.ui_client import BROWSER, read, send, visit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from apiflask import APIFlask
    from flask.testing import FlaskClient

KEYS = {role: new_key() for role in Role}


@pytest.fixture
def make(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., APIFlask]]:
    """A function that creates apps which share the folder of the keys file."""
    made: list[APIFlask] = []

    def app(**values: object) -> APIFlask:
        own = {"local_dir": tmp_path} | values
        made.append(create_app(settings.model_copy(update=own)))
        return made[-1]

    yield app
    for one in made:
        one.extensions["bucketline"].engine.dispose()


@pytest.fixture
def locked(make: Callable[..., APIFlask], tmp_path: Path) -> APIFlask:
    for role, key in KEYS.items():
        key_file.add(tmp_path / "api-keys", entry_for(f"the-{role}", role, key))
    return make()


def sign_in(client: FlaskClient, key: str, following: str = "/ui/") -> None:
    seen = visit(client, f"/ui/sign-in?next={following}")
    response = send(client, seen, "/sign-in", key=key)
    assert (response.status_code, response.headers["Location"]) == (303, following)


def is_signed_in(client: FlaskClient) -> bool:
    response = client.get("/ui/", headers=BROWSER)
    assert response.status_code in (200, 303)
    return response.status_code == 200


def test_a_visitor_is_sent_to_the_form_and_back(locked: APIFlask):
    client = locked.test_client()
    response = client.get("/ui/?a=1", headers=BROWSER)
    assert response.status_code == 303
    assert response.headers["Location"] == "/ui/sign-in?next=%2Fui%2F%3Fa%3D1"
    seen = visit(client, response.headers["Location"])
    assert seen.form("/sign-in").fields["next"] == "/ui/?a=1"
    sign_in(client, KEYS[Role.READER], "/ui/?a=1")
    seen = visit(client, "/ui/")
    assert "the-reader, reader" in seen.text


def test_the_cookie_is_only_for_pages(locked: APIFlask):
    client = locked.test_client()
    seen = visit(client, "/ui/sign-in")
    cookie = send(client, seen, "/sign-in", key=KEYS[Role.ADMIN]).headers["Set-Cookie"]
    value = cookie.partition(";")[0].partition("=")[2]
    assert {"HttpOnly", "SameSite=Strict", "Path=/ui"} <= {one.strip() for one in cookie.split(";")}
    assert "Secure" not in cookie
    for path in ("/data", "/runs", "/datasets", "/objects/b/k"):
        assert client.get(path).status_code == 401
        forced = locked.test_client().get(path, headers={"Cookie": f"{COOKIE}={value}"})
        assert forced.status_code == 401, path
    assert locked.test_client().get("/health", headers={"Cookie": f"{COOKIE}={value}"}).json == {
        **dict.fromkeys(("database", "object_store", "last_run", "attention")),
        "status": "ok",
    }


def test_the_cookie_is_secure_behind_https(locked: APIFlask):
    client = locked.test_client()
    seen = visit(client, "/ui/sign-in")
    form = seen.form("/sign-in")
    own = {
        "Origin": "https://localhost",
        "Cookie": seen.response.headers["Set-Cookie"].split(";")[0],
    }
    fields = form.fields | {"key": KEYS[Role.READER]}
    sent = locked.test_client(use_cookies=False).post(
        "/ui/sign-in", data=fields, headers=BROWSER | own
    )
    assert "Secure" in sent.headers["Set-Cookie"]


def test_a_wrong_key_is_refused_and_counted(locked: APIFlask):
    client = locked.test_client()
    seen = visit(client, "/ui/sign-in")
    for _ in range(MAX_INVALID_KEYS.amount):
        refused = read("/ui/sign-in", send(client, seen, "/sign-in", key=new_key()))
        assert refused.status == 403
        assert "This key is not valid here." in refused.text
    stopped = read("/ui/sign-in", send(client, seen, "/sign-in", key=new_key()))
    assert stopped.status == 429
    assert stopped.h1 == "Too many requests."
    assert not is_signed_in(client)


def test_signing_out_ends_the_session_everywhere(locked: APIFlask, make: Callable[..., APIFlask]):
    client, other = locked.test_client(), make().test_client()
    sign_in(client, KEYS[Role.READER])
    cookie = client.get_cookie(COOKIE, path="/ui")
    assert cookie is not None
    other.set_cookie(COOKIE, cookie.value, path="/ui")
    assert is_signed_in(other), "another process of the API accepts it"
    assert is_signed_in(make().test_client()) is False
    seen = visit(client, "/ui/")
    assert send(client, seen, "/sign-out").status_code == 303
    assert client.get_cookie(COOKIE, path="/ui") is None
    assert not is_signed_in(other)
    client.set_cookie(COOKIE, cookie.value, path="/ui")
    assert not is_signed_in(client)


def test_a_session_survives_a_restart_but_not_its_key(
    locked: APIFlask, make: Callable[..., APIFlask], tmp_path: Path
):
    client = locked.test_client()
    sign_in(client, KEYS[Role.WRITER])
    cookie = client.get_cookie(COOKIE, path="/ui")
    assert cookie is not None
    again = make().test_client()
    again.set_cookie(COOKIE, cookie.value, path="/ui")
    assert is_signed_in(again)
    key_file.remove(tmp_path / "api-keys", "the-writer")
    assert not is_signed_in(client)
    key_file.add(tmp_path / "api-keys", entry_for("the-writer", Role.WRITER, new_key()))
    assert not is_signed_in(client), "a new key of the same name is another key"
    key_file.remove(tmp_path / "api-keys", "the-writer")
    key_file.add(tmp_path / "api-keys", entry_for("the-writer", Role.ADMIN, KEYS[Role.WRITER]))
    assert not is_signed_in(client), "so is the same key with another role"


def test_a_session_expires(locked: APIFlask, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("api.security.sessions.SESSION_SECONDS", 0)
    client = locked.test_client()
    seen = visit(client, "/ui/sign-in")
    value = send(client, seen, "/sign-in", key=KEYS[Role.READER]).headers["Set-Cookie"]
    client.set_cookie(COOKIE, value.partition(";")[0].partition("=")[2], path="/ui")
    assert not is_signed_in(client)


def test_a_changed_cookie_is_not_valid(locked: APIFlask):
    client = locked.test_client()
    sign_in(client, KEYS[Role.READER])
    cookie = client.get_cookie(COOKIE, path="/ui")
    assert cookie is not None
    name, session_id, expiry, signature = cookie.value.split(":")
    for forged in (
        f"the-admin:{session_id}:{expiry}:{signature}",
        f"{name}:{session_id}:{int(expiry) + 1}:{signature}",
        f"{name}:x{session_id}:{expiry}:{signature}",
        f"{name}:{session_id}:{expiry}:{signature[::-1]}",
        f"{name}:{session_id}:{expiry}:",
        f"{name}:{session_id}",
        "",
        ":::",
        "the-reader:a:" + "9" * 3000 + ":b",
        "ä:ö:\u0661:é",
    ):
        client.set_cookie(COOKIE, forged, path="/ui")
        assert not is_signed_in(client), forged


def test_an_unusable_file_keeps_sessions_in_memory(make: Callable[..., APIFlask], tmp_path: Path):
    entry = entry_for("the-reader", Role.READER, KEYS[Role.READER])
    (tmp_path / "api-keys-sessions").mkdir()
    app = make(api_keys=SecretStr(str(entry)))
    client = app.test_client()
    sign_in(client, KEYS[Role.READER])
    assert is_signed_in(client)
    cookie = client.get_cookie(COOKIE, path="/ui")
    assert cookie is not None
    assert send(client, visit(client, "/ui/"), "/sign-out").status_code == 303
    client.set_cookie(COOKIE, cookie.value, path="/ui")
    assert not is_signed_in(client)


@pytest.mark.parametrize(
    "following", ["https://example.com/ui/", "//example.com/ui/", "/data", "/ui/\\x", "/ui/\nx", ""]
)
def test_signing_in_leads_only_to_our_pages(locked: APIFlask, following: str):
    client = locked.test_client()
    seen = visit(client, "/ui/sign-in")
    response = send(client, seen, "/sign-in", key=KEYS[Role.READER], next=following)
    assert response.headers["Location"] == "/ui/"


def test_a_link_of_another_site_finds_the_session(locked: APIFlask):
    """A browser sends no SameSite=Strict cookie with it, but does when our page loads again."""
    client = locked.test_client()
    sign_in(client, KEYS[Role.READER])
    foreign = {"Sec-Fetch-Site": "cross-site"}
    stranger = locked.test_client()
    first = stranger.get("/ui/?run=1", headers=BROWSER | foreign)
    seen = visit(stranger, first.headers["Location"], **foreign)
    assert seen.status == 200
    (link,) = [one for one in seen.links if "next" in one]
    assert f'content="0;url={link}"' in seen.response.text
    assert visit(client, link).response.headers["Location"] == "/ui/?run=1"
    assert visit(stranger, link).form("/sign-in").fields["next"] == "/ui/?run=1"


def writing_routes(app: APIFlask) -> Iterator[tuple[str, str]]:
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}):
            if is_page(rule.rule):
                yield method, rule.rule


@pytest.mark.parametrize("given", ["", "wrong", "é"])
def test_no_page_changes_anything_without_its_token(locked: APIFlask, given: str):
    client = locked.test_client()
    sign_in(client, KEYS[Role.ADMIN])
    for method, rule in writing_routes(locked):
        url = re.sub("<[^>]+>", "1", rule)
        for fields in ({}, {"data": {"csrf": given}}):
            response = client.open(url, method=method, headers=BROWSER, **fields)
            assert response.status_code == 403, (method, url, response.text)
            assert "This form has expired" in response.text, (method, url)
    assert is_signed_in(client)


def test_the_token_of_another_visitor_is_not_valid(locked: APIFlask):
    client, other = locked.test_client(), locked.test_client()
    sign_in(client, KEYS[Role.ADMIN])
    sign_in(other, KEYS[Role.ADMIN])
    token = visit(other, "/ui/").form("/sign-out").fields["csrf"]
    assert client.post("/ui/sign-out", data={"csrf": token}).status_code == 403
    header = {"X-CSRF-Token": visit(client, "/ui/").form("/sign-out").fields["csrf"]}
    assert client.post("/ui/sign-out", headers=header).status_code == 303


def test_without_keys_nobody_signs_in_and_forms_still_need_a_token(make: Callable[..., APIFlask]):
    client = make().test_client()
    seen = visit(client, "/ui/")
    assert seen.status == 200
    assert "sign-out" not in seen.response.text
    assert visit(client, "/ui/sign-in").status == 303
    assert client.post("/ui/theme", data={"theme": "dark"}).status_code == 403
    assert send(client, seen, "/theme").status_code == 303
    assert 'data-theme="dark"' in visit(client, "/ui/").response.text


def test_a_page_of_another_site_cannot_send_a_form(make: Callable[..., APIFlask]):
    client = make().test_client()
    fields = visit(client, "/ui/").form("/theme").fields
    foreign = {"Origin": "https://example.com", "Sec-Fetch-Site": "cross-site"}
    assert client.post("/ui/theme", data=fields, headers=foreign).status_code == 403


def test_a_remote_visitor_of_an_instance_without_keys_is_refused(make: Callable[..., APIFlask]):
    client = make().test_client()
    client.environ_base["REMOTE_ADDR"] = "192.0.2.1"
    seen = visit(client, "/ui/")
    assert seen.status == 403
    assert "serves only its own machine" in seen.h1


def test_only_a_session_that_may_upload_may_send_a_large_body(locked: APIFlask, settings: Settings):
    """The server rejects it before it reads, and knows the cookie only on pages."""
    cookies = {}
    for role in (Role.READER, Role.WRITER):
        client = locked.test_client()
        sign_in(client, KEYS[role])
        cookie = client.get_cookie(COOKIE, path="/ui")
        assert cookie is not None
        cookies[role] = f"{COOKIE}={cookie.value}"

    def limit(method: str, path: str, cookie: str) -> int:
        head = f"{method} {path} HTTP/1.1\r\nHost: a\r\nCookie: a=b; {cookie}\r\n".encode()
        request = RequestParser(
            Adjustments(),
            settings=settings,
            keyring=keyring_of(locked),
            sessions=sessions_of(locked),
        )
        request.parse_header(head)
        return int(request.max_body_bytes)

    upload = f"/ui/objects/{settings.source_bucket}/a"
    large, small = settings.object_max_size, SMALL_BYTES
    assert limit("PUT", upload, cookies[Role.WRITER]) == large
    assert limit("POST", "/ui/documents", cookies[Role.WRITER]) == settings.document_max_size
    assert limit("POST", "/ui/check", cookies[Role.READER]) == settings.check_max_size
    assert limit("PUT", upload, cookies[Role.READER]) == small
    assert limit("PUT", upload, f"{cookies[Role.WRITER]}x") == limit("PUT", upload, "") == small
    assert limit("PUT", upload.removeprefix("/ui"), cookies[Role.WRITER]) == small
    assert limit("PUT", "/ui/objects/none/a", cookies[Role.WRITER]) == small
