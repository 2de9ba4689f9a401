"""Compare image metadata with the manifest, and thumbnails with their bucket.

Pending images are not a difference, because they have no metadata yet. Images are not decoded
again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, and_, select

from etl.db.engine import translating
from etl.db.tables import image, problem, source_object, thumbnail
from etl.model.values import IMAGE_PROBLEM_CODES
from etl.runtime.program import program
from etl.verify import store
from etl.verify.compare import Difference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from minio import Minio

    from etl.settings import Settings

MAX_RECHECKED = 1_000
_THUMBNAIL = re.compile(r"[0-9a-f]{64}@[0-9]+\.webp")


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """A row of the table `image`."""

    etag: str
    state: str
    sha256: str | None
    sizes: list[int]


@dataclass(frozen=True)
class ImageTables:
    """The state of images in the tables, as of one instant.

    Shapes:  manifest: ETag by key; images by key; stored: keys of thumbnails recorded as stored;
             pending: keys of thumbnails whose upload may not have finished; problems (key, code):
             open problems of images.
    """

    manifest: dict[str, str]
    images: dict[str, ImageRecord]
    stored: set[str]
    pending: set[str]
    problems: set[tuple[str, str]]


def compare_images(settings: Settings, engine: Engine, client: Minio) -> list[Difference]:
    """Return the differences between image metadata, thumbnails and their bucket.

    Raises:  DatabaseUnavailable, ObjectStoreUnavailable, ConfigurationError.
    """
    listed = set(_thumbnails(client, settings.thumbnail_bucket))
    with translating(), engine.connect() as connection:
        snapshot = connection.execution_options(isolation_level="REPEATABLE READ")
        found = read_images(snapshot, settings.source_bucket)
    # Thumbnails may be stored or removed meanwhile, so check a limited number of differences again.
    for key in islice(listed ^ found.stored, MAX_RECHECKED):
        is_there = key in _thumbnails(client, settings.thumbnail_bucket, prefix=key)
        (listed.add if is_there else listed.discard)(key)
    return [*_compare_images(found), *_compare_problems(found), *_compare_bucket(found, listed)]


def _thumbnails(client: Minio, bucket: str, prefix: str = "") -> Iterator[str]:
    """List the keys that have the form of a thumbnail's key."""
    listing = store.list_objects(client, bucket, prefix)
    return (source.key for source in listing if _THUMBNAIL.fullmatch(source.key))


def read_images(connection: Connection, bucket: str) -> ImageTables:
    """Read the state of the images of one source bucket."""
    manifest = select(source_object.c.key, source_object.c.etag).where(
        source_object.c.bucket == bucket, source_object.c.kind == "image"
    )
    known = select(image.c.key, image.c.etag, image.c.state, image.c.sha256, image.c.sizes).where(
        image.c.bucket == bucket
    )
    stored: set[str] = set()
    pending: set[str] = set()
    for key, put_at in connection.execute(select(thumbnail.c.key, thumbnail.c.put_at)):
        (pending if put_at is None else stored).add(key)
    return ImageTables(
        manifest={row.key: row.etag for row in connection.execute(manifest)},
        images={key: ImageRecord(*rest) for key, *rest in connection.execute(known)},
        stored=stored,
        pending=pending,
        problems=_problems(connection, bucket),
    )


def _problems(connection: Connection, bucket: str) -> set[tuple[str, str]]:
    is_open = and_(
        source_object.c.bucket == problem.c.bucket,
        source_object.c.key == problem.c.key,
        source_object.c.run_id == problem.c.run_id,
        source_object.c.bucket == bucket,
    )
    rows = connection.execute(
        select(problem.c.key, problem.c.code)
        .join(source_object, is_open)
        .where(problem.c.code.in_(IMAGE_PROBLEM_CODES.values()))
    )
    return {(key, code) for key, code in rows}


def _compare_images(found: ImageTables) -> Iterator[Difference]:
    for key, known in sorted(found.images.items()):
        if key not in found.manifest:
            note = f"The manifest does not have this image; `{program()} images` removes its row."
            yield Difference("image-surplus", key, None, None, note)
        elif known.state == "ready" and found.manifest[key] == known.etag:
            yield from _compare_sizes(key, known, found)


def _compare_sizes(key: str, known: ImageRecord, found: ImageTables) -> Iterator[Difference]:
    for size in known.sizes:
        name = f"{known.sha256}@{size}.webp"
        if name not in found.stored | found.pending:
            note = f"{key} lists this thumbnail, but the table of thumbnails does not have it."
            yield Difference("thumbnail-missing", name, None, None, note)


def _compare_problems(found: ImageTables) -> Iterator[Difference]:
    expected: set[tuple[str, str]] = {
        (key, IMAGE_PROBLEM_CODES[known.state])
        for key, known in found.images.items()
        if known.state in IMAGE_PROBLEM_CODES and found.manifest.get(key) == known.etag
    }
    for key, code in sorted(expected - found.problems):
        note = "The image is faulty, but has no open problem."
        yield Difference("problem-missing", f"{key} {code}", None, None, note)
    for key, code in sorted(found.problems - expected):
        note = "The problem is open, but the image is not recorded as faulty."
        yield Difference("problem-surplus", f"{key} {code}", None, None, note)


def _compare_bucket(found: ImageTables, listed: set[str]) -> Iterator[Difference]:
    for key in sorted(found.stored - listed):
        note = f"It was stored, but is missing; `{program()} images --again` creates it again."
        yield Difference("thumbnail-missing", key, None, None, note)
    for key in sorted(listed - found.stored - found.pending):
        note = "No table lists it; another program or database may have created it."
        yield Difference("thumbnail-surplus", key, None, None, note)
