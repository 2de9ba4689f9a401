"""Numbers, times and small charts of pages."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.state.watch import FRESH_SECONDS, KEPT_SECONDS, Watch
from api.ui import charts, words
from etl.model.errors import ObjectStoreUnavailable

NOW = datetime(2026, 11, 27, 12, 26, 40, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),  # noqa: RUF001 - does not apply
        (0, "0 s"),
        (0.0004, "< 1 ms"),
        (0.003, "3 ms"),
        (0.21, "0.21 s"),
        (9.84, "9.84 s"),
        (31.2, "31.2 s"),
        (60, "1 min"),
        (9960, "2 h 46 min"),
    ],
)
def test_durations_have_units_that_fit(seconds: float | None, shown: str):
    assert words.duration(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (2_100_000, "2.1 MB"), (999_999, "1.0 MB")],
)
def test_sizes_have_units_that_fit(count: int, shown: str):
    assert words.size(count) == shown


@given(st.integers(0, 10**9), st.integers(1, 10**9))
def test_only_nothing_is_0_percent_and_only_all_is_100(part: int, whole: int):
    shown = int(words.percent(min(part, whole), whole).removesuffix(" %"))
    assert (shown == 0) == (part == 0)
    assert (shown == 100) == (part >= whole)


def test_a_time_has_its_date_only_if_it_is_not_today():
    assert words.clock(NOW - timedelta(minutes=2), NOW) == "12:24:40"
    assert words.clock(NOW - timedelta(days=1), NOW, seconds=False) == "2026-11-26 12:26"
    assert words.clock(datetime(2026, 11, 28, 1, tzinfo=UTC), NOW).startswith("2026-11-28")


@given(st.lists(st.integers(0, 10**9), max_size=48))
def test_every_change_has_a_bar_within_its_sparkline(values: list[int]):
    bars = charts.spark(values)
    assert len(bars) == sum(value > 0 for value in values)
    for bar in bars:
        assert bar.x >= 0
        assert bar.x + bar.width <= charts.SPARK_WIDTH + 0.01
        assert bar.height >= 1
        assert bar.y >= 0


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0.001, 1e6))
def test_a_bar_of_a_step_stays_in_its_track_and_is_visible(
    start: float, length: float, whole: float
):
    bar = charts.span(start, length, whole)
    assert bar.x >= 0
    assert bar.x + bar.width <= charts.BAR_WIDTH + 0.2
    assert bar.width >= 1.9


@given(st.floats(0.001, 1e6))
def test_ticks_are_round_and_reach_the_greatest(greatest: float):
    found = charts.ticks(greatest)
    assert found[0] == 0
    assert found[-1] >= greatest * 0.999
    assert found[-1] <= greatest * 2.6
    assert len(found) == 6


# -- checks of the store


def test_pages_do_not_wait_for_a_store_that_hangs():
    """Only the first waits; then the last check is shown while another one is made."""
    times = [0.0]
    answers: list[float | Exception] = [0.003]
    hangs = threading.Event()

    def check() -> float:
        if not answers:
            hangs.wait(10)
            raise ObjectStoreUnavailable("It hangs.")
        found = answers.pop()
        if isinstance(found, Exception):
            raise found
        return found

    checks = Watch(check, clock=lambda: times[0], wait_seconds=0.05)
    assert checks.last().seconds == 0.003
    times[0] += FRESH_SECONDS + 1
    assert checks.last().seconds == 0.003  # and a check begins, which hangs
    times[0] += KEPT_SECONDS
    late = checks.last()
    assert late.seconds is None
    assert "has not responded" in str(late.error)
    assert checks.last() is late  # without waiting again
    hangs.set()


def test_a_fresh_check_of_the_store_is_not_repeated():
    made = []
    checks = Watch(lambda: made.append(1) or 0.001, clock=lambda: 0.0)
    for _ in range(5):
        checks.last()
    assert len(made) == 1
