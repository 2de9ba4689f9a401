"""How the other tools load an object into PostgreSQL, and the checks of what they loaded.

This module is imported in bench/.venv, which has none of our packages.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LINEAGE = "_source_key, _source_line, _run_id, _updated_at"
CHUNK_BYTES = 8 << 20

Job = dict[str, str]


def _package(name: str) -> Path:
    found = find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"{name} is not installed")
    return Path(found.submodule_search_locations[0])


def postgres(job: Job, *statements: str) -> None:
    """Execute the statements, each for itself."""
    import psycopg2

    # The role's own schema would come first, because it has the name of STATE_SCHEMA.
    connection = psycopg2.connect(job["database_url"], options="-c search_path=public")
    connection.autocommit = True
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connection.close()


def _extension(name: str) -> str:
    return str(next(_package("duckdb_ext").rglob(f"{name}.duckdb_extension")))


def duckdb_client(job: Job) -> Any:
    """A connection of DuckDB with the object store, and PostgreSQL as `pg`."""
    import duckdb

    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    for name in ("httpfs", "postgres_scanner"):
        connection.execute(f"LOAD '{_extension(name)}'")
    for name, value in (
        ("s3_endpoint", urlsplit(job["endpoint"]).netloc),
        ("s3_access_key_id", job["access_key"]),
        ("s3_secret_access_key", job["secret_key"]),
        ("s3_region", job["region"]),
        ("s3_url_style", "path"),
    ):
        connection.execute(f"SET {name}='{value}'")
    connection.execute("SET s3_use_ssl=false")
    connection.execute(f"ATTACH '{job['database_url']}' AS pg (TYPE postgres)")
    return connection


def insert(job: Job, connection: Any, table: str, source: str, columns: str = "") -> float:
    """Insert the rows of the query by DuckDB; return the seconds."""
    started = time.perf_counter()
    connection.execute(f"INSERT INTO {table} {columns} {source}")
    seconds = time.perf_counter() - started
    rows = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    _check_rows(job, table, rows)
    return seconds


def sling(job: Job, mode: str, key: str, options: dict[str, str | bool] | None = None) -> float:
    """Load the object with these options of its format; `key` is the primary key, if any."""
    program = next(path for path in _package("sling_linux_amd64").rglob("sling*") if _is_elf(path))
    source = {
        "type": "s3",
        "bucket": job["bucket"],
        "endpoint": job["endpoint"],
        "region": job["region"],
        "access_key_id": job["access_key"],
        "secret_access_key": job["secret_key"],
    }
    with tempfile.TemporaryDirectory() as home:
        own = {"HOME": home, "SLING_HOME_DIR": home, "SLING_DISABLE_TELEMETRY": "true"}
        connections = {
            "SOURCE": json.dumps(source),
            "TARGET": f"{job['database_url']}?sslmode=disable",
        }
        started = time.perf_counter()
        done = subprocess.run(  # noqa: S603  (the program is the one we installed)
            [
                str(program),
                "run",
                "--src-conn=SOURCE",
                f"--src-stream=s3://{job['bucket']}/{job['key']}",
                "--tgt-conn=TARGET",
                "--tgt-object=public.of_sling",
                f"--mode={mode}",
                f"--src-options={json.dumps(options or {})}",
                *_sling_keys(key),
            ],
            env=os.environ | own | connections,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError((done.stderr or done.stdout).strip()[-300:])
    check(job, "of_sling", key)
    return seconds


def _sling_keys(key: str) -> list[str]:
    if not key:
        return []
    # Otherwise the table has no key: --primary-key only names the merge columns.
    target = json.dumps({"table_keys": {"primary": [key]}})
    return [f"--primary-key={key}", f"--tgt-options={target}"]


def _is_elf(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if file.read(4) != b"\x7fELF":
            return False
    path.chmod(path.stat().st_mode | 0o111)
    return True


def s3(job: Job) -> Any:
    """The object store as a file system of Arrow."""
    from pyarrow import fs

    return fs.S3FileSystem(
        access_key=job["access_key"],
        secret_key=job["secret_key"],
        endpoint_override=urlsplit(job["endpoint"]).netloc,
        scheme="http",
        region=job["region"],
    )


def s3_stream(job: Job) -> Any:
    """The object as a stream."""
    return s3(job).open_input_stream(f"{job['bucket']}/{job['key']}", buffer_size=CHUNK_BYTES)


def dlt_load(job: Job, batches: Callable[[], Iterator[Any]], table: str, key: str = "") -> float:
    """Load the batches into a table of this name, with a unique key if there is one."""
    import dlt

    postgres(job, "DROP SCHEMA IF EXISTS of_dlt CASCADE", "CHECKPOINT")
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            "bench",
            pipelines_dir=folder,
            destination=dlt.destinations.postgres(job["database_url"]),
            dataset_name="of_dlt",
        )
        hints = {key: {"unique": True, "nullable": False}} if key else None
        resource_ = dlt.resource(batches, name=table, primary_key=key or None, columns=hints)
        started = time.perf_counter()
        pipeline.run(resource_, write_disposition="replace").raise_on_failed_jobs()
        seconds = time.perf_counter() - started
    check(job, f"of_dlt.{table}", key)
    return seconds


_IS_KEYED = (
    "SELECT EXISTS (SELECT FROM pg_index JOIN pg_attribute ON attrelid = indrelid"
    " AND attnum = indkey[0] WHERE indrelid = '{}'::regclass AND indisunique AND indnatts = 1"
    " AND attname = '{}')"
)


def check(job: Job, table: str, key: str = "user_id") -> None:
    """Check that the table is equivalent to ours: all current rows, and a key, if ours has one.

    A tool that loads fewer rows, or two rows of one user, fails.
    """
    import psycopg2

    with psycopg2.connect(job["database_url"]) as connection, connection.cursor() as cursor:

        def ask(question: str) -> Any:
            cursor.execute(question)
            return cursor.fetchone()[0]

        _check_rows(job, table, ask(f"SELECT count(*) FROM {table}"))
        if key and not ask(_IS_KEYED.format(table, key)):
            raise RuntimeError(f"{table} has no unique index on {key}")
        if job["version"] != "0":
            renamed = f"SELECT count(*) FROM {table} WHERE last_name LIKE '%-{job['version']}'"
            if ask(renamed) != -(-int(job["rows"]) // 100):
                raise RuntimeError(f"{table} does not hold the rows that changed")


def _check_rows(job: Job, table: str, count: int) -> None:
    if count != int(job["rows"]):
        raise RuntimeError(f"{count} rows in {table}, not {job['rows']}")
