"""A distant store: with a real delay, a run reads as usual."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine, text

from bench.delay import delayed_store
from etl.model.values import RunState, Trigger
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.sync.manager import DataManager
from etl.sync.stream import PART_BYTES
from etl.verify import verify
from tests.conftest import TestBucket

EACH_WAY = 0.015
LARGE_ROWS = 30_000  # long ones, because the rows take the time and not their bytes


def test_distant_store_is_read_completely(bucket: TestBucket, settings: Settings, engine: Engine):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: bucket.user(f"{number}.csv"), range(300)))
    large = "".join(f"u{number},{'Ann' * 50},Lee,0\n" for number in range(LARGE_ROWS))
    assert len(large) > 2 * PART_BYTES
    bucket.put("large.csv", f"user_id,first_name,last_name,birthts\n{large}")
    with delayed_store(settings, EACH_WAY) as far:
        began = time.monotonic()
        assert ObjectStore(far).stat(bucket.name, "1.csv") is not None
        assert time.monotonic() - began >= 2 * EACH_WAY  # the delay must be in effect
        assert DataManager(far).run(Trigger.CLI).state is RunState.SUCCEEDED
    assert verify(settings, engine) == []
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM users")) == LARGE_ROWS + 300
