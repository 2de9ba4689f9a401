"""Step timings of a run: each second is counted once, in its step."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from etl.sync import stats
from etl.sync.stats import Profile


class Clock:
    """A clock that moves only when a test moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stats, "time", clock)
    return clock


def test_step_time_is_the_sum_of_its_blocks(clock: Clock):
    profile = Profile()
    for seconds in (1, 2):
        with profile.step("stage"):
            clock.now += seconds
    assert profile.seconds == {"stage": 3}


def test_a_step_within_another_is_not_counted_in_both(clock: Clock):
    profile = Profile()
    with profile.step("read"):
        clock.now += 1
        with profile.step("list"):
            clock.now += 10
            with profile.step("wait"):
                clock.now += 100
        clock.now += 2
    assert profile.seconds == {"read": 3, "list": 10, "wait": 100}


def test_time_to_get_items_counts_for_their_step(clock: Clock):
    def items() -> Iterator[int]:
        for number in range(3):
            clock.now += 1
            yield number

    profile = Profile()
    with profile.step("read"):
        assert list(profile.each("list", items())) == [0, 1, 2]
        clock.now += 5
    assert profile.seconds == {"list": 3, "read": 5}


def test_step_of_another_thread_is_not_subtracted(clock: Clock):
    profile = Profile()

    def listing() -> None:
        with profile.step("list"):
            clock.now += 10

    with profile.step("stage"):
        thread = threading.Thread(target=listing)
        thread.start()
        thread.join()
    assert profile.seconds == {"list": 10, "stage": 10}


def test_a_step_that_fails_is_counted_too(clock: Clock):
    def fail() -> None:
        with profile.step("merge"):
            clock.now += 1
            raise ZeroDivisionError

    profile = Profile()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert profile.seconds == {"merge": 1}
