"""Image processing killed at any moment is completed by the next one."""

from __future__ import annotations

import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from etl.db.engine import connect_unpooled
from etl.images.indexer import ThumbnailIndexer
from etl.model.values import Trigger
from etl.runtime.pools import map_in_threads
from etl.settings import Settings
from etl.sync.manager import DataManager
from etl.verify import verify
from tests.conftest import TestBucket, wait_until
from tests.processes import start
from tests.sample_images import plain
from tests.tallies import wrong_tallies

IMAGES = 300

MOMENTS = {
    "as it begins": "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))",
    "before the first thumbnail is put": "SELECT EXISTS (SELECT FROM thumbnail)",
    "with thumbnails put and no facts": "SELECT EXISTS (SELECT FROM thumbnail"
    " WHERE put_at IS NOT NULL)",
    "with the facts of some": "SELECT EXISTS (SELECT FROM image)",
}
REMOVAL = "SELECT EXISTS (SELECT FROM thumbnail WHERE put_at IS NULL)"


def start_work(settings: Settings) -> subprocess.Popen[bytes]:
    nowhere = subprocess.DEVNULL
    return start(settings, "images", stdout=nowhere, stderr=nowhere)


def kill_when(settings: Settings, condition: str) -> None:
    """Start the work and kill it as soon as the condition holds, or let it end."""
    engine = connect_unpooled(settings)
    process = start_work(settings)
    try:
        with engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            wait_until(
                lambda: process.poll() is not None or connection.scalar(text(condition)),
                seconds=120,
                pause=0.001,
            )
        assert process.poll() is None, f"it ended before it could be killed: {condition}"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def check_level(settings: Settings, engine: Engine, images: int) -> None:
    kept = ThumbnailIndexer(settings).run(wait_seconds=30)
    assert kept.passed_over == 0
    assert verify(settings, engine) == []
    assert wrong_tallies(engine) == {}
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM image")) == images
        assert connection.scalar(text("SELECT count(*) FROM thumbnail")) == 2 * images
        assert not connection.scalar(text(REMOVAL))


@pytest.fixture
def many(bucket: TestBucket, manager: DataManager) -> TestBucket:
    map_in_threads(lambda n: bucket.put(f"{n}.png", plain(9 + n, 400)), range(IMAGES), 8)
    manager.run(Trigger.CLI)
    return bucket


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("as it begins", marks=pytest.mark.long),
        pytest.param("before the first thumbnail is put", marks=pytest.mark.long),
        "with thumbnails put and no facts",
        "with the facts of some",
    ],
)
def test_image_work_killed_at_any_moment_is_completed_next_time(
    many: TestBucket, settings: Settings, engine: Engine, moment: str
):
    kill_when(settings, MOMENTS[moment])
    check_level(settings, engine, len(many.keys()))


def test_image_work_killed_while_removing_is_completed_next_time(
    many: TestBucket, settings: Settings, engine: Engine, manager: DataManager
):
    ThumbnailIndexer(settings).run()
    gone = [f"{n}.png" for n in range(0, IMAGES, 3)]
    contents = {key: many.get(key) for key in gone}
    map_in_threads(many.remove, gone, 8)
    manager.run(Trigger.CLI)
    kill_when(settings, REMOVAL)
    for key in gone[::2]:  # restored before the next kill
        many.put(key, contents[key])
    manager.run(Trigger.CLI)
    check_level(settings, engine, len(many.keys()))


def children_of(process: int) -> set[Path]:
    """The folders in /proc of a process's children."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if stat.read_text().rpartition(")")[2].split()[1] == str(process):
                found.add(stat.parent)
    return found


@pytest.mark.usefixtures("many")
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
def test_stopped_image_work_leaves_no_process(settings: Settings):
    with start_work(settings) as process:
        wait_until(lambda: len(children_of(process.pid)) >= 2, seconds=60)
        children = children_of(process.pid)
        process.terminate()
    wait_until(lambda: not any(child.exists() for child in children))
