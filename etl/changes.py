"""Merge the sorted listing with the sorted manifest into changes, in constant memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.errors import ListingOutOfOrder
from etl.model import Change, ChangeKind, SourceObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def changes(
    listing: Iterable[SourceObject], manifest: Iterable[SourceObject]
) -> Iterator[Change | None]:
    """Each difference between the two streams, in key order; None for an object in step.

    An object is in step when ETag, size and last_modified are all the same. Times are
    compared for equality only: one uploaded again under the same bytes may win a user now.

    Raises:  ListingOutOfOrder when a stream's keys do not rise in UTF-8 byte order.
    """
    listed, known = iter(in_order(listing)), iter(in_order(manifest))
    left, right = next(listed, None), next(known, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left.key < right.key):
            assert left is not None  # noqa: S101 - the loop's condition says so
            yield Change(ChangeKind.ADDED, left)
            left = next(listed, None)
        elif left is None or left.key > right.key:
            yield Change(ChangeKind.REMOVED, right)
            right = next(known, None)
        else:
            yield None if left == right else Change(ChangeKind.MODIFIED, left)
            left, right = next(listed, None), next(known, None)


def in_order(objects: Iterable[SourceObject]) -> Iterator[SourceObject]:
    """Pass objects through, as long as each key is greater than the one before.

    Comparing by code point, as Python does, is comparing by UTF-8 byte.
    """
    previous: str | None = None
    for source in objects:
        if previous is not None and source.key <= previous:
            raise ListingOutOfOrder(
                f"The store listed {source.key!r} after {previous!r}.", key=source.key
            )
        previous = source.key
        yield source
