"""Real servers for every test: one PostgreSQL and one object store, a database and buckets each.

The controlling process makes one LOCAL_DIR; every worker holds the stack in it. The object store is
the embedded one, or that of --store, which the controlling process starts. A test gets
a database cloned from its worker's migrated template, and buckets of its own. The worker clones
databases ahead of the tests and drops them after them, in a thread.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from minio import Minio
from pydantic import SecretStr
from sqlalchemy import Engine, create_engine, text
from urllib3 import PoolManager

from etl import local
from etl.cli.common import CALLERS_FOLDER
from etl.db.engine import connect, migrate
from etl.runtime.logs import set_up_logs
from etl.runtime.program import PROGRAM
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.sync.manager import DataManager
from tests.brokers import Brokers, Consuming
from tests.queues import Emulator, Receiving, StartReceiving, TestQueue
from tests.stores import (
    EMBEDDED,
    PRECISE_TIMES,
    STORES,
    name_of_store,
    start_store,
    started_store,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEST_DIR = "BUCKETLINE_TEST_DIR"
MEMORY_BYTES = 4 << 30

_SUITE = hypothesis_settings(
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
hypothesis_settings.register_profile("suite", _SUITE)
hypothesis_settings.register_profile("long", _SUITE, max_examples=500)
hypothesis_settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the long forms of the tests")
    parser.addoption(
        "--store", choices=list(STORES), default=EMBEDDED, help="the object store of the tests"
    )
    parser.addoption(
        "--containers-in",
        metavar="FOLDER",
        help="also run tests/containers, with a Docker engine that keeps its data in FOLDER",
    )


def pytest_configure(config: pytest.Config) -> None:
    set_up_logs("console", quiet=True)
    if config.getoption("--long"):
        hypothesis_settings.load_profile("long")
    config.addinivalue_line("markers", "long: runs only with --long")
    config.addinivalue_line("markers", "planner: asserts plans or statistics of PostgreSQL")
    config.addinivalue_line("markers", "storage: depends on what the object store does")
    config.addinivalue_line("markers", "store(trait): only for stores of which this is true")
    for name in Settings.model_fields:
        os.environ.pop(name.upper(), None)
    os.environ[PROGRAM] = "./run.sh"
    os.environ.pop(CALLERS_FOLDER, None)
    if TEST_DIR not in os.environ:
        # Not pytest's own temporary folder: as root, PostgreSQL's plain user could not reach it.
        _use_memory()
        directory = Path(tempfile.mkdtemp(prefix="bucketline-tests-"))
        directory.chmod(0o755)
        os.environ[TEST_DIR] = str(directory)
        config.add_cleanup(lambda: _remove(directory))
        config.add_cleanup(lambda: os.environ.pop(TEST_DIR, None))
        config.add_cleanup(start_store(config.getoption("--store"), directory))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One worker more than cores, because tests often wait for servers and processes."""
    return (os.cpu_count() or 1) + 1


def _use_memory() -> None:
    """Keep temporary files in memory if it has room: a database is cloned in a ninth of the time.

    This is also for the processes that tests start. TMPDIR, if it is set, takes precedence.
    """
    folder = Path("/dev/shm")  # noqa: S108 - as on every Linux
    if "TMPDIR" in os.environ or not folder.is_dir():
        return
    found = os.statvfs(folder)
    is_usable = not found.f_flag & os.ST_NOEXEC  # a plain user may need copies of the binaries
    if is_usable and found.f_bavail * found.f_frsize >= MEMORY_BYTES:
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


def _remove(directory: Path) -> None:
    """Remove the folder once its servers have ended, which they do by themselves."""
    deadline = time.monotonic() + 15
    while directory.exists() and time.monotonic() < deadline:
        shutil.rmtree(directory, ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    store = config.getoption("--store")
    for item in items:
        for marker in item.iter_markers("store"):
            if marker.args[0] not in STORES[store]:
                item.add_marker(pytest.mark.skip(reason=f"not true of {store}: {marker.args[0]}"))
        if item.get_closest_marker("long") and not config.getoption("--long"):
            item.add_marker(pytest.mark.skip(reason="long: pass --long to run it"))


@pytest.fixture(scope="session")
def stack() -> Iterator[Settings]:
    """The servers, shared by all workers, held for this worker's whole session."""
    local_dir = Path(os.environ[TEST_DIR]) / "local"
    settings = Settings(_env_file=None, local_dir=local_dir, **started_store())
    with local.running(settings) as filled:
        _make_quick(filled)
        yield filled


def _make_quick(stack: Settings) -> None:
    """Skip flushing to disk, and let the kernel copy databases.

    No test of the shared stack survives a crash of the machine.
    """
    engine = create_engine(stack.sqlalchemy_url, isolation_level="AUTOCOMMIT")
    for statement in (
        "ALTER SYSTEM SET fsync = off",
        "ALTER SYSTEM SET full_page_writes = off",
        "ALTER SYSTEM SET file_copy_method = clone",
        "SELECT pg_reload_conf()",
    ):
        _execute(engine, statement)
    engine.dispose()


@pytest.fixture(scope="session")
def admin(stack: Settings) -> Iterator[Engine]:
    """An engine that may create and drop databases."""
    engine = create_engine(stack.sqlalchemy_url, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def template(stack: Settings, admin: Engine) -> str:
    """The name of this worker's migrated, empty database."""
    name = f"template_{uuid.uuid4().hex[:12]}"
    _execute(admin, f"CREATE DATABASE {name}")
    engine = connect(_on_database(stack, name))
    migrate(engine)
    engine.dispose()
    return name


class Databases:
    """Clones of the template: the next one is created, and used ones are dropped, in a thread."""

    def __init__(self, admin: Engine, template: str, thread: ThreadPoolExecutor) -> None:
        self._admin = admin
        self._template = template
        self._thread = thread
        self._next = thread.submit(self._create)

    def take(self) -> str:
        """The name of a new migrated database."""
        name = self._next.result()
        self._next = self._thread.submit(self._create)
        return name

    def drop(self, name: str) -> None:
        self._thread.submit(_execute, self._admin, f"DROP DATABASE {name} WITH (FORCE)")

    def remove_buckets(self, settings: Settings) -> None:
        """Remove the buckets with their objects, where a bucket takes space while it exists."""
        if name_of_store() != EMBEDDED:
            self._thread.submit(_remove_buckets, settings)

    def _create(self) -> str:
        name = f"test_{uuid.uuid4().hex[:12]}"
        copied = f"TEMPLATE {self._template} STRATEGY FILE_COPY"
        _execute(self._admin, f"CREATE DATABASE {name} {copied}")
        return name


@pytest.fixture(scope="session")
def databases(admin: Engine, template: str) -> Iterator[Databases]:
    """This worker's supply of migrated, empty databases."""
    with ThreadPoolExecutor(1) as thread:
        yield Databases(admin, template, thread)


def _execute(admin: Engine, statement: str) -> None:
    with admin.connect() as connection:
        connection.execute(text(statement))


def _remove_buckets(settings: Settings) -> None:
    store = ObjectStore(settings)
    for bucket in settings.buckets:
        if store.has_bucket(bucket):
            store.remove_bucket(bucket)


def _on_database(settings: Settings, name: str) -> Settings:
    url = settings.sqlalchemy_url.replace("+psycopg2", "").rpartition("/")[0]
    return settings.model_copy(update={"database_url": SecretStr(f"{url}/{name}")})


@contextmanager
def new_instance(stack: Settings, databases: Databases) -> Iterator[Settings]:
    """Settings with a fresh migrated database and fresh buckets, for as long as the block runs."""
    name = databases.take()
    fresh = _on_database(stack, name).model_copy(
        update={
            "source_bucket": f"src-{name.replace('_', '-')}",
            "processed_bucket": f"out-{name.replace('_', '-')}",
            "thumbnail_bucket": f"thumb-{name.replace('_', '-')}",
            "document_bucket": f"doc-{name.replace('_', '-')}",
        }
    )
    store = ObjectStore(fresh)
    for bucket in fresh.buckets:
        store.create_bucket(bucket)
    try:
        yield fresh
    finally:
        databases.drop(name)
        databases.remove_buckets(fresh)


@pytest.fixture
def settings(stack: Settings, databases: Databases) -> Iterator[Settings]:
    """Settings with a fresh migrated database and fresh buckets."""
    with new_instance(stack, databases) as fresh:
        yield fresh


@pytest.fixture
def empty_database(stack: Settings, admin: Engine) -> Iterator[Settings]:
    """Settings with an empty database, without tables."""
    name = f"empty_{uuid.uuid4().hex[:12]}"
    _execute(admin, f"CREATE DATABASE {name}")
    yield _on_database(stack, name)
    _execute(admin, f"DROP DATABASE {name} WITH (FORCE)")


class FreshDatabases:
    """Creates further databases for a test's buckets, which may be dropped before its end."""

    def __init__(self, settings: Settings, databases: Databases) -> None:
        self._settings = settings
        self._databases = databases
        self.names: list[str] = []

    def __call__(self) -> Settings:
        self.names.append(self._databases.take())
        return _on_database(self._settings, self.names[-1])

    def drop(self, settings: Settings) -> None:
        """Drop one of them now, because the test needs many."""
        name = settings.sqlalchemy_url.rpartition("/")[-1]
        self.names.remove(name)
        self._databases.drop(name)


@pytest.fixture
def fresh_database(settings: Settings, databases: Databases) -> Iterator[FreshDatabases]:
    """A function that creates further databases for the test's buckets, dropped at the end."""
    made = FreshDatabases(settings, databases)
    yield made
    for name in made.names:
        databases.drop(name)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """An engine on the test's database."""
    engine = connect(settings)
    yield engine
    engine.dispose()


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    """The product's client of the object store."""
    return ObjectStore(settings)


@pytest.fixture
def manager(settings: Settings) -> DataManager:
    """The manager, which makes runs on the test's database and buckets."""
    return DataManager(settings)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare each modified object with its stored rows, a few lines at a time."""
    monkeypatch.setattr("etl.sync.batch.MAX_BYTES", 0)
    monkeypatch.setattr("etl.sync.stream.PART_BYTES", 40)
    monkeypatch.setattr("etl.sync.unchanged.MANY_DIFFERENT", 2)


@pytest.fixture
def brokers() -> Iterator[Brokers]:
    """Kafka brokers for this test only."""
    brokers = Brokers()
    yield brokers
    brokers.end()


@pytest.fixture
def consuming(tmp_path: Path) -> Iterator[Callable[[Settings], Consuming]]:
    """A function that starts consumers as processes; all are ended with the test."""
    started: list[Consuming] = []

    def start(settings: Settings) -> Consuming:
        started.append(Consuming(settings, tmp_path / f"consumer-{len(started)}.log"))
        return started[-1]

    yield start
    for consumer in started:
        consumer.kill()


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """A server of SQS and SNS, for the worker's whole session."""
    emulator = Emulator(tmp_path_factory.mktemp("emulator") / "log")
    yield emulator
    emulator.end()


@pytest.fixture
def queue(emulator: Emulator) -> TestQueue:
    """An empty SQS queue."""
    return emulator.queue()


@pytest.fixture
def receiving(tmp_path: Path) -> Iterator[StartReceiving]:
    """A function that starts SQS consumers as processes; all are ended with the test."""
    started: list[Receiving] = []

    def start(settings: Settings) -> Receiving:
        started.append(Receiving(settings, tmp_path / f"sqs-{len(started)}.log"))
        return started[-1]

    yield start
    for consumer in started:
        consumer.kill()


class TestBucket:
    """The source bucket through a client that shares no code with the product."""

    __test__ = False

    def __init__(self, settings: Settings) -> None:
        self.name = settings.source_bucket
        self.client = minio_client(settings)
        self._is_precise = PRECISE_TIMES in STORES[name_of_store()]
        self._puts: dict[str, tuple[int, int]] = {}  # of a key: hash of the content, second

    def put(self, key: str, content: bytes | str) -> None:
        """Put the object; the same content again has another time, also where those are coarse."""
        data = content.encode() if isinstance(content, str) else content
        known, second = self._puts.get(key, (0, 0))
        if known == hash(data) and not self._is_precise:
            wait_until(lambda: time.time() >= second + 1)
        self.client.put_object(self.name, key, io.BytesIO(data), len(data))
        self._puts[key] = hash(data), int(time.time())

    def user(self, key: str, first: str = "Ann", last: str = "Lee", birthts: int = 0) -> None:
        self.put(key, f"first_name, last_name, birthts\n{first}, {last}, {birthts}\n")

    def get(self, key: str) -> bytes:
        response = self.client.get_object(self.name, key)
        try:
            return response.read()
        finally:
            response.close()
            response.release_conn()

    def remove(self, key: str) -> None:
        self.client.remove_object(self.name, key)

    def keys(self) -> list[str]:
        return [entry.object_name for entry in self.client.list_objects(self.name, recursive=True)]

    def has(self, key: str) -> bool:
        return key in set(self.keys())

    def clear(self) -> None:
        for key in self.keys():
            self.remove(key)


def wait_until(
    condition: Callable[[], object], *, seconds: float = 30, pause: float = 0.02
) -> None:
    """Return as soon as the condition holds; fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(pause)


def minio_client(settings: Settings, http_client: PoolManager | None = None) -> Minio:
    assert settings.s3_endpoint
    assert settings.s3_secret_key
    return Minio(
        settings.s3_endpoint.removeprefix("http://"),
        settings.s3_access_key,
        settings.s3_secret_key.get_secret_value(),
        secure=False,
        region=settings.s3_region,
        http_client=http_client,
    )


@pytest.fixture
def bucket(settings: Settings) -> TestBucket:
    """The test's source bucket."""
    return TestBucket(settings)
