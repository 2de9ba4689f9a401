"""What is known of images, against the manifest and the bucket of thumbnails.

Images that wait to be looked at are no difference: nothing is known of them yet. The pictures
themselves are not decoded again.
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

LOOKED_AT_AGAIN = 1_000
_THUMBNAIL = re.compile(r"[0-9a-f]{64}@[0-9]+\.webp")


@dataclass(frozen=True, slots=True)
class KnownImage:
    """A row of `image`."""

    etag: str
    state: str
    sha256: str | None
    sizes: list[int]


@dataclass(frozen=True)
class Pictures:
    """What the tables hold of images, as of one instant.

    Shapes:  manifest: ETag by key; images by key; put: keys of thumbnails said to be in the
             bucket; unsure: of those that may be; problems (key, code), open ones of images.
    """

    manifest: dict[str, str]
    images: dict[str, KnownImage]
    put: set[str]
    unsure: set[str]
    problems: set[tuple[str, str]]


def compare_pictures(settings: Settings, engine: Engine, client: Minio) -> list[Difference]:
    """Tell where facts, thumbnails and their bucket disagree.

    Raises:  DatabaseUnavailable, ObjectStoreUnavailable, ConfigurationError.
    """
    listed = set(_thumbnails(client, settings.thumbnail_bucket))
    with translating(), engine.connect() as connection:
        snapshot = connection.execution_options(isolation_level="REPEATABLE READ")
        found = read_pictures(snapshot, settings.source_bucket)
    # Thumbnails come and go meanwhile: those that look wrong are looked at again, if few.
    for key in islice(listed ^ found.put, LOOKED_AT_AGAIN):
        is_there = key in _thumbnails(client, settings.thumbnail_bucket, prefix=key)
        (listed.add if is_there else listed.discard)(key)
    return [*_compare_images(found), *_compare_problems(found), *_compare_bucket(found, listed)]


def _thumbnails(client: Minio, bucket: str, prefix: str = "") -> Iterator[str]:
    """List what is named as thumbnails are."""
    listing = store.list_objects(client, bucket, prefix)
    return (source.key for source in listing if _THUMBNAIL.fullmatch(source.key))


def read_pictures(connection: Connection, bucket: str) -> Pictures:
    """Read what is known of the images of one source bucket."""
    manifest = select(source_object.c.key, source_object.c.etag).where(
        source_object.c.bucket == bucket, source_object.c.kind == "image"
    )
    known = select(image.c.key, image.c.etag, image.c.state, image.c.sha256, image.c.sizes)
    put: set[str] = set()
    unsure: set[str] = set()
    for key, put_at in connection.execute(select(thumbnail.c.key, thumbnail.c.put_at)):
        (unsure if put_at is None else put).add(key)
    return Pictures(
        manifest={row.key: row.etag for row in connection.execute(manifest)},
        images={key: KnownImage(*rest) for key, *rest in connection.execute(known)},
        put=put,
        unsure=unsure,
        problems=_problems(connection, bucket),
    )


def _problems(connection: Connection, bucket: str) -> set[tuple[str, str]]:
    is_open = and_(
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


def _compare_images(found: Pictures) -> Iterator[Difference]:
    for key, known in sorted(found.images.items()):
        if key not in found.manifest:
            note = f"The manifest has no such image; `{program()} images` removes this record."
            yield Difference("image-surplus", key, None, None, note)
        elif known.state == "ready" and found.manifest[key] == known.etag:
            yield from _compare_sizes(key, known, found)


def _compare_sizes(key: str, known: KnownImage, found: Pictures) -> Iterator[Difference]:
    for size in known.sizes:
        name = f"{known.sha256}@{size}.webp"
        if name not in found.put | found.unsure:
            note = f"It is said to be made of {key}, and the table of thumbnails does not hold it."
            yield Difference("thumbnail-missing", name, None, None, note)


def _compare_problems(found: Pictures) -> Iterator[Difference]:
    expected: set[tuple[str, str]] = {
        (key, IMAGE_PROBLEM_CODES[known.state])
        for key, known in found.images.items()
        if known.state in IMAGE_PROBLEM_CODES and found.manifest.get(key) == known.etag
    }
    for key, code in sorted(expected - found.problems):
        note = "This image is faulty, and no problem says so."
        yield Difference("problem-missing", f"{key} {code}", None, None, note)
    for key, code in sorted(found.problems - expected):
        note = "Nothing is known to be wrong with this image."
        yield Difference("problem-surplus", f"{key} {code}", None, None, note)


def _compare_bucket(found: Pictures, listed: set[str]) -> Iterator[Difference]:
    for key in sorted(found.put - listed):
        note = f"It was stored but is missing; `{program()} images --again` makes it again."
        yield Difference("thumbnail-missing", key, None, None, note)
    for key in sorted(listed - found.put - found.unsure):
        note = "No table knows it: it is not ours, or from another database."
        yield Difference("thumbnail-surplus", key, None, None, note)
