"""Reading ahead of the caller: in order, complete, and within its limit."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.runtime.pools import flat_map_ahead, map_ahead, map_in_threads


@given(st.lists(st.integers(0, 4)), st.integers(1, 3))
def test_results_come_in_the_order_of_their_items(counts: list[int], ahead: int):
    def work(item: tuple[int, int]) -> Iterator[tuple[int, int]]:
        place, count = item
        return ((place, number) for number in range(count))

    found = list(flat_map_ahead(work, enumerate(counts), ahead))
    assert found == [(place, n) for place, count in enumerate(counts) for n in range(count)]


def test_an_item_of_many_results_is_worked_on_one_result_ahead():
    begun: list[int] = []

    def work(count: int) -> Iterator[int]:
        for number in range(count):
            begun.append(number)
            yield number

    for number in flat_map_ahead(work, [1_000], 1):
        assert len(begun) <= number + 2


def test_items_are_taken_no_further_ahead_than_the_limit():
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    for number in map_ahead(lambda item: item, items(), 2):
        assert len(taken) <= number + 3


def test_failure_is_raised_in_item_order():
    def work(item: int) -> Iterator[int]:
        yield item
        if item == 2:
            raise LookupError

    results = flat_map_ahead(work, range(5), 1)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(LookupError):
        next(results)


@given(st.lists(st.integers()), st.integers(1, 4))
def test_threads_give_every_result_in_the_order_of_the_items(items: list[int], threads: int):
    assert map_in_threads(lambda item: item + 1, items, threads) == [item + 1 for item in items]


def test_more_threads_begin_once_more_are_wanted():
    """All of eight items wait for each other, although the work begins with two threads."""
    together, wanted = threading.Barrier(8), iter([2, 2])

    def work(item: int) -> int:
        if item >= 2:
            together.wait(timeout=30)
        return item

    def threads() -> int:
        return next(wanted, 8)

    assert map_in_threads(work, range(10), threads) == list(range(10))


def test_threads_begin_nothing_more_after_a_failure():
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        if item == 1:
            raise LookupError
        return item

    with pytest.raises(LookupError):
        map_in_threads(work, range(1_000), 1)
    assert begun == [0, 1]
