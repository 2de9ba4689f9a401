"""The merge of listing and manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model.errors import ListingOutOfOrder
from etl.model.values import Change, ChangeKind, SourceObject
from etl.sync.diff import changes, changes_by_page

if TYPE_CHECKING:
    from etl.model.values import ListingEntry

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


def as_row(source: SourceObject) -> ListingEntry:
    return source.key, source.etag, source.size, source.last_modified


def cut_into_pages(objects: list[SourceObject], data: st.DataObject) -> list[list[ListingEntry]]:
    """The objects split anywhere, including empty pages."""
    cuts = data.draw(st.lists(st.integers(0, len(objects)), max_size=6).map(sorted))
    rows = [as_row(source) for source in objects]
    return [rows[start:end] for start, end in pairwise([0, *cuts, len(rows)])]


# The same objects on both sides except a few, as in a run that finds few changes.
NEARLY_ALIKE = st.builds(
    lambda both, *few: tuple(
        by_bytes(list({source.key: source for source in [*both, *own]}.values())) for own in few
    ),
    st.lists(st.integers(0, 999), max_size=60, unique=True).map(
        lambda numbers: [an_object(f"{number:03}") for number in numbers]
    ),
    *[
        st.dictionaries(st.integers(0, 999), st.sampled_from("ab"), max_size=4).map(
            lambda found: [an_object(f"{number:03}", etag) for number, etag in found.items()]
        )
    ]
    * 2,
)


@given(st.one_of(st.tuples(OBJECTS, OBJECTS), NEARLY_ALIKE), st.data())
def test_pages_give_the_same_changes_wherever_they_are_cut(
    sides: tuple[list[SourceObject], list[SourceObject]], data: st.DataObject
):
    expected = list(changes(*sides))
    found = list(changes_by_page(*(cut_into_pages(side, data) for side in sides)))
    flat = [item for one in found for item in ([None] * one if isinstance(one, int) else [one])]
    assert flat == expected


@given(OBJECTS, st.data())
def test_pages_out_of_order_are_refused_like_single_objects(
    objects: list[SourceObject], data: st.DataObject
):
    shuffled = data.draw(st.permutations([*objects, *objects[:1]]))
    empty: list[list[ListingEntry]] = []
    pages = cut_into_pages(shuffled, data)

    def refusal(make: Callable[[], Iterable[object]]) -> str | None:
        try:
            list(make())
        except ListingOutOfOrder as error:
            return error.message
        return None

    expected = refusal(lambda: changes(shuffled, []))
    assert refusal(lambda: changes_by_page(pages, empty)) == expected
    assert refusal(lambda: changes_by_page(empty, pages)) == expected


def test_reuploaded_identical_bytes_count_as_a_change():
    again = an_object("1.csv", seconds=5)
    assert list(changes([again], [an_object("1.csv")])) == [Change(ChangeKind.MODIFIED, again)]


@pytest.mark.parametrize("keys", [("b", "a"), ("a", "a"), ("é", "z")])
def test_a_listing_out_of_byte_order_is_refused_by_name(keys: tuple[str, str]):
    with pytest.raises(ListingOutOfOrder, match=repr(keys[1])):
        list(changes([an_object(key) for key in keys], []))


def test_streams_are_pulled_one_page_at_a_time():
    """Memory does not grow with the bucket: the streams are pulled one page at a time."""
    pulled = []

    def endless() -> Iterator[list[ListingEntry]]:
        for number in range(10**9):
            pulled.append(number)
            yield [as_row(an_object(f"{number:012}"))]

    found = changes_by_page(endless(), endless())
    assert [next(found) for _ in range(3)] == [1] * 3
    assert len(pulled) <= 2 * 4
