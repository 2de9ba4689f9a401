"""A difference between the expected and the current state, and how two states are compared."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

from etl.verify.documents import JsonValue

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Difference:
    """One difference between the buckets and the tables, output files or thumbnails.

    `what` is a noun and one of missing, surplus, differs, doubled, unsorted, unreadable.
    `expected` and `found` are the values; for `differs`, only those of the differing columns.
    `dataset` is None for objects and thumbnails of none. `is_held` is set if the difference stays
    until retirements are allowed, or a foreign key no longer keeps the row.
    """

    what: str
    name: str
    expected: object
    found: object
    note: str
    dataset: str | None = None
    is_held: bool = False


@dataclass(frozen=True, slots=True)
class Sides:
    """How to report the differences between two mappings of the same shape.

    `noun` begins `what`, `where` is the place of the current state, and `thing` is what it has.
    `key`, `fields` and `dataset` return the name, columns and dataset of an entry.
    """

    noun: str
    thing: str
    where: str
    name: Callable[..., str]
    fields: Callable[..., dict[str, object]]
    dataset: Callable[..., str | None] = lambda _: None
    is_held: Callable[..., bool] = lambda *_: False


def compare_mappings(
    expected: Mapping[_Key, _Value], found: Mapping[_Key, _Value], sides: Sides
) -> list[Difference]:
    """Compare entries by key, in byte order of their names."""
    differing = {key for key, value in expected.items() if found.get(key) != value}
    differing.update(key for key in found if key not in expected)
    return [
        _difference(key, expected.get(key), found.get(key), sides)
        for key in sorted(differing, key=lambda key: sides.name(key).encode())
    ]


def _difference(
    key: _Key, wanted: _Value | None, current: _Value | None, sides: Sides
) -> Difference:
    left = None if wanted is None else sides.fields(wanted)
    right = None if current is None else sides.fields(current)
    if right is None:
        what, note = "missing", f"The bucket has {sides.thing}, but {sides.where} does not."
    elif left is None:
        what, note = "surplus", f"The bucket does not have {sides.thing}, but {sides.where} does."
    else:
        columns = [column for column in left if left[column] != right[column]]
        what, note = "differs", f"The bucket and {sides.where} disagree on {', '.join(columns)}."
        left = {column: left[column] for column in columns}
        right = {column: right[column] for column in columns}
    return Difference(
        f"{sides.noun}-{what}",
        sides.name(key),
        _shown_fields(left),
        _shown_fields(right),
        note,
        sides.dataset(current if wanted is None else wanted),
        sides.is_held(key, wanted, current),
    )


def compare_counts(expected: Counter[_Key], found: Counter[_Key], sides: Sides) -> list[Difference]:
    """Compare how often each item occurs."""
    return [
        *(
            Difference(
                f"{sides.noun}-missing",
                sides.name(item),
                item,
                None,
                f"The bucket has {sides.thing}, but the tables do not.",
                sides.dataset(item),
                sides.is_held(item),
            )
            for item in sorted((expected - found).elements(), key=sides.name)
        ),
        *(
            Difference(
                f"{sides.noun}-surplus",
                sides.name(item),
                None,
                item,
                f"The tables have {sides.thing}, but the bucket does not.",
                sides.dataset(item),
                sides.is_held(item),
            )
            for item in sorted((found - expected).elements(), key=sides.name)
        ),
    ]


def _shown_fields(values: Mapping[str, object] | None) -> dict[str, object] | None:
    return None if values is None else {name: _shown(value) for name, value in values.items()}


def _shown(value: object) -> object:
    """A value in a form that can be printed as JSON."""
    if isinstance(value, JsonValue):
        return value.text
    if isinstance(value, Decimal | time) or type(value) is date:
        return str(value)
    return value
