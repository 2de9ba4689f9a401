"""Stores that throttle, hang or disconnect: every object is still loaded."""

from __future__ import annotations

import threading
import zlib
from collections import Counter
from urllib.parse import unquote, urlsplit

import pytest
from sqlalchemy import Engine, text

from etl.model.values import RunState, Trigger
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.sync.manager import DataManager
from etl.verify import verify
from tests.conftest import TestBucket
from tests.proxies import CUT, HANG, STALL, Fault, faulty

OBJECTS = 600
AT_ONCE = 64


class Busy:
    """Fails the first requests for some keys; the key determines how."""

    def __init__(self, *faults: Fault, among: int) -> None:
        self._faults, self._among = faults, among
        self._asked = Counter[str]()
        self._lock = threading.Lock()
        self.store: ObjectStore | None = None
        self.limits: list[int] = []

    def __call__(self, path: str) -> Fault:
        url = urlsplit(path)
        key = unquote(url.path).partition("/")[2].partition("/")[2]
        if url.query or not key.endswith(".csv"):
            return None
        with self._lock:
            if self.store is not None:
                self.limits.append(self.store.throttle.current)
            self._asked[key] += 1
            number = zlib.crc32(key.encode())
            is_refused = number % self._among == 0 and self._asked[key] <= 1 + number % 3
            return self._faults[number // 7 % len(self._faults)] if is_refused else None


def load(settings: Settings, busy: Busy, read_timeout_seconds: float = 30) -> None:
    """Make a run on this busy store; no object may be lost."""
    with faulty(settings, busy) as through_proxy:
        busy.store = ObjectStore(through_proxy, read_timeout_seconds=read_timeout_seconds)
        report = DataManager(through_proxy, store=busy.store).run(Trigger.CLI)
    assert report.state is RunState.SUCCEEDED
    assert (report.counts.problems, report.counts.objects_unreadable) == (0, 0)


def users(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(text("SELECT count(*) FROM users")) or 0)


@pytest.fixture
def filled(bucket: TestBucket) -> TestBucket:
    for number in range(OBJECTS):
        bucket.user(f"{number}.csv")
    return bucket


@pytest.fixture
def wide(settings: Settings) -> Settings:
    return settings.model_copy(update={"fetch_concurrency": AT_ONCE})


@pytest.mark.usefixtures("filled")
def test_planted_slow_downs_lose_no_object(wide: Settings, engine: Engine):
    busy = Busy(503, 429, among=20)
    load(wide, busy)
    assert users(engine) == OBJECTS
    assert verify(wide, engine) == []
    assert max(busy.limits) == AT_ONCE
    lowest = min(busy.limits)
    assert lowest <= AT_ONCE // 2
    assert max(busy.limits[busy.limits.index(lowest) :]) > lowest


@pytest.mark.usefixtures("filled")
def test_hangs_and_errors_lose_no_object(wide: Settings, engine: Engine):
    busy = Busy(503, 500, HANG, CUT, STALL, among=30)
    load(wide, busy, read_timeout_seconds=1)
    assert users(engine) == OBJECTS
    assert min(busy.limits) <= AT_ONCE // 2


def test_parts_of_a_huge_object_are_retried(wide: Settings, bucket: TestBucket, engine: Engine):
    rows = "".join(f"{number},Ann,Lee,0\n" for number in range(300_000))
    bucket.put("huge.csv", f"user_id,first_name,last_name,birthts\n{rows}")
    load(wide, Busy(503, among=1))
    assert users(engine) == 300_000


def test_requests_for_awkward_keys_are_retried(wide: Settings, bucket: TestBucket, engine: Engine):
    keys = [f"\x01{number}.csv" for number in range(20)]
    for key in keys:
        bucket.user(key)
    load(wide, Busy(503, 429, among=1))
    assert users(engine) == len(keys)
