"""The tables `image` and `thumbnail`, and the problems of images.

Every function runs in its caller's transaction.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, func, select, text
from sqlalchemy.dialects.postgresql import insert

from etl.db import tallies
from etl.db.names import NotifyChannel
from etl.db.sql import statements
from etl.db.tables import image, thumbnail
from etl.model.values import IMAGE_PROBLEM_CODES, ImageState, SourceObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from etl.images.decode import ImageMetadata

CHANNEL = NotifyChannel.IMAGES_WAITING
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
    dropped = _problems(connection, "drop_problems", **parameters)
    written = _problems(connection, "write_problems", **parameters)
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
    written = _problems(connection, "write_problems", bucket=None, codes=_CODES, keys=None)
    _count_problems(connection, written, ())


def _problems(connection: Connection, name: str, **parameters: object) -> Sequence[Row[Any]]:
    """The run, bucket and key of each problem that the statement wrote or dropped."""
    return connection.execute(text(statements("images")[name]), parameters).all()


def _count_problems(
    connection: Connection, written: Sequence[Row[Any]], dropped: Sequence[Row[Any]]
) -> None:
    """Update the problem counts of runs, and the tallies of problems."""
    more = Counter(row.run_id for row in written)
    more.subtract(row.run_id for row in dropped)
    changed = {run_id: count for run_id, count in more.items() if count}
    if changed:
        _run(connection, "count_problems", run_ids=list(changed), more=list(changed.values()))
    by_bucket: dict[str, list[str]] = {}
    for row in (*written, *dropped):
        by_bucket.setdefault(row.bucket, []).append(row.key)
    for bucket, keys in by_bucket.items():
        tallies.count_problems(connection, bucket, keys)


def _run(connection: Connection, name: str, **parameters: object) -> list[Any]:
    """Run a statement of images.sql; return the first column of its rows, if any."""
    result = connection.execute(text(statements("images")[name]), parameters)
    return list(result.scalars()) if result.returns_rows else []
