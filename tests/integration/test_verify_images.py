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


class World:
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
        self.keep()

    def run(self) -> None:
        DataManager(self.settings).run(Trigger.CLI)

    def keep(self, *, again: bool = False) -> None:
        ThumbnailIndexer(self.settings).run(again=again)

    def execute(self, statement: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement))

    def found(self) -> list[str]:
        return [difference.what for difference in verify(self.settings, self.engine)]


@pytest.fixture
def world(settings: Settings, engine: Engine) -> World:
    return World(settings, engine)


def test_processed_and_pending_images_have_no_difference(world: World):
    assert world.found() == []
    world.bucket.put("a.png", plain(50, 50))
    world.bucket.put("c.png", plain(60, 60))
    world.run()
    assert world.found() == []
    world.keep()
    assert world.found() == []


def test_reuploaded_faulty_image_stays_a_problem(world: World):
    world.bucket.put("b.png", b"odd")
    world.run()
    assert world.found() == []
    world.keep()
    assert world.found() == []


def test_missing_thumbnail_is_reported_until_recreated(world: World):
    world.thumbnails.remove(world.thumbnails.keys()[0])
    assert world.found() == ["thumbnail-missing"]
    world.keep(again=True)
    assert world.found() == []


def test_thumbnail_missing_from_the_tables_is_reported(world: World):
    world.thumbnails.put(".probe", b"")
    assert world.found() == []
    world.thumbnails.put(f"{'0' * 64}@256.webp", b"x")
    assert world.found() == ["thumbnail-surplus"]


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DELETE FROM problem", ["problem-missing"]),
        ("UPDATE image SET state = 'ready' WHERE key = 'b.png'", ["problem-surplus"]),
        ("UPDATE image SET sizes = '{512,256,64}' WHERE key = 'a.png'", ["thumbnail-missing"]),
        ("DELETE FROM thumbnail WHERE size = 64", ["thumbnail-missing", "thumbnail-surplus"]),
        ("UPDATE image SET key = 'z.png' WHERE key = 'a.png'", ["image-surplus"]),
    ],
)
def test_inconsistent_image_tables_are_reported(world: World, statement: str, told: list[str]):
    world.execute(statement)
    assert world.found() == told
