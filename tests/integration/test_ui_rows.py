"""The page of a row: its values, lineage, raw line, pictures and shadowed rows."""

from __future__ import annotations

import gzip
import io
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from PIL import Image
from pydantic import SecretStr
from sqlalchemy import text

from api import create_app
from etl.images.indexer import ThumbnailIndexer
from etl.model.roles import Role, entry_for, new_key
from etl.model.values import Trigger
from tests.conftest import TestBucket
from tests.dataset_rows import install, put_rows
from tests.sample_datasets import ORDERS, READINGS
from tests.sample_images import plain
from tests.ui_client import send, visit

if TYPE_CHECKING:
    from flask.testing import FlaskClient
    from sqlalchemy import Engine

    from etl.settings import Settings
    from etl.sync.manager import DataManager

HEAD = "user_id;first_name;last_name;birthts;branch\n"
ROW = "/ui/datasets/users/rows/"


def test_a_row_shows_where_it_comes_from(
    client: FlaskClient, manager: DataManager, bucket: TestBucket
):
    bucket.put("crm/a.csv", HEAD + "7;Ann;Lee;0;north\n8;Bo;Li;x;\n")
    report = manager.run(Trigger.CLI)
    seen = visit(client, f"{ROW}7")
    assert seen.h1 == "7"
    assert "Live, from line 2 of crm/a.csv." in seen.text
    assert "first_name Ann" in seen.text
    assert "birthdate 1970-01-01 from birthts" in seen.text
    assert "branch north not declared" in seen.text
    assert "2 rows in the object, 1 rejected" in seen.text
    assert f"Run {report.id}, cli" in seen.text
    assert f"/ui/runs/{report.id}" in [urlsplit(one).path for one in seen.links]
    assert "Published in output.csv" in seen.text


def test_the_raw_line_is_loaded_after_the_page_and_without_scripts_by_a_link(
    client: FlaskClient, manager: DataManager, bucket: TestBucket
):
    rows = "".join(f"{number};<b>A</b>;B;0;\n" for number in range(40))
    bucket.put("a.csv", HEAD + rows)
    manager.run(Trigger.CLI)
    seen = visit(client, f"{ROW}30")
    assert "30;<b>A</b>" not in seen.text
    (url,) = (one for one in seen.loaded if one.endswith("?raw=1"))
    assert url in seen.links
    found = visit(client, url)
    assert "1user_id;first_name;last_name;birthts;branch …30 lines 3230;<b>A</b>" in found.text
    assert not [one for one in found.loaded if "raw" in one]


def test_cells_are_shown_as_they_are_in_the_object(
    client: FlaskClient, manager: DataManager, bucket: TestBucket
):
    bucket.put("a.csv", 'user_id,Birthts,FIRST_NAME,last_name,"no, te"\n7,1980-05-03," Ann",B,x,\n')
    manager.run(Trigger.CLI)
    text = visit(client, f"{ROW}7?raw=1").text
    assert 'first_name Ann " Ann"' in text
    assert "birthts 326160000000 1980-05-03" in text
    assert "birthdate 1980-05-03 from birthts" in text
    assert "no, te x x not declared" in text


def test_cells_of_json_lines_are_shown_as_json(
    client: FlaskClient, manager: DataManager, bucket: TestBucket, engine: Engine
):
    install(engine, replace(READINGS, include=("sensors/**/*.ndjson",)))
    line = '{"Sensor": "a", "celsius": 1.50, "extra": [1, null]}'
    bucket.put("sensors/x/a.ndjson", f"{line}\n")
    manager.run(Trigger.CLI)
    listed = visit(client, "/ui/datasets/readings/rows")
    (row,) = (one for one in listed.links if "/readings/rows/" in one)
    text = visit(client, f"{row}?raw=1").text
    assert 'sensor a "a"' in text
    assert "celsius 1.5 1.50" in text


def test_the_line_of_a_compressed_object_is_found(
    client: FlaskClient, engine: Engine, bucket: TestBucket, settings: Settings
):
    install(engine, ORDERS)
    put_rows(engine, ORDERS, {"order_id": "z", "_source_key": "orders/a.csv.gz", "_source_line": 2})
    bucket.put("orders/a.csv.gz", gzip.compress(b"order_id,amount\nz,1\n"))
    etag = str(bucket.client.stat_object(bucket.name, "orders/a.csv.gz").etag)
    _remember(engine, settings, "orders/a.csv.gz", etag)
    assert "2z,1" in visit(client, "/ui/datasets/orders/rows/z?raw=1").text
    _remember(engine, settings, "orders/a.csv.gz", "another")
    changed = visit(client, "/ui/datasets/orders/rows/z?raw=1")
    assert "The object has changed; the next run reads it again." in changed.text


def test_a_line_beyond_the_limit_is_not_shown(
    client: FlaskClient, manager: DataManager, bucket: TestBucket
):
    rows = "".join(f"{number},A,{'x' * 900},0\n" for number in range(1_400))
    bucket.put("a.csv", f"user_id,first_name,last_name,birthts\n{rows}")
    manager.run(Trigger.CLI)
    assert "1,001999,A,xxx" in visit(client, f"{ROW}999?raw=1").text
    assert "Only lines in the first 1 MB can be shown." in visit(client, f"{ROW}1399?raw=1").text


def test_an_object_that_is_gone_has_no_line(
    client: FlaskClient, manager: DataManager, bucket: TestBucket
):
    bucket.user("1.csv")
    manager.run(Trigger.CLI)
    bucket.remove("1.csv")
    assert "The object is no longer in its bucket." in visit(client, f"{ROW}1?raw=1").text


def test_a_row_shows_the_rows_that_it_shadows(
    client: FlaskClient, manager: DataManager, bucket: TestBucket
):
    bucket.put("a.csv", HEAD + "1;A;Old;0;\n1;A;New;0;\n")
    manager.run(Trigger.CLI)
    seen = visit(client, f"{ROW}1")
    assert "Shadows 1 other row with this key." in seen.text
    assert "a.csv:2" in seen.text
    assert "last_name Old earlier line" in seen.text
    listed = visit(client, "/ui/datasets/users/shadowed")
    assert "a.csv:2" in listed.text
    assert "earlier line a.csv:3" in listed.text


def test_keys_with_any_characters_have_pages(
    client: FlaskClient, manager: DataManager, bucket: TestBucket
):
    names = ["a/b", "a b", "100%", "x?y#z", "<b>", "a,b", "é", "rows/1", "%2F"]
    rows = "".join(f'"{name}";A;B;0;\n' for name in names)
    bucket.put("a.csv", HEAD + rows)
    manager.run(Trigger.CLI)
    listed = visit(client, "/ui/datasets/users/rows")
    links = [one for one in listed.links if "/users/rows/" in one]
    assert len(links) == len(names)
    assert sorted(visit(client, one).h1 for one in links) == sorted(names)


def test_unknown_and_retired_rows_are_told_apart(
    client: FlaskClient, manager: DataManager, bucket: TestBucket
):
    bucket.user("1.csv")
    bucket.user("2.csv")
    manager.run(Trigger.CLI)
    bucket.remove("1.csv")
    manager.run(Trigger.CLI)
    assert visit(client, f"{ROW}none").status == 404
    retired = visit(client, f"{ROW}1")
    assert retired.status == 404
    assert "was retired at" in retired.text


# -- pictures


def test_pictures_are_shown_in_lists_galleries_and_of_rows(
    client: FlaskClient, manager: DataManager, bucket: TestBucket, settings: Settings
):
    key = "p/o?n#e/ä.png"
    bucket.user("ä.csv")
    bucket.put(key, plain(600, 300))
    bucket.user("bad.csv")
    bucket.put("bad.png", b"\x89PNG\r\n\x1a\nodd")
    bucket.user("without.csv")
    manager.run(Trigger.CLI)
    waiting = visit(client, "/ui/datasets/users/gallery")
    assert waiting.text.count("Waiting") == 2
    ThumbnailIndexer(settings).run()
    seen = visit(client, "/ui/datasets/users/gallery")
    assert "no picture" in seen.text
    assert "corrupt" in seen.text
    (picture,) = (one for one in seen.loaded if "/pictures/" in one)
    response = client.get(picture)
    assert response.mimetype == "image/webp"
    assert max(Image.open(io.BytesIO(response.data)).size) >= 128
    row = visit(client, f"{ROW}{quote('ä')}")
    assert "600 \N{MULTIPLICATION SIGN} 300 pixels" in row.text
    links = [one for one in row.links if "/pictures/" in one]
    assert [client.get(one).status_code for one in links] == [200] * len(links)
    original = next(one for one in links if "original=1" in one)
    assert client.get(original).data == bucket.get(key)
    table = visit(client, "/ui/datasets/users/rows?img_path=is.not_null")
    assert len([one for one in table.loaded if "/pictures/" in one]) == 1


def test_pictures_are_those_of_the_dataset_only(
    client: FlaskClient, manager: DataManager, bucket: TestBucket, settings: Settings
):
    bucket.user("1.csv")
    bucket.put("1.png", plain())
    manager.run(Trigger.CLI)
    name = settings.source_bucket
    assert client.get(f"/ui/datasets/users/pictures/{name}/1.png?original=1").status_code == 200
    assert client.get(f"/ui/datasets/users/pictures/{name}/1.png").status_code == 404
    assert client.get(f"/ui/datasets/orders/pictures/{name}/1.png").status_code == 404
    assert client.get(f"/ui/datasets/users/pictures/{name}/1.csv").status_code == 404


def test_a_limited_key_sees_its_datasets_only(settings: Settings, engine: Engine):
    install(engine, ORDERS)
    put_rows(engine, ORDERS, {"order_id": "z"})
    key = new_key()
    entry = entry_for("limited", Role.READER, key, ["orders"])
    app = create_app(settings.model_copy(update={"api_keys": SecretStr(str(entry))}))
    client = app.test_client()
    send(client, visit(client, "/ui/sign-in"), "/sign-in", key=key)
    for path in ("", "/rows", "/rows/z", "/export/json"):
        assert visit(client, f"/ui/datasets/orders{path}").status == 200
        assert visit(client, f"/ui/datasets/users{path}").status == 403
    listed = visit(client, "/ui/datasets")
    assert "orders" in listed.text
    assert "users" not in listed.text
    app.extensions["bucketline"].engine.dispose()


def _remember(engine: Engine, settings: Settings, key: str, etag: str) -> None:
    """Write the object as if a run had read this version of it."""
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM source_object"))
        connection.execute(
            text(
                "INSERT INTO source_object (bucket, key, kind, etag, size, last_modified, state,"
                " rows_read, rows_rejected, run_id, dataset) VALUES (:bucket, :key, 'data', :etag,"
                " 1, now(), 'loaded', 1, 0, 1, 'orders')"
            ),
            {"bucket": settings.source_bucket, "key": key, "etag": etag},
        )
