"""The adaptive limit of requests: within its bounds, halved once per burst, and recovering."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from etl.storage.limit import Limit

answers = st.integers(1, 256)


@given(answers, st.lists(st.tuples(st.booleans(), st.integers(0, 3))))
def test_the_limit_stays_within_its_bounds(most: int, outcomes: list[tuple[bool, int]]):
    limit = Limit(most)
    for is_answer, age in outcomes:
        before = limit.current
        if is_answer:
            limit.add_success()
            assert before <= limit.current <= before + 1
        else:
            limit.add_overload(limit.halvings - age)
            assert limit.current in (before, max(1, before // 2))
        assert 1 <= limit.current <= most


@given(answers, st.integers(0, 12))
def test_the_limit_recovers(most: int, refusals: int):
    limit = Limit(most)
    for _ in range(refusals):
        limit.add_overload(limit.halvings)
    for _ in range(most * (most + 1) // 2):
        limit.add_success()
    assert limit.current == most


@given(answers, st.integers(1, 300))
def test_a_burst_of_refusals_halves_the_limit_once(most: int, burst: int):
    limit = Limit(most)
    begun = limit.halvings
    assert [limit.add_overload(begun) for _ in range(burst)] == [True, *[False] * (burst - 1)]
    assert limit.current == max(1, most // 2)


def test_the_limit_rises_by_one_for_a_round_of_answers():
    limit = Limit(128)
    limit.add_overload(0)
    found = [(limit.add_success(), limit.current)[1] for _ in range(64 + 65)]
    assert found == [64] * 63 + [65] * 65 + [66]
