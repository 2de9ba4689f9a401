"""The tables `image`, `thumbnail` and the images' problems: what waits, what is known.

Every function is part of its caller's transaction.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, text
from sqlalchemy.dialects.postgresql import array, insert

from etl.db.sql import statements
from etl.db.tables import image, source_object, thumbnail
from etl.model.values import IMAGE_PROBLEM_CODES, ImageState, SourceObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from etl.images.decode import ImageMetadata
    from etl.settings import Settings

CHANNEL = "images_waiting"  # as `tell_of_images` of manifest.sql notifies it
PAGE = 1_000
REMEDIES = {
    ImageState.CORRUPT: "Upload the picture again.",
    ImageState.TOO_LARGE: "Upload a smaller one, or raise the limit and `./run.sh images --again`.",
    ImageState.UNSUPPORTED: "Save the picture as JPEG, PNG, WebP or GIF and upload that.",
}
_CODES = [code.value for code in IMAGE_PROBLEM_CODES.values()]


@dataclass(frozen=True, slots=True)
class Seen:
    """An image of the manifest, and what looking at it showed."""

    source: SourceObject
    facts: ImageMetadata
    sizes: tuple[int, ...]


# -- what waits


def count_waiting(connection: Connection, settings: Settings) -> int:
    """How many images are yet to be looked at."""
    asked = _waiting(settings, again=False).with_only_columns(func.count())
    return connection.scalar(asked) or 0


def waiting(
    connection: Connection, settings: Settings, after: str, *, again: bool
) -> list[SourceObject]:
    """The next images that are new, changed, or lack a thumbnail; `again`: the faulty ones too."""
    rows = connection.execute(
        _waiting(settings, again=again)
        .where(source_object.c.key > after)
        .order_by(source_object.c.key)
        .limit(PAGE)
    )
    return [SourceObject(*row) for row in rows]


def _waiting(settings: Settings, *, again: bool) -> Select[Any]:
    columns = ("key", "etag", "size", "last_modified")
    return (
        select(*(source_object.c[name] for name in columns))
        .join(image, image.c.key == source_object.c.key, isouter=True)
        .where(
            source_object.c.bucket == settings.source_bucket,
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
    """Of an image that is ready: a size was never made, or one is not known to be there."""
    sizes = settings.thumbnail_sizes
    unput = select(thumbnail.c.sha256).where(
        thumbnail.c.put_at.is_(None), thumbnail.c.size.in_(sizes)
    )
    return or_(~image.c.sizes.contains(array(sizes)), image.c.sha256.in_(unput))


# -- thumbnails


def thumbnail_key(sha256: str, size: int) -> str:
    """Where a thumbnail is kept: named by the picture's content, so equal pictures share one."""
    return f"{sha256}@{size}.webp"


def intend(connection: Connection, wanted: Iterable[tuple[str, int]]) -> set[str]:
    """Write down that these thumbnails (sha256, size) will be put; the keys not put before."""
    named = {thumbnail_key(sha256, size): (sha256, size) for sha256, size in wanted}
    keys = sorted(named)
    _run(
        connection,
        "intend_thumbnails",
        sha256s=[named[key][0] for key in keys],
        sizes=[named[key][1] for key in keys],
        keys=keys,
    )
    return set(_run(connection, "find_unput", keys=keys))


def note_put(connection: Connection, keys: Sequence[str]) -> None:
    """Write down that these thumbnails are in the bucket."""
    _run(connection, "note_put", keys=list(keys))


def drop_sizes(connection: Connection, sizes: Sequence[int]) -> int:
    """Leave to the images the thumbnails of these sizes alone; how many had others."""
    statement = text(statements("images")["drop_sizes"])
    return connection.execute(statement, {"sizes": list(sizes)}).rowcount


def claim_unused(connection: Connection) -> list[str]:
    """Thumbnails that no image uses, a page of them; from now on they count as not put."""
    return _run(connection, "claim_unused", page=PAGE)


def drop_removed(connection: Connection, keys: Sequence[str]) -> None:
    """Forget thumbnails whose objects are gone."""
    _run(connection, "drop_removed", keys=list(keys))


def lose(connection: Connection, there: Iterator[str]) -> int:
    """Note the thumbnails that were put and are not among those `there`; how many."""
    found = set(there)
    put = connection.scalars(select(thumbnail.c.key).where(thumbnail.c.put_at.is_not(None)))
    lost = [key for key in put if key not in found]
    _run(connection, "lose_thumbnail", keys=lost)
    return len(lost)


# -- facts


def write(connection: Connection, seen: Sequence[Seen], settings: Settings) -> None:
    """Keep what was seen of these images, and open or close their problems."""
    now = connection.execute(select(func.now())).scalar_one()
    statement = insert(image)
    changed = {
        column.name: statement.excluded[column.name]
        for column in image.columns
        if column.name != "key"
    }
    connection.execute(
        statement.on_conflict_do_update(index_elements=["key"], set_=changed),
        [_row(one, now) for one in seen],
    )
    keys = [one.source.key for one in seen]
    named = {"bucket": settings.source_bucket, "codes": _CODES, "keys": keys}
    dropped = _run(connection, "drop_problems", **named)
    written = _run(connection, "write_problems", **named)
    _count_problems(connection, written, dropped)


def _row(seen: Seen, now: datetime) -> dict[str, object]:
    facts = seen.facts
    note = f"{facts.reason} {REMEDIES[facts.state]}" if facts.reason else None
    return {
        "key": seen.source.key,
        "etag": seen.source.etag,
        "state": facts.state,
        "format": facts.format,
        "mode": facts.mode,
        "width": facts.width,
        "height": facts.height,
        "bytes": facts.size_bytes,
        "sha256": facts.sha256,
        "sizes": list(seen.sizes),
        "note": note,
        "updated_at": now,
    }


def forget(connection: Connection, bucket: str) -> int:
    """Drop the facts about images that are gone; how many there were."""
    return connection.execute(
        text(statements("images")["forget_images"]), {"bucket": bucket}
    ).rowcount


def carry_problems(connection: Connection, bucket: str) -> None:
    """Open the problems that a run which brought the same bytes again could not see yet."""
    written = _run(connection, "write_problems", bucket=bucket, codes=_CODES, keys=None)
    _count_problems(connection, written, ())


def _count_problems(connection: Connection, written: Iterable[int], dropped: Iterable[int]) -> None:
    """Change the problem counts of runs, named once for each problem written or dropped."""
    more = Counter(written)
    more.subtract(dropped)
    changed = {run_id: count for run_id, count in more.items() if count}
    if changed:
        _run(connection, "count_problems", run_ids=list(changed), more=list(changed.values()))


def _run(connection: Connection, name: str, **parameters: object) -> list[Any]:
    """Run one statement of images.sql; its first column, where it gives rows."""
    result = connection.execute(text(statements("images")[name]), parameters)
    return list(result.scalars()) if result.returns_rows else []
