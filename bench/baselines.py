"""Other tools, each loading the same bucket into the same PostgreSQL.

This file runs in bench/.venv, which has none of our packages: `python baselines.py NAME` reads a
job as JSON from standard input and prints {"seconds": …}. Imports are not counted; a program
that is started for the work (sling) is.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Job = dict[str, str]

KEYED = (
    "CREATE TABLE {} (user_id text PRIMARY KEY, first_name text, last_name text, birthts bigint)"
)
LINEAGE = "_source_key, _source_line, _run_id, _updated_at"
CHUNK_BYTES = 8 << 20


def _package(name: str) -> Path:
    found = find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"{name} is not installed")
    return Path(found.submodule_search_locations[0])


def _postgres(job: Job, *statements: str) -> None:
    import psycopg2

    # The role's own schema would come first, because it has the name of STATE_SCHEMA.
    connection = psycopg2.connect(job["database_url"], options="-c search_path=public")
    connection.autocommit = True
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connection.close()


# -- DuckDB


def _extension(name: str) -> str:
    return str(next(_package("duckdb_ext").rglob(f"{name}.duckdb_extension")))


def _duckdb(job: Job) -> Any:
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


_TYPES = (
    "columns={'user_id': 'VARCHAR', 'first_name': 'VARCHAR', 'last_name': 'VARCHAR',"
    " 'birthts': 'BIGINT'}"
)
_TINY_TYPES = "columns={'first_name': 'VARCHAR', 'last_name': 'VARCHAR', 'birthts': 'BIGINT'}"


def _insert(job: Job, connection: Any, table: str, source: str, columns: str = "") -> float:
    started = time.perf_counter()
    connection.execute(f"INSERT INTO {table} {columns} {source}")
    seconds = time.perf_counter() - started
    rows = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    _check_rows(job, table, rows)
    return seconds


def _big(job: Job) -> str:
    return f"SELECT * FROM read_csv('s3://{job['bucket']}/{job['key']}', header=true, {_TYPES})"


def duckdb_postgres(job: Job) -> float:
    """The big CSV into PostgreSQL, keyed by user_id."""
    _postgres(job, "DROP TABLE IF EXISTS of_duckdb", KEYED.format("of_duckdb"), "CHECKPOINT")
    return _insert(job, _duckdb(job), "pg.public.of_duckdb", _big(job))


def duckdb_alike(job: Job) -> float:
    """The big CSV into a table with the columns and indexes of `users`."""
    table = "CREATE TABLE alike (LIKE users INCLUDING ALL)"
    _postgres(job, "DROP TABLE IF EXISTS alike", table, "CHECKPOINT")
    columns = "user_id, first_name, last_name, birthts"
    source = (
        f"SELECT {columns}, '{job['key']}', 2, 1, TIMESTAMPTZ '2026-01-01 00:00:00+00'"
        f" FROM ({_big(job)})"
    )
    return _insert(job, _duckdb(job), "pg.public.alike", source, f"({columns}, {LINEAGE})")


def duckdb_own(job: Job) -> float:
    """The big CSV into a table of DuckDB's own, in a file, keyed by user_id."""
    with tempfile.TemporaryDirectory() as folder:
        connection = _duckdb(job)
        connection.execute(f"ATTACH '{folder}/own.duckdb' AS own")
        connection.execute(KEYED.format("own.users"))
        return _insert(job, connection, "own.users", _big(job))


def duckdb_glob(job: Job) -> float:
    """Every CSV of the bucket into PostgreSQL, keyed by the name of its object."""
    _postgres(job, "DROP TABLE IF EXISTS of_duckdb", KEYED.format("of_duckdb"), "CHECKPOINT")
    source = (
        "SELECT parse_filename(filename, true), trim(first_name), trim(last_name), birthts"
        f" FROM read_csv('s3://{job['bucket']}/*.csv', filename=true, header=true, delim=',',"
        f" {_TINY_TYPES})"
    )
    return _insert(job, _duckdb(job), "pg.public.of_duckdb", source)


_ORDER_TYPES = {
    "order_id": "VARCHAR",
    "user_id": "VARCHAR",
    "amount": "DECIMAL(12,2)",
    "status": "VARCHAR",
    "updated_at": "TIMESTAMP",
    "quantity": "BIGINT",
    "article": "BIGINT",
    "is_gift": "BOOLEAN",
    "ordered_on": "DATE",
    "weight": "DOUBLE",
    "country": "VARCHAR",
    "note": "VARCHAR",
}


def read_orders(place: str, more: str = "", columns: Iterable[str] = ()) -> str:
    """The table function that reads CSVs of orders with the types of their columns."""
    types = {name: _ORDER_TYPES[name] for name in columns or _ORDER_TYPES}
    return (
        f"read_csv('{place}', columns={types}, auto_detect=false, header=true, delim=';',"
        " quote='\"', escape='\"', decimal_separator=',', thousands='.', dateformat='%Y-%m-%d',"
        f" timestampformat='%d.%m.%Y %H:%M:%S'{more})"
    )


def rejects(path: str, *columns: str) -> dict[str, list[int]]:
    """The lines of a CSV of these columns that DuckDB rejects, by its name of the fault.

    DuckDB counts a record of several lines as one line. Its byte positions are exact if lines end
    in line feeds.
    """
    import duckdb

    connection = duckdb.connect()
    source = read_orders(path, ", nullstr=['', 'NULL'], store_rejects=true", columns)
    connection.execute(f"CREATE TABLE kept AS FROM {source}")  # only what is read is converted
    found = connection.execute(
        "SELECT error_type::text, list(DISTINCT line_byte_position) FROM reject_errors GROUP BY 1"
    )
    content = Path(path).read_bytes()
    return {
        name: sorted(content.count(b"\n", 0, place - 1) + 1 for place in places)
        for name, places in found.fetchall()
    }


def duckdb_orders(job: Job) -> float:
    """All CSVs of orders into a table with the columns and indexes of ours; `table` creates it."""
    _postgres(job, "DROP TABLE IF EXISTS of_duckdb", job["table"].format("of_duckdb"), "CHECKPOINT")
    columns = ", ".join(_ORDER_TYPES)
    cells = columns.replace("updated_at", "timezone('Europe/Berlin', updated_at)")
    source = (
        f"SELECT {cells}, '{job['key']}', 2, 1, TIMESTAMPTZ '2026-01-01 00:00:00+00'"
        f" FROM {read_orders('s3://' + job['bucket'] + '/' + job['key'])}"
    )
    return _insert(job, _duckdb(job), "pg.public.of_duckdb", source, f"({columns}, {LINEAGE})")


# -- sling


def _sling(job: Job, mode: str) -> float:
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
                "--primary-key=user_id",
                # Otherwise the table has no key: --primary-key only names the merge columns.
                f"--tgt-options={json.dumps({'table_keys': {'primary': ['user_id']}})}",
            ],
            env=os.environ | own | connections,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError((done.stderr or done.stdout).strip()[-300:])
    _check(job, "of_sling")
    return seconds


def _is_elf(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if file.read(4) != b"\x7fELF":
            return False
    path.chmod(path.stat().st_mode | 0o111)
    return True


def sling_full(job: Job) -> float:
    """The big CSV into a table of PostgreSQL that is made for it, keyed by user_id."""
    _postgres(job, "DROP TABLE IF EXISTS of_sling", "CHECKPOINT")
    return _sling(job, "full-refresh")


def sling_incremental(job: Job) -> float:
    """The big CSV again, merged by user_id into the table of `sling_full`."""
    _postgres(job, "CHECKPOINT")
    return _sling(job, "incremental")


# -- dlt and pandas


def _s3_stream(job: Job) -> Any:
    from pyarrow import fs

    store = fs.S3FileSystem(
        access_key=job["access_key"],
        secret_key=job["secret_key"],
        endpoint_override=urlsplit(job["endpoint"]).netloc,
        scheme="http",
        region=job["region"],
    )
    return store.open_input_stream(f"{job['bucket']}/{job['key']}", buffer_size=CHUNK_BYTES)


def dlt_arrow(job: Job) -> float:
    """The big CSV as Arrow batches through dlt, keyed by user_id."""
    import dlt
    import pyarrow as pa
    from pyarrow import csv

    types = {"user_id": pa.string(), "birthts": pa.int64()}

    def batches() -> Iterator[Any]:
        options = csv.ReadOptions(block_size=CHUNK_BYTES)
        convert = csv.ConvertOptions(column_types=types)
        yield from csv.open_csv(_s3_stream(job), read_options=options, convert_options=convert)

    _postgres(job, "DROP SCHEMA IF EXISTS of_dlt CASCADE", "CHECKPOINT")
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            "bench",
            pipelines_dir=folder,
            destination=dlt.destinations.postgres(job["database_url"]),
            dataset_name="of_dlt",
        )
        hints = {"user_id": {"unique": True, "nullable": False}}
        resource_ = dlt.resource(batches, name="users", primary_key="user_id", columns=hints)
        started = time.perf_counter()
        pipeline.run(resource_, write_disposition="replace").raise_on_failed_jobs()
        seconds = time.perf_counter() - started
    _check(job, "of_dlt.users")
    return seconds


def pandas_to_sql(job: Job) -> float:
    """The big CSV through a data frame, `to_sql`, into a table keyed by user_id."""
    import pandas as pd
    from sqlalchemy import create_engine

    _postgres(job, "DROP TABLE IF EXISTS of_pandas", KEYED.format("of_pandas"), "CHECKPOINT")
    engine = create_engine(job["database_url"].replace("postgresql:", "postgresql+psycopg2:"))
    started = time.perf_counter()
    frame = pd.read_csv(_s3_stream(job), dtype={"user_id": str})
    frame.to_sql("of_pandas", engine, if_exists="append", index=False, chunksize=50_000)
    seconds = time.perf_counter() - started
    _check(job, "of_pandas")
    return seconds


def main() -> None:
    """Do the named job, then print seconds and peak memory; or print the lines rejected."""
    # Switch off the telemetry of dlt and sling.
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    if sys.argv[1] == rejects.__name__:
        print(json.dumps(rejects(*sys.argv[2:])))
        return
    job = json.load(sys.stdin)
    seconds = cast("Callable[[Job], float]", globals()[sys.argv[1]])(job)
    print(json.dumps({"seconds": seconds, "peak_mb": _peak_kb() * 1024 / 1e6}))


def _peak_kb() -> int:
    """Peak memory of this process or of a program it started."""
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    status = Path("/proc/self/status")
    # Not ru_maxrss of this process, which starts with the memory of its parent.
    found = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.exists() else None
    return max(child, int(found[1]) if found else 0)


_IS_KEYED = (
    "SELECT EXISTS (SELECT FROM pg_index JOIN pg_attribute ON attrelid = indrelid"
    " AND attnum = indkey[0] WHERE indrelid = '{}'::regclass AND indisunique AND indnatts = 1"
    " AND attname = 'user_id')"
)


def _check(job: Job, table: str) -> None:
    """Check that the table is equivalent to ours: all current rows, and a key.

    A tool that loads fewer rows, or two rows of one user, fails.
    """
    import psycopg2

    with psycopg2.connect(job["database_url"]) as connection, connection.cursor() as cursor:

        def ask(question: str) -> Any:
            cursor.execute(question)
            return cursor.fetchone()[0]

        _check_rows(job, table, ask(f"SELECT count(*) FROM {table}"))
        if not ask(_IS_KEYED.format(table)):
            raise RuntimeError(f"{table} has no unique index on user_id")
        if job["version"] != "0":
            renamed = f"SELECT count(*) FROM {table} WHERE last_name LIKE '%-{job['version']}'"
            if ask(renamed) != -(-int(job["rows"]) // 100):
                raise RuntimeError(f"{table} does not hold the rows that changed")


def _check_rows(job: Job, table: str, count: int) -> None:
    if count != int(job["rows"]):
        raise RuntimeError(f"{count} rows in {table}, not {job['rows']}")


if __name__ == "__main__":
    main()
