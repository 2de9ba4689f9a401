"""Group commit: many callers, one transaction at a time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from api.state import intake as taking
from api.state.intake import Intake
from etl.db.events import BucketEvent
from etl.model.errors import DatabaseUnavailable
from tests.conftest import wait_until


def told(number: int) -> list[BucketEvent]:
    return [cast("BucketEvent", number)]


def test_requests_during_a_commit_share_the_next_one():
    begun, go_on = threading.Event(), threading.Event()
    kept: list[list[BucketEvent]] = []

    def keep(events: Sequence[BucketEvent]) -> None:
        kept.append(list(events))
        begun.set()
        assert go_on.wait(30)

    intake = Intake(keep)
    with ThreadPoolExecutor(9) as pool:
        pool.submit(intake.add, told(0))
        assert begun.wait(30)
        others = [pool.submit(intake.add, told(number)) for number in range(1, 9)]
        wait_until(lambda: len(intake._came) == 8)  # noqa: SLF001 - nothing tells from outside
        assert not any(other.done() for other in others)
        go_on.set()
        for other in others:
            other.result(30)
    assert [len(batch) for batch in kept] == [1, 8]
    assert sorted(kept[1]) == list(range(1, 9))


def test_failed_commit_fails_each_of_its_requests():
    def keep(_events: Sequence[BucketEvent]) -> None:
        raise DatabaseUnavailable("PostgreSQL is away.")

    intake = Intake(keep)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(intake.add, told(number)) for number in range(20)]
        assert all(isinstance(one.exception(30), DatabaseUnavailable) for one in asked)


def test_after_a_failure_the_next_is_stored():
    kept: list[Sequence[BucketEvent]] = []

    def keep(events: Sequence[BucketEvent]) -> None:
        kept.append(events)
        if len(kept) == 1:
            raise DatabaseUnavailable("PostgreSQL is away.")

    intake = Intake(keep)
    with pytest.raises(DatabaseUnavailable):
        intake.add(told(1))
    intake.add(told(2))
    assert kept == [told(1), told(2)]


def test_unstorable_event_fails_only_its_own_request():
    begun, go_on = threading.Event(), threading.Event()
    kept: list[int] = []

    def keep(events: Sequence[BucketEvent]) -> None:
        begun.set()
        assert go_on.wait(30)
        for number in cast("list[int]", events):
            if number % 4 == 3:
                raise ValueError(number)
        kept.extend(cast("list[int]", events))

    intake = Intake(keep)
    with ThreadPoolExecutor(9) as pool:
        asked = [pool.submit(intake.add, told(0))]
        assert begun.wait(30)
        asked += [pool.submit(intake.add, told(number)) for number in range(1, 9)]
        wait_until(lambda: len(intake._came) == 8)  # noqa: SLF001
        go_on.set()
        failed = [number for number, one in enumerate(asked) if one.exception(30)]
    assert failed == [3, 7]
    assert sorted(kept) == [0, 1, 2, 4, 5, 6, 8]


def test_outage_raises_a_separate_error_for_each_request():
    begun, go_on = threading.Event(), threading.Event()
    tries: list[int] = []

    def keep(events: Sequence[BucketEvent]) -> None:
        tries.append(len(events))
        begun.set()
        assert go_on.wait(30)
        raise DatabaseUnavailable("PostgreSQL is away.", hint="Wait.", reason="gone")

    intake = Intake(keep)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(intake.add, told(0))
        assert begun.wait(30)
        others = [pool.submit(intake.add, told(number)) for number in range(1, 9)]
        wait_until(lambda: len(intake._came) == 8)  # noqa: SLF001
        go_on.set()
        errors = [one.exception(30) for one in [first, *others]]
    assert tries == [1, 8]
    assert len({id(error) for error in errors}) == 9
    for error in errors:
        assert isinstance(error, DatabaseUnavailable)
        assert (error.message, error.hint, error.facts) == (
            "PostgreSQL is away.",
            "Wait.",
            {"reason": "gone"},
        )


def test_a_database_that_hangs_takes_no_more_than_its_places(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(taking, "PATIENCE_SECONDS", 0.01)
    go_on = threading.Event()
    intake = Intake(lambda _events: go_on.wait(30))
    with ThreadPoolExecutor(taking.MOST_AT_ONCE) as pool:
        for number in range(taking.MOST_AT_ONCE):
            pool.submit(intake.add, told(number))
        wait_until(lambda: intake._places._value == 0)  # noqa: SLF001
        with pytest.raises(DatabaseUnavailable):
            intake.add(told(99))
        go_on.set()
