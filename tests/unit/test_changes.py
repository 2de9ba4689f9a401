"""The merge of listing and manifest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.changes import changes
from etl.errors import ListingOutOfOrder
from etl.model import Change, ChangeKind, SourceObject

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def an_object(key: str, etag: str = "e", seconds: int = 0) -> SourceObject:
    return SourceObject(key, etag, 1, NOON + timedelta(seconds=seconds))


def by_bytes(objects: list[SourceObject]) -> list[SourceObject]:
    return sorted(objects, key=lambda source: source.key.encode())


OBJECTS = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    st.tuples(st.sampled_from("ab"), st.integers(0, 1)),
    max_size=12,
).map(lambda found: by_bytes([an_object(key, *facts) for key, facts in found.items()]))


@given(OBJECTS, OBJECTS)
def test_changes_are_the_difference_of_the_two_sides(
    listing: list[SourceObject], manifest: list[SourceObject]
):
    now, before = ({source.key: source for source in side} for side in (listing, manifest))
    expected = [
        *(Change(ChangeKind.ADDED, now[key]) for key in now.keys() - before.keys()),
        *(Change(ChangeKind.REMOVED, before[key]) for key in before.keys() - now.keys()),
        *(
            Change(ChangeKind.MODIFIED, now[key])
            for key in now.keys() & before.keys()
            if now[key] != before[key]
        ),
    ]
    found = list(changes(listing, manifest))
    real = [change for change in found if change is not None]
    assert real == sorted(expected, key=lambda change: change.source.key.encode())
    assert found.count(None) == len([key for key in now if before.get(key) == now[key]])


def test_the_same_bytes_uploaded_again_are_a_change_because_the_newest_wins():
    again = an_object("1.csv", seconds=5)
    assert list(changes([again], [an_object("1.csv")])) == [Change(ChangeKind.MODIFIED, again)]


@pytest.mark.parametrize("keys", [("b", "a"), ("a", "a"), ("é", "z")])
def test_a_listing_out_of_byte_order_is_refused_by_name(keys: tuple[str, str]):
    with pytest.raises(ListingOutOfOrder, match=repr(keys[1])):
        list(changes([an_object(key) for key in keys], []))


def test_nothing_is_read_further_than_it_must_be():
    """Memory does not grow with the bucket: the streams are pulled one object at a time."""
    pulled = []

    def endless() -> Iterator[SourceObject]:
        for number in range(10**9):
            pulled.append(number)
            yield an_object(f"{number:012}")

    found = changes(endless(), [])
    assert [next(found).source.key for _ in range(3)] == [f"{n:012}" for n in range(3)]
    assert len(pulled) <= 5
