"""The pages of buckets and objects: browse, check, upload, preview, remove."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api import create_app
from api.ui import source_lines
from api.ui.objects import PAGE_ENTRIES
from api.ui.uploads import PATIENT_SECONDS
from etl.model.dataset import USERS
from etl.model.values import Trigger
from etl.sync.manager import DataManager
from tests.conftest import TestBucket, minio_client
from tests.sample_datasets import ORDERS
from tests.ui_client import BROWSER, Form, Seen, send, visit

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from etl.settings import Settings

HEADER = "user_id,first_name,last_name,birthts\n"
FAULTY = f"{HEADER}1,Ann,Lee,0\n2,Bo,Day,03.05.1980\n3,Cy,Fox,1\n4,,Gil,2\n"


@pytest.fixture
def address(settings: Settings) -> str:
    """The page of the source bucket."""
    return f"/ui/objects/{settings.source_bucket}"


def token_of(seen: Seen) -> str:
    return next(form.fields["csrf"] for form in seen.forms if "csrf" in form.fields)


def upload_form(seen: Seen, address: str) -> Form:
    """The form for uploads; that of the prefix leads to the same address."""
    return next(one for one in seen.forms if one.method == "post" and one.action.endswith(address))


def upload(
    client: FlaskClient, address: str, content: str, name: str, **fields: str
) -> TestResponse:
    form = upload_form(visit(client, address), address)
    data = form.fields | {"file": (io.BytesIO(content.encode()), name)} | fields
    return client.post(form.action, data=data, headers=BROWSER)


# -- buckets


def test_buckets_are_listed_with_who_uses_them(client: FlaskClient, settings: Settings):
    seen = visit(client, "/ui/objects")
    assert f"{settings.source_bucket} the setting SOURCE_BUCKET read and write" in seen.text
    assert f"{settings.processed_bucket} the setting PROCESSED_BUCKET read" in seen.text
    assert any(link.endswith(f"/ui/objects/{settings.source_bucket}") for link in seen.links)


def test_a_missing_bucket_is_created_and_an_empty_one_removed(settings: Settings):
    name = f"new-{settings.source_bucket}"
    rights = f"{settings.source_bucket}:rw,{name}:rw"
    app = create_app(settings.model_copy(update={"object_buckets": rights}))
    client = app.test_client()
    store = minio_client(settings)
    seen = visit(client, "/ui/objects")
    assert "does not exist" in seen.text
    response = send(client, seen, "/ui/objects")
    assert urlsplit(response.headers["Location"]).path == f"/ui/objects/{name}"
    assert store.bucket_exists(name)

    store.put_object(name, "a", io.BytesIO(b"x"), 1)
    asked = visit(client, f"/ui/remove/{name}")
    assert "it is not empty" in asked.text
    assert not [form for form in asked.forms if form.action.endswith(f"/remove/{name}")]
    store.remove_object(name, "a")
    asked = visit(client, f"/ui/remove/{name}")
    assert send(client, asked, f"/ui/remove/{name}").status_code == 303
    assert not store.bucket_exists(name)


# -- the objects of a bucket


def test_each_object_is_shown_with_what_became_of_it(
    client: FlaskClient, manager: DataManager, bucket: TestBucket, address: str
):
    bucket.put("crm/good.csv", f"{HEADER}9,Ann,Lee,0\n")
    bucket.put("crm/bad.csv", FAULTY)
    bucket.put("crm/.DS_Store", "x")
    bucket.put("crm/old/a.csv", f"{HEADER}8,Ann,Lee,0\n")
    manager.run(Trigger.CLI)
    bucket.put("crm/new.csv", f"{HEADER}7,Ann,Lee,0\n")
    top = visit(client, address)
    assert "crm/ folder" in top.text
    seen = visit(client, f"{address}?prefix=crm/")
    assert seen.h1 == "crm/"
    assert "old/ folder" in seen.text
    assert "good.csv Loaded 1 users" in seen.text
    assert "bad.csv Loaded, 2 rows rejected" in seen.text
    assert ".DS_Store Ignored" in seen.text
    assert "new.csv Waiting" in seen.text
    only = visit(client, f"{address}?prefix=crm/&show=error")
    assert "bad.csv" in only.text
    assert "good.csv" not in only.text


def test_a_long_bucket_is_shown_in_pages(client: FlaskClient, bucket: TestBucket, address: str):
    for number in range(PAGE_ENTRIES + 1):
        bucket.put(f"{number:03}.txt", "x")
    seen = visit(client, address)
    assert f"{PAGE_ENTRIES - 1:03}.txt" in seen.text
    assert f"{PAGE_ENTRIES:03}.txt" not in seen.text
    (following,) = [link for link in seen.links if "after=" in link]
    assert f"{PAGE_ENTRIES:03}.txt" in visit(client, following).text


# -- one object


def test_problems_are_shown_next_to_their_raw_lines(
    client: FlaskClient, manager: DataManager, bucket: TestBucket, address: str
):
    bucket.put("bad.csv", FAULTY)
    run = manager.run(Trigger.CLI)
    seen = visit(client, f"{address}/bad.csv")
    assert seen.h1 == "bad.csv"
    assert "2,Bo,Day,03.05.1980" in seen.text
    assert "<mark>03.05.1980</mark>" in seen.response.text
    assert "4,<mark> </mark>,Gil,2" in seen.response.text
    assert "1 line without a problem" in seen.text
    assert f"4 rows read by run {run.id}" in seen.text
    assert "adds up" in seen.text
    assert "off by" not in seen.text


def test_lines_beyond_the_first_part_of_an_object_are_not_read(
    client: FlaskClient,
    manager: DataManager,
    bucket: TestBucket,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
):
    bucket.put("bad.csv", FAULTY)
    manager.run(Trigger.CLI)
    monkeypatch.setattr(source_lines, "MOST_BYTES", FAULTY.index("2,Bo") + 4)
    seen = visit(client, f"{address}/bad.csv")
    assert "<mark>03.05.1980</mark>" in seen.response.text
    assert "2,Bo,Day,<mark>" not in seen.response.text


def test_versions_seen_are_listed(
    client: FlaskClient, manager: DataManager, bucket: TestBucket, address: str
):
    bucket.put("a.csv", FAULTY)
    first = manager.run(Trigger.CLI)
    bucket.put("a.csv", f"{HEADER}1,Ann,Lee,0\n")
    manager.run(Trigger.CLI)
    seen = visit(client, f"{address}/a.csv")
    versions = seen.text.partition("Versions seen")[2]
    assert "current" in versions
    assert f"{first.id} 2 replaced" in versions


def test_an_object_that_is_gone_or_never_was(
    client: FlaskClient, manager: DataManager, bucket: TestBucket, address: str
):
    bucket.put("a.csv", f"{HEADER}1,Ann,Lee,0\n")
    manager.run(Trigger.CLI)
    bucket.remove("a.csv")
    assert "no longer in the bucket" in visit(client, f"{address}/a.csv").text
    assert visit(client, f"{address}/never.csv").status == 404


# -- previews


def test_previews_show_the_beginning(client: FlaskClient, bucket: TestBucket, address: str):
    bucket.put("a.csv", 'name;note\nAnn;"x;y"\nBo\n')
    seen = visit(client, f"{address}/a.csv")
    assert "name note Ann x;y Bo –" in seen.text  # noqa: RUF001
    sink = io.BytesIO()
    pq.write_table(pa.table({"id": [1, None], "tags": [["a"], []]}), sink)
    bucket.put("a.parquet", sink.getvalue())
    assert "id tags 1 ['a'] – []" in visit(client, f"{address}/a.parquet").text  # noqa: RUF001
    bucket.put("broken.parquet", b"PAR1 but not really PAR1")
    assert "cannot be read as Parquet" in visit(client, f"{address}/broken.parquet").text
    bucket.put("a.bin", b"\0\1")
    assert "no preview" in visit(client, f"{address}/a.bin").text
    bucket.put("old.csv", "name;betrag\nMüller;1 €\nJosé;2\n".encode("cp1252"))
    shown = visit(client, f"{address}/old.csv").text
    assert "Müller 1 € José 2" in shown
    bucket.put("a.png", b"\x89PNG")
    seen = visit(client, f"{address}/a.png")
    (picture,) = [url for url in seen.loaded if "/ui/download/" in url]
    with client.get(picture) as response:
        assert response.data == b"\x89PNG"


# -- uploads


def test_a_file_is_checked_before_it_is_uploaded(
    client: FlaskClient, bucket: TestBucket, settings: Settings, address: str
):
    token = token_of(visit(client, address))
    url = f"/ui/check?bucket={settings.source_bucket}&key=crm/bad.csv"
    refused = client.post(url, data=FAULTY.encode(), headers=BROWSER)
    assert refused.status_code == 403
    response = client.post(url, data=FAULTY.encode(), headers=BROWSER | {"X-CSRF-Token": token})
    assert response.status_code == 200
    assert "2 problems in this file" in response.text
    assert "<mark>03.05.1980</mark>" in response.text
    assert "Upload; 2 rows will be rejected" in response.text
    assert bucket.keys() == []


def test_without_a_script_a_form_checks_and_uploads(
    client: FlaskClient, manager: DataManager, bucket: TestBucket, settings: Settings, address: str
):
    seen = visit(client, f"{address}?prefix=crm/")
    fields = upload_form(seen, address).fields
    data = fields | {"file": (io.BytesIO(FAULTY.encode()), "bad.csv")}
    checked = client.post(f"/ui/check?bucket={settings.source_bucket}", data=data, headers=BROWSER)
    assert "2 problems in this file" in checked.text
    assert "crm/bad.csv" in checked.text
    assert bucket.keys() == []

    response = upload(client, address, FAULTY, "bad.csv", prefix="crm/")
    assert response.status_code == 303
    assert bucket.keys() == ["crm/bad.csv"]
    location = response.headers["Location"]
    seen = visit(client, location)
    assert "Its rows are shown here" in seen.text
    (live,) = [url for url in seen.loaded if "/ui/arrival/" in url]
    manager.run(Trigger.CLI)
    assert client.get(live).headers["HX-Refresh"] == "true"
    arrived = visit(client, location)
    assert "rejected 2" in arrived.text
    assert "Ann" in arrived.text
    assert "Loaded, 2 rows rejected" in arrived.text
    assert not [url for url in arrived.loaded if "/ui/arrival/" in url]
    over = visit(client, f"{address}/crm/bad.csv?until=1")
    assert not [url for url in over.loaded if "/ui/arrival/" in url]


def test_an_upload_that_no_run_reads_offers_one_and_comes_back_to_its_page(
    client: FlaskClient, manager: DataManager, address: str
):
    page = urlsplit(upload(client, address, FAULTY, "bad.csv").headers["Location"])
    fresh = visit(client, f"{page.path}?{page.query}")
    assert not [form for form in fresh.forms if form.action.endswith("/ui/run")]
    until = int(parse_qs(page.query)["until"][0])
    for late in (until - PATIENT_SECONDS - 1, 1):
        seen = visit(client, f"{page.path}?until={late}")
        response = send(client, seen, "/ui/run")
        back = urlsplit(response.headers["Location"])
        assert back.path == page.path
        assert int(parse_qs(back.query)["until"][0]) >= until
    manager.run(Trigger.REQUEST)
    read = visit(client, f"{page.path}?until=1")
    assert not [form for form in read.forms if form.action.endswith("/ui/run")]


def test_a_script_uploads_the_body_with_the_token(
    client: FlaskClient, bucket: TestBucket, address: str
):
    token = token_of(visit(client, address))
    key = "a b/ü+&?#.csv"
    url = f"{address}/{quote(key)}"
    assert client.put(url, data=b"x", headers=BROWSER).status_code == 403
    assert bucket.keys() == []
    response = client.put(url, data=b"x", headers={"X-CSRF-Token": token})
    assert response.status_code == 200
    assert bucket.get(key) == b"x"
    assert visit(client, response.get_json()["url"]).status == 200


def test_a_form_without_its_token_stores_nothing(
    client: FlaskClient, bucket: TestBucket, address: str
):
    response = upload(client, address, "x", "a.csv", csrf="wrong")
    assert response.status_code == 403
    assert bucket.keys() == []


def test_only_with_a_public_endpoint_browsers_upload_to_the_store(settings: Settings):
    public = settings.model_copy(update={"s3_public_endpoint": "http://store.example:9000"})
    for one, origin in ((settings, None), (public, "http://store.example:9000")):
        seen = visit(create_app(one).test_client(), f"/ui/objects/{settings.source_bucket}")
        policy = seen.response.headers["Content-Security-Policy"]
        assert ("store.example" in policy) == (origin is not None)
        assert ('data-presign=""' in seen.response.text) == (origin is None)


# -- removal


def test_the_page_that_confirms_says_what_retires(
    client: FlaskClient, manager: DataManager, bucket: TestBucket, settings: Settings
):
    bucket.put("a.csv", FAULTY)
    manager.run(Trigger.CLI)
    url = f"/ui/remove/{settings.source_bucket}/a.csv"
    seen = visit(client, url)
    assert "retires its 2 rows from users" in seen.text
    assert "2 rejected rows" in seen.text
    assert bucket.keys() == ["a.csv"]
    assert send(client, seen, url).status_code == 303
    assert bucket.keys() == []


def test_objects_of_declared_datasets_are_shown_as_well(
    settings: Settings, client: FlaskClient, bucket: TestBucket, address: str
):
    bucket.put("orders/1.csv", "order_id,amount,rank\r\nA,1.5,1\r\nB,viel,2\r\n")
    DataManager(settings, datasets=(ORDERS, USERS)).run(Trigger.CLI)
    seen = visit(client, f"{address}/orders/1.csv?until=1")
    assert "for dataset orders" in seen.text
    assert "B,viel,2" in seen.text
    assert "adds up" in seen.text
    assert "1.5" in seen.text
