"""Image metadata, images and thumbnails over HTTP, from a real database and object store."""

from __future__ import annotations

import io
import urllib.request
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from api import create_app
from api.state.services import MAX_STREAMS
from etl.images.indexer import ThumbnailIndexer
from etl.model.values import Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from tests import sample_images
from tests.conftest import TestBucket
from tests.sample_images import encoded, plain

PICTURE = plain(600, 300, kind="JPEG")
BIG = encoded(Image.effect_noise((1200, 1200), 90), "PNG")


class Site:
    """A bucket, its thumbnails, and the API over both."""

    def __init__(self, settings: Settings, app: APIFlask) -> None:
        self.settings = settings
        self.client: FlaskClient = app.test_client()
        self.bucket = TestBucket(settings)

    def put(self, user_id: str, content: bytes | None, extension: str = "png") -> None:
        self.bucket.user(f"{user_id}.csv")
        if content is not None:
            self.bucket.put(f"{user_id}.{extension}", content)

    def run(self) -> None:
        DataManager(self.settings).run(Trigger.CLI)

    def index(self) -> None:
        self.run()
        ThumbnailIndexer(self.settings).run()

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.client.get(path, headers=headers, buffered=True)

    def ids(self, image: str) -> list[str]:
        answer = self.get(f"/data?image={image}")
        assert answer.status_code == 200, answer.text
        return list(answer.get_json())


@pytest.fixture
def app(settings: Settings) -> Iterator[APIFlask]:
    app = create_app(settings)
    yield app
    app.extensions["bucketline"].engine.dispose()


@pytest.fixture
def site(settings: Settings, app: APIFlask) -> Site:
    return Site(settings, app)


@pytest.fixture
def five(site: Site) -> Site:
    """A user for each state of an image, and one whose image is pending."""
    site.put("good", PICTURE, "jpg")
    site.put("bad", b"\x89PNG\r\n\x1a\nodd")
    site.put("page", b"<html><script>alert(1)</script></html>", "gif")
    site.put("bomb", sample_images.bomb())
    site.put("none", None)
    site.index()
    site.put("new", plain())
    site.run()
    return site


def test_users_are_filtered_by_the_state_of_their_image(five: Site):
    assert five.ids("ready") == ["good"]
    assert five.ids("corrupt") == ["bad"]
    assert five.ids("unsupported") == ["page"]
    assert five.ids("too-large") == ["bomb"]
    assert five.ids("missing") == ["none"]
    assert five.ids("waiting") == ["new"]
    assert five.get("/stats?image=ready").get_json()["count"] == 1
    assert five.get("/data?image=odd").status_code == 422


def test_image_filter_reflects_an_image_just_processed(five: Site):
    before = five.get("/data?image=waiting")
    everyone = five.get("/data")
    five.index()
    after = five.get("/data?image=waiting", If_None_Match=before.headers["ETag"])
    assert (after.status_code, after.get_json()) == (200, {})
    assert five.get("/data", If_None_Match=everyone.headers["ETag"]).status_code == 304


@pytest.mark.parametrize("image", ["ready", "waiting"])
def test_image_filter_reflects_an_image_just_replaced(five: Site, image: str):
    path = f"/data?image={image}"
    before = five.get(path)
    five.bucket.put("good.jpg", plain())
    five.run()
    after = five.get(path, **{"If-None-Match": before.headers["ETag"]})
    assert after.status_code == 200
    assert after.get_json() != before.get_json()


def test_user_shows_image_metadata_and_working_urls(five: Site):
    image = five.get("/data/good").get_json()["image"]
    facts = {name: image[name] for name in ("state", "format", "mode", "width", "height", "bytes")}
    assert facts == {
        "state": "ready", "format": "JPEG", "mode": "RGB", "width": 600, "height": 300,
        "bytes": len(PICTURE),
    }  # fmt: skip
    assert image["reason"] is None
    assert list(image["thumbnails"]) == ["256", "64"]
    assert image["urls_expire_in"] == 900
    assert "X-Amz-Expires=900" in image["url"]
    with urllib.request.urlopen(image["url"], timeout=10) as answer:  # noqa: S310 - our store
        assert answer.read() == PICTURE
        assert answer.headers["Content-Type"] == "image/jpeg"
    with urllib.request.urlopen(image["thumbnails"]["64"], timeout=10) as answer:  # noqa: S310
        assert Image.open(io.BytesIO(answer.read())).size == (64, 32)
        assert answer.headers["Content-Type"] == "image/webp"
        assert "immutable" in answer.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("user_id", "state", "reason"),
    [
        ("bad", "corrupt", "Upload the image again"),
        ("page", "unsupported", "JPEG, PNG, WebP or GIF"),
        ("bomb", "too-large", "50,000,000 pixels"),
        ("new", "waiting", "has not been processed yet"),
    ],
)
def test_image_that_is_not_ready_shows_the_reason(
    five: Site, user_id: str, state: str, reason: str
):
    image = five.get(f"/data/{user_id}").get_json()["image"]
    assert image["state"] == state
    assert reason in image["reason"]
    assert image["thumbnails"] == {}
    refusal = five.get(f"/data/{user_id}/thumbnail")
    assert refusal.status_code == 404
    assert refusal.get_json()["type"].endswith("no-thumbnail")


def test_a_user_without_image_has_none(five: Site):
    assert five.get("/data/none").get_json()["image"] is None
    for what in ("image", "thumbnail"):
        refusal = five.get(f"/data/none/{what}")
        assert refusal.status_code == 404
        assert refusal.get_json()["type"].endswith("no-image")
        assert five.get(f"/data/nobody/{what}").get_json()["type"].endswith("unknown-user")


def test_image_is_sent_with_its_type_and_then_not_modified(five: Site):
    answer = five.get("/data/good/image")
    assert (answer.status_code, answer.data) == (200, PICTURE)
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["Content-Length"] == str(len(PICTURE))
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    again = five.get("/data/good/image", If_None_Match=answer.headers["ETag"])
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == answer.headers["ETag"]


@pytest.mark.parametrize("user_id", ["bad", "page", "new"])
def test_undecoded_image_is_sent_as_attachment(five: Site, user_id: str):
    answer = five.get(f"/data/{user_id}/image")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == "attachment"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    url = five.get(f"/data/{user_id}").get_json()["image"]["url"]
    with urllib.request.urlopen(url, timeout=10) as signed:  # noqa: S310 - our store
        assert signed.headers["Content-Type"] == "application/octet-stream"
        assert signed.headers["Content-Disposition"] == "attachment"


def test_a_name_that_lies_changes_no_type(site: Site):
    site.put("1", plain(30, 30, kind="GIF"), "jpg")
    site.index()
    assert site.get("/data/1/image").headers["Content-Type"] == "image/gif"


def test_thumbnail_has_the_requested_size(five: Site):
    answer = five.get("/data/good/thumbnail?size=64")
    assert Image.open(io.BytesIO(answer.data)).size == (64, 32)
    assert answer.headers["Content-Type"] == "image/webp"
    assert answer.headers["Content-Length"] == str(len(answer.data))
    largest = five.get("/data/good/thumbnail")
    assert Image.open(io.BytesIO(largest.data)).size == (256, 128)
    assert largest.headers["ETag"] != answer.headers["ETag"]
    again = five.get("/data/good/thumbnail?size=64", If_None_Match=answer.headers["ETag"])
    assert (again.status_code, again.data) == (304, b"")
    head = five.client.head("/data/good/thumbnail")
    assert head.headers["Content-Length"] == str(len(largest.data))


def test_unavailable_thumbnail_size_is_rejected_with_valid_sizes(five: Site):
    refusal = five.get("/data/good/thumbnail?size=100")
    assert refusal.status_code == 404
    assert "256, 64" in refusal.get_json()["detail"]
    assert five.get("/data/good/thumbnail?size=x").status_code == 422
    assert five.get("/data/good/image?size=64").status_code == 422


def test_replaced_image_is_not_sent_with_the_type_of_the_old(five: Site):
    five.bucket.put("good.jpg", b"<html>")
    answer = five.get("/data/good/image")
    assert answer.data == b"<html>"
    assert answer.headers["Content-Type"] == "application/octet-stream"
    five.bucket.remove("good.jpg")
    assert five.get("/data/good/image").get_json()["type"].endswith("no-image")


@pytest.mark.parametrize("user_id", ["a/b", "ä ö%", "x?y#z"])
def test_image_is_found_for_any_user_id(site: Site, user_id: str):
    site.bucket.put("many.csv", f"user_id,first_name,last_name,birthts\n{user_id},A,B,0\n")
    base = user_id.rpartition("/")[2]
    site.bucket.put(f"{base}.png", plain())
    site.index()
    answer = site.get(f"/data/{quote(user_id, safe='')}/image")
    assert answer.status_code == (404 if "/" in user_id else 200)
    assert "unknown" not in answer.text if answer.status_code == 404 else answer.data == plain()


def test_image_supports_range_requests(five: Site):
    answer = five.get("/data/good/image", Range="bytes=10-19")
    assert (answer.status_code, answer.data) == (206, PICTURE[10:20])
    assert answer.headers["Content-Type"] == "image/jpeg"


def test_large_image_is_streamed_and_streams_are_limited(site: Site, app: APIFlask):
    site.put("1", BIG)
    site.index()
    answer = site.get("/data/1/image")
    assert answer.data == BIG
    assert answer.headers["Content-Length"] == str(len(BIG))
    streams = app.extensions["bucketline"].streams
    for _ in range(MAX_STREAMS):
        assert streams.acquire(blocking=False)
    assert site.get("/data/1/image").status_code == 503
    for _ in range(MAX_STREAMS):
        streams.release()
    for _ in range(MAX_STREAMS + 1):  # no stream leaks, even if the client does not read to the end
        site.client.get("/data/1/image", buffered=False).close()
    assert site.get("/data/1/image").data == BIG


def test_without_the_store_metadata_is_shown_and_images_are_503(five: Site):
    lost = five.settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})
    app = create_app(lost)
    client = app.test_client()
    assert client.get("/data/good").get_json()["image"]["state"] == "ready"
    for what in ("image", "thumbnail"):
        answer = client.get(f"/data/good/{what}")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
    app.extensions["bucketline"].engine.dispose()


def test_without_credentials_no_url_is_presigned(five: Site):
    app = create_app(five.settings.model_copy(update={"s3_access_key": None}))
    image = app.test_client().get("/data/good").get_json()["image"]
    assert (image["state"], image["url"], image["thumbnails"]) == (
        "ready",
        None,
        {"256": None, "64": None},
    )
    app.extensions["bucketline"].engine.dispose()
