"""The order of a listing: keys rise in UTF-8 byte order."""

from __future__ import annotations

from enum import Enum
from itertools import pairwise
from operator import lt
from typing import TYPE_CHECKING

from etl.model.errors import ListingOutOfOrder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from etl.model.values import ListingEntry, SourceObject


class ListingOrder(Enum):
    """How a store compares keys; listings of buckets whose keys show the difference are refused."""

    BYTES = "/"
    FOLDERS = "\0"  # a folder is in the place of its name, as if a slash were the least character

    def place(self, key: str) -> str:
        """What to compare in place of the key."""
        return key if self is ListingOrder.BYTES else key.replace("/", self.value)


def in_order(objects: Iterable[SourceObject]) -> Iterator[SourceObject]:
    """Yield the objects, and check that each key is greater than the one before.

    Python compares by code point, which is the order of the UTF-8 bytes.
    """
    previous: str | None = None
    for source in objects:
        if previous is not None and source.key <= previous:
            raise _out_of_order(source.key, previous)
        previous = source.key
        yield source


def are_rising(keys: list[str]) -> bool:
    """Whether each key is greater than the one before."""
    return all(map(lt, keys, keys[1:]))


def keys_of(page: list[ListingEntry], last: str | None) -> list[str]:
    """The last key of the page before, if any, and the keys of this page."""
    keys = [row[0] for row in page]
    return keys if last is None else [last, *keys]


def check_order(page: list[ListingEntry], last: str | None) -> None:
    """Check that the keys rise, also from the last key of the page before.

    Raises:  ListingOutOfOrder.
    """
    keys = keys_of(page, last)
    if not are_rising(keys):
        previous, key = next((one, other) for one, other in pairwise(keys) if one >= other)
        raise _out_of_order(key, previous)


def _out_of_order(key: str, previous: str) -> ListingOutOfOrder:
    return ListingOutOfOrder(f"The store listed {key!r} after {previous!r}.", key=key)
