"""The dataset `users` with a `bucket` of its own: everything that is served comes from it."""

from __future__ import annotations

import urllib.request
from dataclasses import replace

import pytest
from flask.testing import FlaskClient

from etl.images.indexer import ThumbnailIndexer
from etl.model.dataset import USERS
from etl.model.values import Trigger
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.sync.manager import DataManager
from tests.api_client import get
from tests.conftest import TestBucket
from tests.sample_images import plain

PICTURE = plain(600, 300)


@pytest.fixture
def people(settings: Settings, store: ObjectStore, bucket: TestBucket) -> TestBucket:
    """The bucket of users; SOURCE_BUCKET has other objects under the same keys."""
    name = settings.source_bucket.replace("src-", "people-")
    store.ensure_bucket(name)
    own = TestBucket(settings.model_copy(update={"source_bucket": name}))
    for each, picture in ((bucket, plain(4, 4)), (own, PICTURE)):
        each.user("ann.csv")
        each.put("team.csv", "user_id,first_name,last_name,birthts\n" + "bob,Bob,Lee,0\n" * 2)
        each.put("ann.png", picture)
    DataManager(settings, datasets=(replace(USERS, bucket=name),)).run(Trigger.CLI)
    return own


def test_image_and_thumbnails_come_from_the_bucket_of_users(
    settings: Settings, store: ObjectStore, people: TestBucket, client: FlaskClient
):
    assert client.get("/data/ann/image").data == PICTURE  # its metadata is pending
    assert ThumbnailIndexer(settings).run().ready == 1
    user = get(client, "/data/ann")
    assert user["img_path"] == f"{people.name}/ann.png"
    assert (user["image"]["state"], user["image"]["bytes"]) == ("ready", len(PICTURE))
    assert user["lineage"]["bucket"] == people.name
    assert user["lineage"]["etag"] == store.etag(people.name, "ann.csv")
    with urllib.request.urlopen(user["image"]["url"], timeout=10) as answer:  # noqa: S310
        assert answer.read() == PICTURE
    shown = client.get("/data/ann/image")
    assert (shown.data, shown.mimetype) == (PICTURE, "image/png")
    assert client.get("/data/ann/thumbnail?size=64").mimetype == "image/webp"
    assert list(get(client, "/data?image=ready")) == ["ann"]


@pytest.mark.usefixtures("people")
def test_shadowed_rows_are_those_of_the_bucket_of_users(client: FlaskClient):
    (row,) = get(client, "/datasets/users/shadowed")["shadowed"]
    assert (row["key"], row["line"], row["lost_to"]["line"]) == ("team.csv", 2, 3)
