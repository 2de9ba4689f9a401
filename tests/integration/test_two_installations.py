"""Two installations in one database: neither waits for, wakes or reads the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from etl.db.engine import (
    channel_of,
    connect,
    connect_unpooled,
    driver,
    listen,
    migrate,
)
from etl.db.locks import image_lock, run_lock
from etl.db.names import Lock, NotifyChannel, channel_name, lock_key
from etl.db.runs import request_run
from etl.model.errors import RunAlreadyActive
from etl.model.values import Trigger
from etl.sync.manager import DataManager
from etl.verify import verify
from tests.sample_images import plain

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from etl.settings import Settings
    from tests.conftest import TestBucket

SCHEMA_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,62}", fullmatch=True)


@pytest.fixture
def second(settings: Settings) -> Settings:
    """Settings of a second installation in the test's database, which reads the same bucket."""
    given = settings.model_copy(
        update={"database_schema": "Shop", "state_schema": "s" * 63}  # as long as possible
    )
    engine = connect(given)
    migrate(engine)
    engine.dispose()
    return given


def test_locks_and_channels_of_the_default_schema_are_those_of_earlier_versions():
    keys = [lock_key(lock) for lock in Lock]
    assert keys == [7282018361, 7282018362, 7282018363, 7282018364]
    names = [channel_name(channel) for channel in NotifyChannel]
    assert names == ["run_requested", "bucket_event", "images_waiting", "alert_written"]


@given(st.lists(SCHEMA_NAMES, min_size=2, max_size=20, unique=True))
def test_no_schema_shares_a_lock_or_a_channel_with_another(schemas: list[str]):
    keys = {lock_key(lock, schema) for lock in Lock for schema in schemas}
    assert len(keys) == len(Lock) * len(schemas)
    assert all(-(2**63) <= key < 2**63 for key in keys)
    names = {channel_name(channel, schema) for channel in NotifyChannel for schema in schemas}
    assert len(names) == len(NotifyChannel) * len(schemas)
    assert max(map(len, names)) <= 63  # PostgreSQL's limit


def test_run_of_one_excludes_no_run_of_the_other(
    settings: Settings, second: Settings, bucket: TestBucket
):
    bucket.user("1.csv")
    with run_lock(connect_unpooled(settings)), image_lock(connect_unpooled(settings)):
        with pytest.raises(RunAlreadyActive):
            DataManager(settings).run(Trigger.CLI)
        assert DataManager(second).run(Trigger.CLI).counts.users_live == 1
        with run_lock(connect_unpooled(second)), pytest.raises(RunAlreadyActive):
            DataManager(second).run(Trigger.CLI)


def test_each_has_its_own_tables(settings: Settings, second: Settings, bucket: TestBucket):
    bucket.user("1.csv")
    DataManager(settings).run(Trigger.CLI)
    bucket.user("2.csv")
    DataManager(second).run(Trigger.CLI)
    engine = connect(second)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM public.users")) == 1
        assert connection.scalar(text('SELECT count(*) FROM "Shop".users')) == 2
        assert connection.scalar(text("SELECT count(*) FROM bucketline.run")) == 1
        assert connection.scalar(text("SELECT count(*) FROM run")) == 1
    assert verify(second, engine) == []
    engine.dispose()


def notified(connection: Connection) -> set[str]:
    """The channels notified since the last call."""
    connection.execute(text("SELECT 1"))  # a round trip, with which notifications arrive
    listened = driver(connection)
    listened.poll()
    channels = {notification.channel for notification in listened.notifies}
    listened.notifies.clear()
    return channels


def test_neither_wakes_the_other(settings: Settings, second: Settings, bucket: TestBucket):
    """Each listens to its own channels only; the default ones are those of earlier versions."""
    bucket.put("1.png", plain())
    first_engine, second_engine = connect(settings), connect(second)
    with first_engine.connect() as one, second_engine.connect() as other:
        for connection in (one, other):
            connection.execution_options(isolation_level="AUTOCOMMIT")
            for channel in NotifyChannel:
                listen(connection, channel)
        with second_engine.begin() as connection:
            request_run(connection, Trigger.REQUEST)
        DataManager(second).run_requested()
        assert notified(one) == set()
        assert notified(other) == {
            channel_of(other, NotifyChannel.RUN_REQUESTED),
            channel_of(other, NotifyChannel.IMAGES_WAITING),
        }
        DataManager(settings).run(Trigger.CLI)
        assert notified(one) == {"images_waiting"}
        assert notified(other) == set()
    first_engine.dispose()
    second_engine.dispose()
