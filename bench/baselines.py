"""Other tools, each loading the same bucket into the same PostgreSQL.

This module runs in bench/.venv, which has none of our packages: `python -m bench.baselines NAME`
reads a job as JSON from standard input and prints {"seconds": …}. Imports are not counted; a
program that is started for the work (sling) is.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bench.clients import (
    CHUNK_BYTES,
    LINEAGE,
    Job,
    check,
    dlt_load,
    duckdb_client,
    insert,
    postgres,
    s3,
    s3_stream,
    sling,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

KEYED = (
    "CREATE TABLE {} (user_id text PRIMARY KEY, first_name text, last_name text, birthts bigint)"
)


# -- DuckDB


_TYPES = (
    "columns={'user_id': 'VARCHAR', 'first_name': 'VARCHAR', 'last_name': 'VARCHAR',"
    " 'birthts': 'BIGINT'}"
)
_TINY_TYPES = "columns={'first_name': 'VARCHAR', 'last_name': 'VARCHAR', 'birthts': 'BIGINT'}"


def _big(job: Job) -> str:
    return f"SELECT * FROM read_csv('s3://{job['bucket']}/{job['key']}', header=true, {_TYPES})"


def duckdb_postgres(job: Job) -> float:
    """The big CSV into PostgreSQL, keyed by user_id."""
    postgres(job, "DROP TABLE IF EXISTS of_duckdb", KEYED.format("of_duckdb"), "CHECKPOINT")
    return insert(job, duckdb_client(job), "pg.public.of_duckdb", _big(job))


def duckdb_alike(job: Job) -> float:
    """The big CSV into a table with the columns and indexes of `users`."""
    table = "CREATE TABLE alike (LIKE users INCLUDING ALL)"
    postgres(job, "DROP TABLE IF EXISTS alike", table, "CHECKPOINT")
    columns = "user_id, first_name, last_name, birthts"
    source = (
        f"SELECT {columns}, '{job['key']}', 2, 1, TIMESTAMPTZ '2026-01-01 00:00:00+00'"
        f" FROM ({_big(job)})"
    )
    return insert(job, duckdb_client(job), "pg.public.alike", source, f"({columns}, {LINEAGE})")


def duckdb_own(job: Job) -> float:
    """The big CSV into a table of DuckDB's own, in a file, keyed by user_id."""
    with tempfile.TemporaryDirectory() as folder:
        connection = duckdb_client(job)
        connection.execute(f"ATTACH '{folder}/own.duckdb' AS own")
        connection.execute(KEYED.format("own.users"))
        return insert(job, connection, "own.users", _big(job))


def duckdb_glob(job: Job) -> float:
    """Every CSV of the bucket into PostgreSQL, keyed by the name of its object."""
    postgres(job, "DROP TABLE IF EXISTS of_duckdb", KEYED.format("of_duckdb"), "CHECKPOINT")
    source = (
        "SELECT parse_filename(filename, true), trim(first_name), trim(last_name), birthts"
        f" FROM read_csv('s3://{job['bucket']}/*.csv', filename=true, header=true, delim=',',"
        f" {_TINY_TYPES})"
    )
    return insert(job, duckdb_client(job), "pg.public.of_duckdb", source)


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
    postgres(job, "DROP TABLE IF EXISTS of_duckdb", job["table"].format("of_duckdb"), "CHECKPOINT")
    columns = ", ".join(_ORDER_TYPES)
    cells = columns.replace("updated_at", "timezone('Europe/Berlin', updated_at)")
    source = (
        f"SELECT {cells}, '{job['key']}', 2, 1, TIMESTAMPTZ '2026-01-01 00:00:00+00'"
        f" FROM {read_orders('s3://' + job['bucket'] + '/' + job['key'])}"
    )
    return insert(job, duckdb_client(job), "pg.public.of_duckdb", source, f"({columns}, {LINEAGE})")


def duckdb_readings(job: Job) -> float:
    """The Parquet or NDJSON file of readings into a table like ours; `table` creates it."""
    postgres(job, "DROP TABLE IF EXISTS of_duckdb", job["table"].format("of_duckdb"), "CHECKPOINT")
    place = f"s3://{job['bucket']}/{job['key']}"
    if job["key"].endswith(".parquet"):
        line, read = "file_row_number", f"read_parquet('{place}', file_row_number=true)"
    else:
        line, read = "row_number() OVER ()", f"read_ndjson('{place}', columns={_READING_TYPES})"
    columns = ", ".join(_READING_TYPES)
    source = (
        f"SELECT {columns}, 'berlin', '{job['key']}', {line}, 1,"
        f" TIMESTAMPTZ '2026-01-01 00:00:00+00' FROM {read}"
    )
    return insert(
        job, duckdb_client(job), "pg.public.of_duckdb", source, f"({columns}, site, {LINEAGE})"
    )


_READING_TYPES = {"sensor": "VARCHAR", "measured_at": "TIMESTAMPTZ", "celsius": "DOUBLE"}


# -- sling


def sling_full(job: Job) -> float:
    """The big CSV into a table of PostgreSQL that is made for it, keyed by user_id."""
    postgres(job, "DROP TABLE IF EXISTS of_sling", "CHECKPOINT")
    return sling(job, "full-refresh", "user_id")


def sling_incremental(job: Job) -> float:
    """The big CSV again, merged by user_id into the table of `sling_full`."""
    postgres(job, "CHECKPOINT")
    return sling(job, "incremental", "user_id")


def sling_orders(job: Job) -> float:
    """One CSV of orders into a table that is made for it, keyed by order_id."""
    postgres(job, "DROP TABLE IF EXISTS of_sling", "CHECKPOINT")
    return sling(job, "full-refresh", "order_id", {"delimiter": ";"})


def sling_readings(job: Job) -> float:
    """The NDJSON file of readings into a table that is made for it, without a key.

    For Parquet, sling downloads a program of DuckDB, so that it is not measured.
    """
    postgres(job, "DROP TABLE IF EXISTS of_sling", "CHECKPOINT")
    return sling(job, "full-refresh", "", {"format": "jsonlines", "flatten": True})


# -- dlt and pandas


def dlt_arrow(job: Job) -> float:
    """The big CSV as Arrow batches through dlt, keyed by user_id."""
    import pyarrow as pa
    from pyarrow import csv

    types = {"user_id": pa.string(), "birthts": pa.int64()}

    def batches() -> Iterator[Any]:
        options = csv.ReadOptions(block_size=CHUNK_BYTES)
        convert = csv.ConvertOptions(column_types=types)
        yield from csv.open_csv(s3_stream(job), read_options=options, convert_options=convert)

    return dlt_load(job, batches, "users", "user_id")


def dlt_orders(job: Job) -> float:
    """One CSV of orders as Arrow batches through dlt, keyed by order_id.

    Amounts lose their groups, which Arrow does not read. Times stay without a zone.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    types = {
        "order_id": pa.string(),
        "user_id": pa.string(),
        "amount": pa.string(),
        "updated_at": pa.timestamp("s"),
        "article": pa.int64(),
        "weight": pa.float64(),
    }

    def batches() -> Iterator[Any]:
        found = csv.open_csv(
            s3_stream(job),
            csv.ReadOptions(block_size=CHUNK_BYTES),
            csv.ParseOptions(delimiter=";"),
            csv.ConvertOptions(
                column_types=types, decimal_point=",", timestamp_parsers=["%d.%m.%Y %H:%M:%S"]
            ),
        )
        for batch in found:
            plain = pc.replace_substring(pc.replace_substring(batch["amount"], ".", ""), ",", ".")
            place = batch.schema.get_field_index("amount")
            yield batch.set_column(place, "amount", plain.cast(pa.decimal128(12, 2)))

    return dlt_load(job, batches, "orders", "order_id")


def dlt_readings(job: Job) -> float:
    """The file of readings as Arrow batches through dlt, without a key."""
    import pyarrow as pa
    from pyarrow import json as arrow_json
    from pyarrow import parquet

    schema = pa.schema(
        {
            "sensor": pa.string(),
            "measured_at": pa.timestamp("us", tz="UTC"),
            "celsius": pa.float64(),
        }
    )

    def batches() -> Iterator[Any]:
        if job["key"].endswith(".parquet"):
            file = s3(job).open_input_file(f"{job['bucket']}/{job['key']}")
            yield from parquet.ParquetFile(file).iter_batches()
            return
        yield from arrow_json.open_json(
            s3_stream(job),
            arrow_json.ReadOptions(block_size=CHUNK_BYTES),
            arrow_json.ParseOptions(explicit_schema=schema),
        )

    return dlt_load(job, batches, "readings")


def pandas_to_sql(job: Job) -> float:
    """The big CSV through a data frame, `to_sql`, into a table keyed by user_id."""
    import pandas as pd
    from sqlalchemy import create_engine

    postgres(job, "DROP TABLE IF EXISTS of_pandas", KEYED.format("of_pandas"), "CHECKPOINT")
    engine = create_engine(job["database_url"].replace("postgresql:", "postgresql+psycopg2:"))
    started = time.perf_counter()
    frame = pd.read_csv(s3_stream(job), dtype={"user_id": str})
    frame.to_sql("of_pandas", engine, if_exists="append", index=False, chunksize=50_000)
    seconds = time.perf_counter() - started
    check(job, "of_pandas")
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


if __name__ == "__main__":
    main()
