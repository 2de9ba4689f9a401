"""Images of the manifest, their metadata and thumbnails, on a real database and store."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import Engine, text

from etl.db.engine import connect_unpooled
from etl.db.locks import image_lock
from etl.db.problems import open_problems
from etl.db.revisions import Resource, current
from etl.images.indexer import IndexReport, ThumbnailIndexer
from etl.images.waiting import count_pending
from etl.model.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    ImageWorkerBusy,
    ObjectStoreUnavailable,
)
from etl.model.values import SourceFile, SourceObject, Trigger
from etl.runtime.service import StopEvent
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.sync.manager import DataManager
from etl.verify import verify
from tests import sample_images, worker_behavior
from tests.conftest import TestBucket, minio_client
from tests.sample_images import plain


class Gallery:
    """A source bucket with images, their metadata and thumbnails."""

    def __init__(self, settings: Settings, engine: Engine) -> None:
        self.settings = settings
        self.engine = engine
        self.bucket = TestBucket(settings)
        self.thumbnails = TestBucket(
            settings.model_copy(update={"source_bucket": settings.thumbnail_bucket})
        )
        self.manager = DataManager(settings)

    def put(self, **images: bytes) -> None:
        for name, content in images.items():
            self.bucket.put(name.replace("_", "."), content)

    def index(self, **limits: int) -> IndexReport:
        """Make a run, then process the images."""
        self.manager.run(Trigger.CLI)
        return ThumbnailIndexer(self.settings, **limits).run()

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    def state(self, key: str) -> str:
        return str(self.rows(f"SELECT state FROM image WHERE key = '{key}'")[0][0])

    def keys_in_table(self) -> list[str]:
        return [row[0] for row in self.rows("SELECT key FROM thumbnail WHERE put_at IS NOT NULL")]

    def problems(self) -> list[tuple[str, str, str]]:
        with self.engine.connect() as connection:
            return [
                (found["key"], found["code"], found["severity"])
                for found in open_problems(connection)
            ]

    def waiting(self) -> int:
        with self.engine.connect() as connection:
            return count_pending(connection, self.settings)

    def revision(self) -> int:
        with self.engine.connect() as connection:
            return current(connection)[Resource.IMAGES][0]

    def check_level(self) -> None:
        """Check that every image is processed, and that the bucket has exactly their thumbnails."""
        assert self.waiting() == 0
        assert sorted(self.thumbnails.keys()) == sorted(self.keys_in_table())
        used = {
            f"{sha256}@{size}.webp"
            for sha256, sizes in self.rows("SELECT sha256, sizes FROM image WHERE state = 'ready'")
            for size in sizes
        }
        assert used == set(self.keys_in_table())


@pytest.fixture
def gallery(settings: Settings, engine: Engine) -> Gallery:
    return Gallery(settings, engine)


def test_image_gets_metadata_and_two_thumbnails(gallery: Gallery):
    content = plain(400, 300, kind="JPEG")
    gallery.put(ann_jpg=content)
    kept = gallery.index()
    assert (kept.looked_at, kept.ready, kept.thumbnails_put) == (1, 1, 2)
    facts = gallery.rows(
        "SELECT i.key, i.etag = o.etag, state_of, format, mode, width, height, bytes, sizes, note"
        " FROM (SELECT *, state AS state_of FROM image) AS i JOIN source_object AS o USING (key)"
    )
    assert facts == [
        ("ann.jpg", True, "ready", "JPEG", "RGB", 400, 300, len(content), [256, 64], None)
    ]
    gallery.check_level()


def test_thumbnail_has_a_content_type_and_its_source(gallery: Gallery):
    gallery.put(ann_png=plain())
    gallery.index()
    key = next(filter(re.compile("@256").search, gallery.thumbnails.keys()))
    found = minio_client(gallery.settings).stat_object(gallery.settings.thumbnail_bucket, key)
    assert found.content_type == "image/webp"
    assert found.metadata is not None
    assert found.metadata["Cache-Control"] == "public, max-age=31536000, immutable"
    (etag,) = gallery.rows("SELECT etag FROM image")[0]
    assert found.metadata["x-amz-meta-source-etag"] == etag
    image = Image.open(io.BytesIO(gallery.thumbnails.get(key)))
    assert (image.format, image.size) == ("WEBP", (256, 171))


def test_unchanged_images_are_not_processed_again(gallery: Gallery):
    gallery.put(a_png=plain(), b_png=b"odd")
    gallery.index()
    revision = gallery.revision()
    assert gallery.index().looked_at == 0
    assert gallery.revision() == revision
    gallery.put(c_png=plain(9, 9))
    assert gallery.index().looked_at == 1
    assert gallery.revision() > revision


def test_equal_images_share_thumbnails_until_the_last_is_removed(gallery: Gallery):
    gallery.put(a_png=plain(), b_png=plain())
    assert gallery.index().thumbnails_put == 2
    gallery.put(c_png=plain())
    assert gallery.index().thumbnails_put == 0
    for key in ("a.png", "c.png"):
        gallery.bucket.remove(key)
        assert gallery.index().thumbnails_removed == 0
        gallery.check_level()
    gallery.bucket.remove("b.png")
    assert gallery.index().thumbnails_removed == 2
    assert gallery.thumbnails.keys() == []
    gallery.check_level()


def test_equal_base_names_do_not_collide(gallery: Gallery):
    gallery.bucket.put("x/1.png", plain(color=1, mode="L"))
    gallery.bucket.put("y/1.png", plain(color=2, mode="L"))
    assert gallery.index().thumbnails_put == 4
    gallery.check_level()


def test_a_replaced_image_loses_its_old_thumbnails(gallery: Gallery):
    gallery.put(a_png=plain())
    gallery.index()
    before = set(gallery.thumbnails.keys())
    gallery.put(a_png=plain(90, 80))
    kept = gallery.index()
    assert (kept.thumbnails_put, kept.thumbnails_removed) == (2, 2)
    assert not before & set(gallery.thumbnails.keys())
    gallery.check_level()


def test_faulty_images_are_problems_and_change_no_user(gallery: Gallery):
    gallery.bucket.user("a.csv")
    gallery.bucket.user("b.csv")
    gallery.put(a_png=b"\x89PNG\r\n\x1a\nodd", b_png=sample_images.SVG, c_png=sample_images.bomb())
    kept = gallery.index()
    assert (kept.corrupt, kept.unsupported, kept.too_large, kept.ready) == (1, 1, 1, 0)
    assert gallery.problems() == [
        ("a.png", "corrupt-image", "error"),
        ("b.png", "unsupported-image", "warning"),
        ("c.png", "image-too-large", "warning"),
    ]
    users = gallery.rows("SELECT user_id, img_path FROM users ORDER BY user_id")
    source = gallery.settings.source_bucket
    assert users == [("a", f"{source}/a.png"), ("b", f"{source}/b.png")]
    gallery.check_level()


def test_wrong_extension_is_accepted(gallery: Gallery):
    gallery.put(a_jpg=plain(kind="PNG"), b_gif=plain(kind="WEBP"))
    assert gallery.index().ready == 2
    assert gallery.rows("SELECT format FROM image ORDER BY key") == [("PNG",), ("WEBP",)]


def test_problem_of_an_image_follows_its_bytes(gallery: Gallery):
    gallery.put(a_png=b"odd")
    gallery.index()
    assert len(gallery.problems()) == 1
    gallery.put(a_png=b"odd")  # the same bytes, loaded by another run
    gallery.index()
    assert len(gallery.problems()) == 1
    gallery.put(a_png=plain())
    gallery.index()
    assert gallery.problems() == []
    gallery.put(a_png=b"odd")
    gallery.index()
    gallery.bucket.remove("a.png")
    gallery.index()
    assert gallery.problems() == []
    assert gallery.rows("SELECT * FROM image") == []


def test_an_image_of_too_many_bytes_is_not_fetched(gallery: Gallery):
    content = plain()
    limited = gallery.settings.model_copy(update={"image_max_bytes": len(content) - 1})
    gallery.put(a_png=content)
    gallery.manager.run(Trigger.CLI)

    class NeverAsked(ObjectStore):
        def fetch(self, bucket: str, source: SourceObject) -> SourceFile | None:
            raise AssertionError((bucket, source))

    kept = ThumbnailIndexer(limited, store=NeverAsked(limited)).run()
    assert (kept.too_large, gallery.state("a.png")) == (1, "too-large")
    assert ThumbnailIndexer(gallery.settings).run().looked_at == 0
    assert ThumbnailIndexer(gallery.settings).run(again=True).ready == 1
    assert gallery.problems() == []
    gallery.check_level()


def test_a_size_added_to_the_settings_is_made_of_every_image(gallery: Gallery):
    gallery.put(a_png=plain(), b_png=b"odd")
    gallery.index()
    more = gallery.settings.model_copy(update={"thumbnail_sizes": (256, 128, 64)})
    kept = ThumbnailIndexer(more).run()
    assert (kept.looked_at, kept.thumbnails_put) == (1, 1)
    assert len(gallery.thumbnails.keys()) == 3
    assert ThumbnailIndexer(more).run().looked_at == 0


def test_size_removed_from_settings_removes_its_thumbnails(gallery: Gallery):
    gallery.put(a_png=plain(), b_png=plain(80, 80))
    gallery.index()
    gallery.thumbnails.remove(next(filter(re.compile("@64").search, gallery.thumbnails.keys())))
    fewer = gallery.settings.model_copy(update={"thumbnail_sizes": (256,)})
    before = gallery.revision()
    kept = ThumbnailIndexer(fewer).run(again=True)
    assert (kept.looked_at, kept.thumbnails_removed) == (0, 2)
    assert gallery.rows("SELECT DISTINCT sizes FROM image") == [([256],)]
    assert gallery.revision() > before
    left = gallery.thumbnails.keys()
    assert [key.partition("@")[2] for key in left] == ["256.webp"] * 2
    assert verify(fewer, gallery.engine) == []
    assert ThumbnailIndexer(fewer).run().looked_at == 0
    assert gallery.index().thumbnails_put == 2
    gallery.check_level()


def test_deleted_thumbnails_are_recreated_on_request(gallery: Gallery):
    gallery.put(a_png=plain(), b_png=plain(80, 80))
    gallery.index()
    gallery.thumbnails.remove(gallery.thumbnails.keys()[0])
    assert gallery.index().looked_at == 0
    kept = ThumbnailIndexer(gallery.settings).run(again=True)
    assert (kept.looked_at, kept.thumbnails_put) == (1, 1)
    gallery.check_level()


def test_image_changed_since_the_run_is_left_for_the_next(gallery: Gallery):
    gallery.put(a_png=plain(), b_png=plain())
    gallery.manager.run(Trigger.CLI)
    gallery.put(a_png=plain(50, 50))
    gallery.bucket.remove("b.png")
    kept = ThumbnailIndexer(gallery.settings).run()
    assert (kept.looked_at, kept.passed_over) == (0, 2)
    assert gallery.waiting() == 2
    assert gallery.index().looked_at == 1
    gallery.check_level()


@pytest.mark.parametrize(
    ("what", "state", "code"),
    [
        (b"crash", "corrupt", "corrupt-image"),
        (b"leave", "corrupt", "corrupt-image"),
        (b"hang", "too-large", "image-too-large"),
        (b"grow", "too-large", "image-too-large"),
    ],
)
def test_decoder_crash_or_hang_fails_only_that_image(
    gallery: Gallery, what: bytes, state: str, code: str
):
    limited = gallery.settings.model_copy(update={"image_timeout": worker_behavior.TIMEOUT})
    for n in range(8):
        gallery.bucket.put(f"{n}.png", plain(20 + n, 20))
    gallery.bucket.put("bad.png", what)
    gallery.manager.run(Trigger.CLI)
    kept = ThumbnailIndexer(limited, decode=worker_behavior.behave_or_examine).run()
    assert (kept.ready, kept.looked_at) == (8, 9)
    assert gallery.state("bad.png") == state
    assert [(key, found) for key, found, _ in gallery.problems()] == [("bad.png", code)]
    gallery.check_level()


def test_image_whose_decoder_is_killed_stays_pending(gallery: Gallery):
    gallery.put(a_png=plain(), b_png=b"be killed")
    gallery.manager.run(Trigger.CLI)
    kept = ThumbnailIndexer(gallery.settings, decode=worker_behavior.behave_or_examine).run()
    assert (kept.ready, kept.looked_at, kept.passed_over) == (1, 1, 1)
    assert gallery.waiting() == 1
    assert gallery.problems() == []


def test_many_images_are_processed_in_batches(gallery: Gallery):
    limits = {"chunk_images": 3, "page_rows": 4}
    for n in range(14):
        gallery.bucket.put(f"{n}.png", plain(10 + n, 10))
    assert gallery.index(**limits).looked_at == 14
    gallery.check_level()
    gallery.bucket.clear()
    assert gallery.index(**limits).thumbnails_removed == 28
    gallery.check_level()


def test_stopping_leaves_the_rest_for_later(gallery: Gallery):
    for n in range(5):
        gallery.bucket.put(f"{n}.png", plain(10 + n, 10))
    gallery.manager.run(Trigger.CLI)
    stopping = StopEvent()
    stopping.set()
    assert ThumbnailIndexer(gallery.settings).run(stopping=stopping).looked_at == 0
    assert gallery.waiting() == 5


def test_only_one_process_at_a_time_processes_images(gallery: Gallery):
    gallery.put(a_png=plain())
    gallery.manager.run(Trigger.CLI)
    with image_lock(connect_unpooled(gallery.settings)), pytest.raises(ImageWorkerBusy):
        ThumbnailIndexer(gallery.settings).run()
    assert ThumbnailIndexer(gallery.settings).run().ready == 1


def test_runs_continue_while_images_are_processed(gallery: Gallery):
    with image_lock(connect_unpooled(gallery.settings)):
        gallery.bucket.user("1.csv")
        assert gallery.manager.run(Trigger.CLI).counts.users_live == 1


def test_store_outage_while_processing_only_delays_images(gallery: Gallery):
    class Failing(ObjectStore):
        calls = 0

        def fetch(self, bucket: str, source: SourceObject) -> SourceFile | None:
            self.calls += 1
            if self.calls == 4:
                raise ObjectStoreUnavailable("The store went down.")
            return super().fetch(bucket, source)

    for n in range(6):
        gallery.bucket.put(f"{n}.png", plain(10 + n, 10))
    gallery.manager.run(Trigger.CLI)
    with pytest.raises(ObjectStoreUnavailable):
        ThumbnailIndexer(gallery.settings, store=Failing(gallery.settings)).run()
    assert ThumbnailIndexer(gallery.settings).run().passed_over == 0
    gallery.check_level()


def test_processes_that_cannot_start_make_no_image_corrupt(gallery: Gallery):
    gallery.put(a_png=plain())
    gallery.manager.run(Trigger.CLI)
    with pytest.raises(ConfigurationError):
        ThumbnailIndexer(gallery.settings, decode=worker_behavior.Unstartable()).run()
    assert gallery.waiting() == 1


def test_a_lost_lock_ends_the_work(gallery: Gallery):
    class CutOff(ObjectStore):
        def fetch(self, bucket: str, source: SourceObject) -> SourceFile | None:
            gallery.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            return super().fetch(bucket, source)

    gallery.put(a_png=plain())
    gallery.manager.run(Trigger.CLI)
    with pytest.raises(DatabaseUnavailable):
        ThumbnailIndexer(gallery.settings, store=CutOff(gallery.settings)).run()
    assert gallery.waiting() == 1
    assert gallery.index().ready == 1
    gallery.check_level()
