"""Merge the sorted listing with the sorted manifest into changes, in constant memory."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import itemgetter
from typing import TYPE_CHECKING

from etl.model.values import Change, ChangeKind, SourceObject
from etl.storage.order import check_order, in_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from etl.model.values import ListingEntry

FEW = 4  # up to this, objects are compared one by one

_key = itemgetter(0)


def changes(
    listing: Iterable[SourceObject], manifest: Iterable[SourceObject]
) -> Iterator[Change | None]:
    """Each difference between the two streams, in key order; None for an unchanged object.

    An object is unchanged when ETag, size and last_modified are equal. An object uploaded again
    with the same bytes is modified, because its new time may decide which row of a user wins.

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


def changes_by_page(
    listing: Iterable[list[ListingEntry]], manifest: Iterable[list[ListingEntry]]
) -> Iterator[Change | int]:
    """As `changes`, for streams of pages of any size.

    A number of unchanged objects replaces the None of each. Equal ranges of both sides are
    compared at once, and only differing rows become objects.

    Raises:  ListingOutOfOrder when a stream's keys do not rise in UTF-8 byte order.
    """
    left, right = _Side(listing), _Side(manifest)
    while True:
        ends = [side.rows[-1][0] for side in (left, right) if side.fill()]
        if not ends:
            return
        through = min(ends)
        yield from _compare(left.take(through), right.take(through))


class _Side:
    """One of the two streams: the rows of its page that are not compared yet."""

    def __init__(self, pages: Iterable[list[ListingEntry]]) -> None:
        self._pages = iter(pages)
        self._last: str | None = None
        self.rows: list[ListingEntry] = []

    def fill(self) -> bool:
        """Get the next page if all rows are taken; False at the end."""
        while not self.rows:
            page = next(self._pages, None)
            if page is None:
                return False
            if page:
                check_order(page, self._last)
                self._last = page[-1][0]
                self.rows = page
        return True

    def take(self, through: str) -> list[ListingEntry]:
        """The rows up to and including this key."""
        end = bisect_right(self.rows, through, key=_key)
        taken, self.rows = self.rows[:end], self.rows[end:]
        return taken


def _compare(listed: list[ListingEntry], known: list[ListingEntry]) -> Iterator[Change | int]:
    """The changes in one key range of both sides, found by halving it."""
    if listed == known:
        if listed:
            yield len(listed)
    elif not known:
        for row in listed:
            yield Change(ChangeKind.ADDED, SourceObject(*row))
    elif max(len(listed), len(known)) <= FEW:
        sides = ((SourceObject(*row) for row in rows) for rows in (listed, known))
        yield from (1 if change is None else change for change in changes(*sides))
    else:
        longer = max(listed, known, key=len)
        middle = longer[len(longer) // 2][0]
        ends = [bisect_left(rows, middle, key=_key) for rows in (listed, known)]
        yield from _compare(listed[: ends[0]], known[: ends[1]])
        yield from _compare(listed[ends[0] :], known[ends[1] :])
