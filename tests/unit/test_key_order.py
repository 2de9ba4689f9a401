"""Rows arrive in key order if each key is greater than the one before, across all batches."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model.dataset import USERS, Dataset, Field, FieldType
from etl.sync.copy_text import staged_rows
from etl.sync.key_order import KeyOrders, KeyRange

TEXTS = st.text(st.sampled_from("aAé\U0001f600￿0"), max_size=3)
KEYS = st.lists(st.tuples(TEXTS, st.integers(-2, 2)), max_size=8)
PARTS = Dataset(
    name="parts",
    table="parts",
    include=("**",),
    primary_key=("part", "number"),
    fields=(Field(name="part"), Field(name="number", type=FieldType.INTEGER)),
)


def table(keys: list[tuple[str, int]]) -> pa.Table:
    parts, numbers = ([key[place] for key in keys] for place in (0, 1))
    return pa.table({"part": pa.array(parts, pa.string()), "number": pa.array(numbers, pa.int64())})


def order_of(*batches: list[tuple[str, int]]) -> bool:
    orders = KeyOrders()
    for keys in batches:
        if keys:
            orders.add("parts", staged_rows(table(keys), PARTS).keys)
    return orders.is_ascending("parts")


@given(st.lists(st.one_of(KEYS, KEYS.map(lambda keys: sorted(set(keys)))), max_size=3))
def test_order_is_that_of_all_keys_one_after_the_other(batches: list[list[tuple[str, int]]]):
    """PostgreSQL compares the bytes of UTF-8, as this does."""
    keys = [(part.encode(), number) for batch in batches for part, number in batch]
    assert order_of(*batches) == (keys == sorted(set(keys)))


@given(KEYS, st.integers(0, 8))
def test_order_does_not_depend_on_where_batches_end(keys: list[tuple[str, int]], cut: int):
    assert order_of(keys) == order_of(keys[:cut], keys[cut:])


def test_rows_once_out_of_order_stay_so():
    assert not order_of([("b", 1)], [("a", 1)], [("c", 1)])


@pytest.mark.parametrize(
    ("first", "last"),
    [(date(2020, 1, 1), date(2020, 1, 2)), (Decimal("-1.50"), Decimal("1.25")), (False, True)],
    ids=lambda one: type(one).__name__,
)
def test_keys_of_any_type_are_compared(first: object, last: object):
    keyed = replace(PARTS, primary_key=("part",))
    ascending, descending = pa.table({"part": [first, last]}), pa.table({"part": [last, first]})
    assert staged_rows(ascending, keyed).keys == KeyRange((first,), (last,))
    assert staged_rows(descending, keyed).keys is None


def test_missing_keys_are_in_no_order():
    keyless = replace(PARTS, primary_key=())
    rows = pa.table({"_source_key": ["a", "a"], "_source_line": pa.array([2, None], pa.int64())})
    assert staged_rows(rows, keyless).keys is None


def test_order_of_one_dataset_is_not_that_of_another():
    orders = KeyOrders()
    orders.add("parts", staged_rows(table([("b", 1), ("a", 1)]), PARTS).keys)
    assert orders.is_ascending(USERS.name)
    assert not orders.is_ascending("parts")
