"""The dashboard as a whole: every page of a filled instance, its links, its policy, odd names."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from api.ui.assets import STATIC, assets
from etl.model.values import Trigger
from etl.sync.manager import DataManager
from tests.conftest import TestBucket
from tests.ui_client import Seen, crawl, visit

if TYPE_CHECKING:
    from flask.testing import FlaskClient

    from etl.settings import Settings

# Kinds of the Big List of Naughty Strings.
NAUGHTY = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'-alert(1)-'",
    "{{ 7 * 7 }}{% raw %}",
    "${7*7}#{7*7}",
    "javascript:alert(1)",
    "1;DROP TABLE users--",
    "%s%n%(x)s{0}",
    "\u202etest\u202c",
    "\ufeffzero\u200bwidth",
    "Ω≈ç√∫µ≤≥÷ 田中さん 👾🙇 الكل",
    "a&b=c?d#e/f;g,h+i j",
    "NULL undefined NaN true",
    "<!--",
    "&lt;b&gt;&amp;nbsp;",
    "-->]]><svg/onload=alert(1)>",
]
COLUMNS = ("user_id", "first_name", "last_name", "birthts")


@pytest.fixture
def filled(settings: Settings, bucket: TestBucket, client: FlaskClient) -> FlaskClient:
    """A client of an instance with rows, problems, ignored objects and odd names everywhere."""
    rows = "".join(
        f'"{name.replace(chr(34), chr(34) * 2)}",{index},"O""{index}",{1000 * index}\n'
        for index, name in enumerate(NAUGHTY)
    )
    bucket.put("users.csv", f"first_name,user_id,last_name,birthts\n{rows}".encode())
    faulty = "first_name,user_id,last_name,birthts\nA,900,B,<b>not-a-date</b>\n"
    bucket.put("faulty.csv", faulty)
    for index, name in enumerate(NAUGHTY):
        key = f"{name}/{index}.csv"
        bucket.put(key, f"first_name,last_name,birthts\nA,{name!a},x\n".encode())
    bucket.put("no-dataset.bin", b"\0\1")
    header = StringIO()
    csv.writer(header).writerows([[*COLUMNS, *NAUGHTY], [950, "A", "B", 0, *NAUGHTY]])
    bucket.put("header.csv", header.getvalue())
    DataManager(settings).run(Trigger.CLI)
    return client


def test_every_page_is_sound_shows_odd_names_as_text_and_leads_somewhere(filled: FlaskClient):
    pages, shown = 0, ""
    for seen in crawl(filled):
        assert seen.status == 200, (seen.url, seen.text)
        if seen.response.mimetype != "text/html":
            continue
        check_frame(seen, filled)
        check_names(seen)
        pages, shown = pages + 1, shown + seen.text
    assert pages > 100
    assert "<script>alert(1)</script>" in shown
    assert "{{ 7 * 7 }}" in shown


def check_frame(seen: Seen, client: FlaskClient) -> None:
    assert seen.faults == [], seen.url
    assert seen.h1, seen.url
    assert seen.title.endswith(" · Bucketline"), seen.url
    for url in seen.loaded:
        parts = urlsplit(url)
        assert not parts.netloc, f"{seen.url} loads {url} from another host"
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        with client.get(target) as response:
            assert response.status_code in (200, 404), (seen.url, url)


def check_names(seen: Seen) -> None:
    text = seen.response.text
    for name in ("<script>alert", "<img src=x", "<svg/onload", "<b>not-a-date"):
        assert name not in text, seen.url
    assert not re.search(r'href="\s*javascript:', text, re.IGNORECASE), seen.url


@pytest.mark.parametrize("name", [one for one in NAUGHTY if one.isascii()])
def test_odd_headers_of_requests_are_not_shown(client: FlaskClient, name: str):
    headers = dict.fromkeys(("User-Agent", "Referer", "X-Request-ID", "HX-Current-URL"), name)
    for url in ("/ui/", "/ui/nowhere"):
        assert name not in visit(client, url, **headers).response.text


def test_every_page_has_the_policy(filled: FlaskClient):
    for url in ("/ui/", "/ui/nowhere", "/ui/sign-in"):
        seen = visit(filled, url)
        if seen.status == 303:
            continue
        policy = dict(
            part.strip().split(" ", 1)
            for part in seen.response.headers["Content-Security-Policy"].split(";")
        )
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        for kind in ("script-src", "style-src", "img-src", "connect-src", "form-action"):
            assert policy[kind] == "'self'"
        assert seen.response.headers["Referrer-Policy"] == "same-origin"
        assert seen.response.headers["Cache-Control"] == "no-store"


def test_a_panel_is_sent_again_only_when_it_has_changed(filled: FlaskClient):
    first = filled.get("/ui/overview/now?shown=overview", headers={"HX-Request": "true"})
    assert first.status_code == 200, first.headers
    tag = first.headers["ETag"]
    assert f"data-version={tag.replace(chr(34), '')}" in first.text.replace('"', "")
    again = filled.get("/ui/overview/now?shown=overview", headers={"If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")


def test_pages_are_compressed(filled: FlaskClient):
    response = filled.get("/ui/", headers={"Accept-Encoding": "gzip", "Accept": "text/html"})
    assert response.headers["Content-Encoding"] == "gzip"
    assert len(response.data) < 100_000


def test_browsers_are_sent_to_the_dashboard_and_others_get_the_routes(client: FlaskClient):
    browser = client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (browser.status_code, browser.headers["Location"]) == (303, "/ui/")
    for accepted in ("*/*", "application/json", None, "application/json, text/html;q=0.5"):
        headers = {} if accepted is None else {"Accept": accepted}
        response = client.get("/", headers=headers)
        assert response.get_json()["name"] == "Bucketline"
        assert "Accept" in response.headers["Vary"]


# -- static files


def test_static_files_are_kept_by_browsers(client: FlaskClient):
    for name, asset in assets().items():
        url = f"/ui/static/{asset.digest}/{name}"
        plain = client.get(url)
        assert plain.status_code == 200
        assert plain.data == asset.content
        assert "immutable" in plain.headers["Cache-Control"]
        packed = client.get(url, headers={"Accept-Encoding": "gzip"})
        assert len(packed.data) <= len(asset.content) + 64
    assert client.get("/ui/static/0123456789ab/style.css").status_code == 404
    assert client.get(f"/ui/static/{asset.digest}/../../__init__.py").status_code == 404


def test_vendored_files_are_what_their_record_says():
    """The record names version, licence and hash of each file that others wrote."""
    folder = STATIC / "vendor"
    record = json.loads((folder / "vendored.json").read_text("utf-8"))
    named = {"vendored.json"}
    for package in record:
        assert package["version"]
        assert (folder / package["licence_file"]).exists()
        named.add(package["licence_file"])
        for name, digest in package["sha256"].items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
            named.add(name)
    assert named == {path.name for path in folder.iterdir()}


def test_own_style_and_scripts_load_nothing_from_elsewhere():
    for path in [*STATIC.glob("*.js"), *(STATIC / "styles").glob("*.css")]:
        text = path.read_text("utf-8")
        assert not re.search(r"https?:|@import|url\(", text), path.name


def test_templates_have_no_inline_style_or_handler():
    for path in (Path(STATIC).parent / "templates").rglob("*.html"):
        text = path.read_text("utf-8")
        assert not re.search(r"\sstyle=|\son[a-z]+=|<style|<script(?! src)|\|\s*safe", text), (
            path.name
        )
