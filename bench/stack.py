"""The servers of a benchmark, in a temporary folder."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
from obstore.store import S3Store
from pydantic import SecretStr

from bench import seaweed
from etl import local
from etl.db.engine import connect, migrate
from etl.model.roles import Role, entry_for, new_key
from etl.settings import Settings
from etl.storage.client import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPLATE = f"bench_template_{os.getpid()}"  # several workers of the tests share a server
EMBEDDED, SEAWEEDFS = STORES = ("embedded", "seaweedfs")
REMOVAL_SECONDS = 30
_PLAIN = (str, int, Path)  # no benchmark changes settings of other types


@dataclass(frozen=True)
class Stack:
    """Running servers, with methods to create databases and buckets."""

    settings: Settings
    store: str = EMBEDDED
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def bucket(self, name: str) -> str:
        """Make a bucket unless it is there; return its name."""
        ObjectStore(self.settings).ensure_bucket(name)
        return name

    def fresh(self, bucket: str) -> Settings:
        """Settings with a migrated, empty database that reads `bucket`."""
        name = f"bench_{os.getpid()}_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        return self._on(name, bucket)

    def drop(self, settings: Settings) -> None:
        """Drop a database to free its disk space."""
        self.execute(f"DROP DATABASE {url_of(settings).rpartition('/')[2]} WITH (FORCE)")

    def settle(self) -> None:
        """Write out dirty pages, so that one measurement does not slow the next."""
        self.execute("CHECKPOINT")

    def execute(self, statement: str) -> None:
        """Run one statement outside any transaction, in the stack's own database."""
        execute(self.settings, statement)

    def make_template(self) -> None:
        """Create the migrated template database."""
        self.execute(f"CREATE DATABASE {TEMPLATE}")
        engine = connect(self._on(TEMPLATE, "none"))
        migrate(engine)
        engine.dispose()

    def _on(self, database: str, bucket: str) -> Settings:
        url = f"{url_of(self.settings).rpartition('/')[0]}/{database}"
        return self.settings.model_copy(
            update={
                "database_url": SecretStr(url),
                "source_bucket": bucket,
                "processed_bucket": self.bucket(f"{bucket}-processed"),
                "thumbnail_bucket": self.bucket(f"{bucket}-thumbnails"),
                "document_bucket": self.bucket(f"{bucket}-documents"),
            }
        )


def url_of(settings: Settings) -> str:
    """DATABASE_URL as any client reads it."""
    if settings.database_url is None:
        raise ValueError("The stack is not up.")
    return settings.database_url.get_secret_value()


def secret_of(settings: Settings) -> str:
    """The object store's secret key."""
    if settings.s3_secret_key is None:
        raise ValueError("The stack is not up.")
    return settings.s3_secret_key.get_secret_value()


@contextmanager
def database(settings: Settings) -> Iterator[Any]:
    """A plain connection, each statement for itself; new tables are next to those of datasets."""
    schemas = f"{settings.database_schema},{settings.state_schema}"
    connection = psycopg2.connect(url_of(settings), options=f"-c search_path={schemas}")
    try:
        connection.autocommit = True
        yield connection
    finally:
        connection.close()


def execute(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows, if any."""
    with database(settings) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def bulk_store(settings: Settings, bucket: str) -> S3Store:
    """One bucket as obstore sees it, without Bucketline in between."""
    return S3Store(
        bucket,
        config={
            "endpoint": settings.s3_endpoint or "",
            "access_key_id": settings.s3_access_key or "",
            "secret_access_key": secret_of(settings),
            "region": settings.s3_region,
        },
        client_options={"allow_http": True},
    )


def environment(settings: Settings) -> dict[str, str]:
    """The environment with which a command uses these servers and no others."""
    ours = {name.upper() for name in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    values = {name: getattr(settings, name) for name in Settings.model_fields if name != "api_port"}
    plain = {name: value for name, value in values.items() if isinstance(value, _PLAIN)}
    named = {name.upper(): str(value) for name, value in plain.items()}
    secrets = {"DATABASE_URL": url_of(settings), "S3_SECRET_KEY": secret_of(settings)}
    secrets["API_KEYS"] = str(entry_for("bench", Role.WRITER, api_key()))
    return kept | named | secrets


@cache
def api_key() -> str:
    """The API key. The API is measured with keys set, whatever `.env` says."""
    return new_key()


@contextmanager
def running(store: str = EMBEDDED) -> Iterator[Stack]:
    """Start that object store and PostgreSQL; stop and remove them when the block ends.

    Raises:  SeaweedUnavailable when that is the store and it is not there or does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="bucketline-bench-"))
    folder.chmod(0o755)  # for PostgreSQL's unprivileged account, as root
    try:
        with ExitStack() as servers:
            settings = _embedded(folder / "local")
            if store == SEAWEEDFS:
                settings = servers.enter_context(seaweed.running(settings, folder / "seaweed"))
            stack = Stack(servers.enter_context(local.running(settings)), store)
            stack.make_template()
            yield stack
    finally:
        _remove(folder)


def _embedded(local_dir: Path) -> Settings:
    """Settings that use both embedded servers, whatever the environment and `.env` say."""
    values = {name: spec.get_default() for name, spec in Settings.model_fields.items()}
    return Settings.model_construct(**values | {"local_dir": local_dir})


def _remove(folder: Path) -> None:
    """Remove the folder once its servers have stopped by themselves."""
    deadline = time.monotonic() + REMOVAL_SECONDS
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
