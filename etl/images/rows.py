"""The tables `image` and `thumbnail`, and the problems of images.

Every function runs in its caller's transaction.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    and_,
    func,
    literal,
    or_,
    select,
    text,
    union,
)
from sqlalchemy.dialects.postgresql import array, insert

from etl.db.names import Channel
from etl.db.sql import statements
from etl.db.tables import dataset, image, source_object, thumbnail
from etl.model.values import IMAGE_PROBLEM_CODES, ImageState, SourceObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from etl.images.decode import ImageMetadata
    from etl.settings import Settings

CHANNEL = Channel.IMAGES_WAITING
PAGE_ROWS = 1_000
HINTS = {
    ImageState.CORRUPT: "Upload the image again.",
    ImageState.TOO_LARGE: "Upload a smaller image, or raise the limit: `./run.sh images --again`.",
    ImageState.UNSUPPORTED: "Convert the image to JPEG, PNG, WebP or GIF and upload it.",
}
_CODES = [code.value for code in IMAGE_PROBLEM_CODES.values()]


@dataclass(frozen=True, slots=True)
class IndexedImage:
    """An image of the manifest, its metadata and the sizes of its thumbnails."""

    source: SourceObject
    metadata: ImageMetadata
    sizes: tuple[int, ...]


# -- pending images


def buckets(connection: Connection, settings: Settings) -> list[str]:
    """The buckets that may have images: that of SOURCE_BUCKET and those of datasets, sorted."""
    return sorted(connection.scalars(_buckets(settings)))


def _buckets(settings: Settings) -> CompoundSelect[Any]:
    declared = dataset.c.declaration["bucket"].astext
    is_named = and_(declared.is_not(None), declared != "")
    return union(select(literal(settings.source_bucket)), select(declared).where(is_named))


def count_pending(connection: Connection, settings: Settings) -> int:
    """Return the number of images that are not processed yet."""
    query = (
        _pending(settings, again=False)
        .where(source_object.c.bucket.in_(_buckets(settings)))
        .with_only_columns(func.count())
    )
    return connection.scalar(query) or 0


def pending(  # noqa: PLR0913 - a page of a bucket
    connection: Connection,
    settings: Settings,
    bucket: str,
    after: str,
    *,
    limit: int,
    again: bool,
) -> list[SourceObject]:
    """Return the next images that are new, changed or lack a thumbnail; if `again`, also faulty."""
    rows = connection.execute(
        _pending(settings, again=again)
        .where(source_object.c.bucket == bucket, source_object.c.key > after)
        .order_by(source_object.c.key)
        .limit(limit)
    )
    return [SourceObject(*row) for row in rows]


def _pending(settings: Settings, *, again: bool) -> Select[Any]:
    columns = ("key", "etag", "size", "last_modified")
    same_object = and_(image.c.bucket == source_object.c.bucket, image.c.key == source_object.c.key)
    return (
        select(*(source_object.c[name] for name in columns))
        .join(image, same_object, isouter=True)
        .where(
            source_object.c.kind == "image",
            or_(
                image.c.key.is_(None),
                image.c.etag != source_object.c.etag,
                and_(image.c.state == ImageState.READY, _lacks_thumbnail(settings)),
                *([image.c.state != ImageState.READY] if again else []),
            ),
        )
    )


def _lacks_thumbnail(settings: Settings) -> ColumnElement[bool]:
    """Whether a ready image lacks a size, or one of its thumbnails is not known to be put."""
    sizes = settings.thumbnail_sizes
    not_put = select(thumbnail.c.sha256).where(
        thumbnail.c.put_at.is_(None), thumbnail.c.size.in_(sizes)
    )
    return or_(~image.c.sizes.contains(array(sizes)), image.c.sha256.in_(not_put))


# -- thumbnails


def thumbnail_key(sha256: str, size: int) -> str:
    """Return the object key of a thumbnail. Identical images share it: it is a content hash."""
    return f"{sha256}@{size}.webp"


def register_thumbnails(connection: Connection, thumbnails: Iterable[tuple[str, int]]) -> set[str]:
    """Record thumbnails (sha256, size) before they are put; return the keys not put before."""
    by_key = {thumbnail_key(sha256, size): (sha256, size) for sha256, size in thumbnails}
    keys = sorted(by_key)
    _run(
        connection,
        "register_thumbnails",
        sha256s=[by_key[key][0] for key in keys],
        sizes=[by_key[key][1] for key in keys],
        keys=keys,
    )
    return set(_run(connection, "find_not_put", keys=keys))


def mark_put(connection: Connection, keys: Sequence[str]) -> None:
    """Record that these thumbnails are in the bucket."""
    _run(connection, "mark_put", keys=list(keys))


def drop_sizes(connection: Connection, sizes: Sequence[int]) -> int:
    """Drop all other thumbnail sizes from the images; return the number of images changed."""
    statement = text(statements("images")["drop_sizes"])
    return connection.execute(statement, {"sizes": list(sizes)}).rowcount


def claim_unused(connection: Connection, *, limit: int) -> list[str]:
    """Mark thumbnails that no image uses as not put, up to `limit`; return their keys."""
    return _run(connection, "claim_unused", page=limit)


def drop_removed(connection: Connection, keys: Sequence[str]) -> None:
    """Delete the rows of thumbnails whose objects were removed."""
    _run(connection, "drop_removed", keys=list(keys))


def mark_missing(connection: Connection, bucket_keys: Iterator[str]) -> None:
    """Mark thumbnails whose keys are not in the bucket as not put."""
    existing = set(bucket_keys)
    put = connection.scalars(select(thumbnail.c.key).where(thumbnail.c.put_at.is_not(None)))
    _run(connection, "mark_missing", keys=[key for key in put if key not in existing])


# -- metadata


def write(connection: Connection, bucket: str, images: Sequence[IndexedImage]) -> None:
    """Write the metadata of these images of a bucket, and open or close their problems."""
    now = connection.execute(select(func.now())).scalar_one()
    statement = insert(image)
    changed = {
        column.name: statement.excluded[column.name]
        for column in image.columns
        if column.name not in ("bucket", "key")
    }
    connection.execute(
        statement.on_conflict_do_update(index_elements=["bucket", "key"], set_=changed),
        [{"bucket": bucket, **_row(one, now)} for one in images],
    )
    keys = [one.source.key for one in images]
    parameters = {"bucket": bucket, "codes": _CODES, "keys": keys}
    dropped = _run(connection, "drop_problems", **parameters)
    written = _run(connection, "write_problems", **parameters)
    _count_problems(connection, written, dropped)


def _row(indexed: IndexedImage, now: datetime) -> dict[str, object]:
    metadata = indexed.metadata
    note = f"{metadata.reason} {HINTS[metadata.state]}" if metadata.reason else None
    return {
        "key": indexed.source.key,
        "etag": indexed.source.etag,
        "state": metadata.state,
        "format": metadata.format,
        "mode": metadata.mode,
        "width": metadata.width,
        "height": metadata.height,
        "bytes": metadata.size_bytes,
        "sha256": metadata.sha256,
        "sizes": list(indexed.sizes),
        "note": note,
        "updated_at": now,
    }


def delete_removed(connection: Connection) -> int:
    """Delete the metadata of images that left the manifest; return their number."""
    return connection.execute(text(statements("images")["delete_removed"])).rowcount


def reopen_problems(connection: Connection) -> None:
    """Open the problems that a run could not copy because they were not committed yet."""
    written = _run(connection, "write_problems", bucket=None, codes=_CODES, keys=None)
    _count_problems(connection, written, ())


def _count_problems(connection: Connection, written: Iterable[int], dropped: Iterable[int]) -> None:
    """Update the problem counts of runs; each id stands for one problem written or dropped."""
    more = Counter(written)
    more.subtract(dropped)
    changed = {run_id: count for run_id, count in more.items() if count}
    if changed:
        _run(connection, "count_problems", run_ids=list(changed), more=list(changed.values()))


def _run(connection: Connection, name: str, **parameters: object) -> list[Any]:
    """Run a statement of images.sql; return the first column of its rows, if any."""
    result = connection.execute(text(statements("images")[name]), parameters)
    return list(result.scalars()) if result.returns_rows else []
