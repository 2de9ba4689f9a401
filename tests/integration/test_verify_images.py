"""verify() of images: pending ones are no difference, inconsistent ones are."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from etl.images.indexer import ThumbnailIndexer
from etl.model.values import Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from etl.verify import verify
from tests.conftest import TestBucket
from tests.sample_images import plain


class IndexedImages:
    """A bucket with a valid and an invalid image, both processed."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.settings = settings
        self.engine = engine
        self.bucket = TestBucket(settings)
        self.thumbnails = TestBucket(
            settings.model_copy(update={"source_bucket": settings.thumbnail_bucket})
        )
        self.bucket.put("a.png", plain())
        self.bucket.put("b.png", b"odd")
        self.run()
        self.index()

    def run(self) -> None:
        DataManager(self.settings).run(Trigger.CLI)

    def index(self, *, again: bool = False) -> None:
        ThumbnailIndexer(self.settings).run(again=again)

    def execute(self, statement: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement))

    def found(self) -> list[str]:
        return [difference.what for difference in verify(self.settings, self.engine)]


@pytest.fixture
def indexed(settings: Settings, engine: Engine) -> IndexedImages:
    return IndexedImages(settings, engine)


def test_processed_and_pending_images_have_no_difference(indexed: IndexedImages):
    assert indexed.found() == []
    indexed.bucket.put("a.png", plain(50, 50))
    indexed.bucket.put("c.png", plain(60, 60))
    indexed.run()
    assert indexed.found() == []
    indexed.index()
    assert indexed.found() == []


def test_reuploaded_faulty_image_stays_a_problem(indexed: IndexedImages):
    indexed.bucket.put("b.png", b"odd")
    indexed.run()
    assert indexed.found() == []
    indexed.index()
    assert indexed.found() == []


def test_missing_thumbnail_is_reported_until_recreated(indexed: IndexedImages):
    indexed.thumbnails.remove(indexed.thumbnails.keys()[0])
    assert indexed.found() == ["thumbnail-missing"]
    indexed.index(again=True)
    assert indexed.found() == []


def test_thumbnail_missing_from_the_tables_is_reported(indexed: IndexedImages):
    indexed.thumbnails.put(".probe", b"")
    assert indexed.found() == []
    indexed.thumbnails.put(f"{'0' * 64}@256.webp", b"x")
    assert indexed.found() == ["thumbnail-surplus"]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("DELETE FROM problem", ["problem-missing"]),
        ("UPDATE image SET state = 'ready' WHERE key = 'b.png'", ["problem-surplus"]),
        ("UPDATE image SET sizes = '{512,256,64}' WHERE key = 'a.png'", ["thumbnail-missing"]),
        ("DELETE FROM thumbnail WHERE size = 64", ["thumbnail-missing", "thumbnail-surplus"]),
        ("UPDATE image SET key = 'z.png' WHERE key = 'a.png'", ["image-surplus"]),
    ],
)
def test_inconsistent_image_tables_are_reported(
    indexed: IndexedImages, statement: str, expected: list[str]
):
    indexed.execute(statement)
    assert indexed.found() == expected
