"""How many requests are sent at once, by the time that the store takes to answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.storage.pace import FIRST, SMALL_BYTES, Pace

seconds = st.floats(0, 10)


def paced(answers: list[float], most: int = 256, size: int = 100) -> int:
    pace = Pace(most)
    for one in answers:
        pace.add(one, size)
    return pace.at_once


@pytest.mark.parametrize(
    ("round_trip", "at_once"), [(0.0005, 16), (0.002, 16), (0.01, 50), (0.03, 150), (0.1, 256)]
)
def test_more_requests_are_sent_at_once_the_farther_away_the_store_is(
    round_trip: float, at_once: int
):
    assert paced([round_trip * 3] * FIRST + [round_trip]) == at_once


def test_few_requests_are_sent_before_the_first_answers():
    assert paced([1.0] * (FIRST - 1)) == FIRST
    assert paced([1.0] * FIRST) == 256


def test_large_objects_say_nothing_about_the_distance():
    assert paced([1.0] * 100, size=SMALL_BYTES + 1) == FIRST


@given(st.lists(seconds), st.integers(1, 256))
def test_the_maximum_is_kept(answers: list[float], most: int):
    assert 1 <= paced(answers, most) <= most


@given(st.lists(seconds, min_size=FIRST))
def test_the_order_of_the_answers_does_not_matter(answers: list[float]):
    assert paced(answers) == paced(sorted(answers))
