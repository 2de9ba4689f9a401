"""Group commit: many callers, one transaction at a time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from api.state.group_commit import MAX_WAITING, GroupCommit
from etl.db.events import BucketEvent
from etl.model.errors import DatabaseUnavailable
from tests.conftest import wait_until


def one_event(number: int) -> list[BucketEvent]:
    return [cast("BucketEvent", number)]


def test_requests_during_a_commit_share_the_next_one():
    begun, go_on = threading.Event(), threading.Event()
    stored: list[list[BucketEvent]] = []

    def store(events: Sequence[BucketEvent]) -> None:
        stored.append(list(events))
        begun.set()
        assert go_on.wait(30)

    commits = GroupCommit(store)
    with ThreadPoolExecutor(9) as pool:
        pool.submit(commits.add, one_event(0))
        assert begun.wait(30)
        others = [pool.submit(commits.add, one_event(number)) for number in range(1, 9)]
        wait_until(lambda: commits.count_waiting() == 8)
        assert not any(other.done() for other in others)
        go_on.set()
        for other in others:
            other.result(30)
    assert [len(batch) for batch in stored] == [1, 8]
    assert sorted(stored[1]) == list(range(1, 9))


def test_a_failed_commit_fails_every_caller():
    def store(_events: Sequence[BucketEvent]) -> None:
        raise DatabaseUnavailable("PostgreSQL is down.")

    commits = GroupCommit(store)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(commits.add, one_event(number)) for number in range(20)]
        assert all(isinstance(one.exception(30), DatabaseUnavailable) for one in asked)


def test_events_after_a_failed_commit_are_stored():
    stored: list[Sequence[BucketEvent]] = []

    def store(events: Sequence[BucketEvent]) -> None:
        stored.append(events)
        if len(stored) == 1:
            raise DatabaseUnavailable("PostgreSQL is down.")

    commits = GroupCommit(store)
    with pytest.raises(DatabaseUnavailable):
        commits.add(one_event(1))
    commits.add(one_event(2))
    assert stored == [one_event(1), one_event(2)]


def test_events_that_cannot_be_stored_fail_only_their_own_caller():
    begun, go_on = threading.Event(), threading.Event()
    stored: list[int] = []

    def store(events: Sequence[BucketEvent]) -> None:
        begun.set()
        assert go_on.wait(30)
        for number in cast("list[int]", events):
            if number % 4 == 3:
                raise ValueError(number)
        stored.extend(cast("list[int]", events))

    commits = GroupCommit(store)
    with ThreadPoolExecutor(9) as pool:
        asked = [pool.submit(commits.add, one_event(0))]
        assert begun.wait(30)
        asked += [pool.submit(commits.add, one_event(number)) for number in range(1, 9)]
        wait_until(lambda: commits.count_waiting() == 8)
        go_on.set()
        failed = [number for number, one in enumerate(asked) if one.exception(30)]
    assert failed == [3, 7]
    assert sorted(stored) == [0, 1, 2, 4, 5, 6, 8]


def test_an_outage_fails_waiting_callers_at_once_each_with_its_own_error():
    begun, go_on = threading.Event(), threading.Event()
    tries: list[int] = []

    def store(events: Sequence[BucketEvent]) -> None:
        tries.append(len(events))
        begun.set()
        assert go_on.wait(30)
        raise DatabaseUnavailable("PostgreSQL is down.", hint="Wait.", reason="gone")

    commits = GroupCommit(store)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(commits.add, one_event(0))
        assert begun.wait(30)
        others = [pool.submit(commits.add, one_event(number)) for number in range(1, 9)]
        wait_until(lambda: commits.count_waiting() == 8)
        go_on.set()
        errors = [one.exception(30) for one in [first, *others]]
    assert tries == [1]
    assert len({id(error) for error in errors}) == 9
    for error in errors:
        assert isinstance(error, DatabaseUnavailable)
        assert (error.message, error.hint, error.facts) == (
            "PostgreSQL is down.",
            "Wait.",
            {"reason": "gone"},
        )


def test_a_database_that_hangs_takes_no_more_than_its_slots():
    begun, go_on = threading.Event(), threading.Event()

    def store(_events: Sequence[BucketEvent]) -> None:
        begun.set()
        assert go_on.wait(30)

    commits = GroupCommit(store, queue_timeout_seconds=0.01)
    with ThreadPoolExecutor(MAX_WAITING) as pool:
        pool.submit(commits.add, one_event(0))
        assert begun.wait(30)
        for number in range(1, MAX_WAITING):
            pool.submit(commits.add, one_event(number))
        wait_until(lambda: commits.count_waiting() == MAX_WAITING - 1)
        with pytest.raises(DatabaseUnavailable):
            commits.add(one_event(99))
        go_on.set()
