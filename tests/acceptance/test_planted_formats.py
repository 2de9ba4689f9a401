"""The documented dataset `readings` in every format and compression, with planted faults.

What is expected was computed when the files were written, without the product's readers.
"""

from __future__ import annotations

import bz2
import gzip
from collections import Counter
from pathlib import Path

import pytest
import zstandard
from sqlalchemy import Engine

from etl.settings import Settings
from tests import readings_data
from tests.acceptance.test_planted_faults import (
    Command,
    Files,
    check_nothing_changes,
    check_objects,
    command,
    orders_of,
    put,
    reported,
    rows,
    users_of,
)
from tests.compressed import zipped
from tests.conftest import TestBucket
from tests.dataset_files import encoded
from tests.planted import PlantedFile
from tests.readings_data import valid_file

__all__ = ["command"]  # a fixture

MORE = """
[datasets.more]
include = ["more/*/*"]
path_columns = "more/{site}/*"
schema = { fields = [
  { name = "sensor", type = "string", constraints = { required = true } },
  { name = "measured_at", type = "datetime", constraints = { required = true } },
  { name = "celsius", type = "number", sql = "double precision" },
] }
"""
PACKERS = {
    "": lambda content: content,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": zstandard.ZstdCompressor().compress,
    ".zip": lambda content: zipped({"data": content}),
}
MAKERS = {
    "csv": readings_data.csv_file,
    "tsv": readings_data.tsv_file,
    "ndjson": readings_data.ndjson_file,
    "json": readings_data.json_file,
    "parquet": readings_data.parquet_file,
    "xlsx": readings_data.xlsx_file,
}
VALID_ROWS = (100, 101, 1_000)  # small files are read together
OF_EACH = pytest.mark.parametrize(
    "of_each",
    [2, pytest.param(1_000, marks=[pytest.mark.long, pytest.mark.timeout(1_800)])],
)


def readings_of(of_each: int) -> Files:
    """The objects of `readings`; a file's first 1,000 problems are stored one by one."""
    per_file = min(of_each, 40)
    count = of_each // per_file
    files: Files = {}
    for number in range(count):
        files[f"sensors/Ulm/{number}.parquet"] = readings_data.parquet_file(per_file, "Ulm")
        files[f"sensors/Ulm/t{number}.parquet"] = readings_data.typed_parquet_file(per_file, "Ulm")
        files[f"sensors/Bonn/a/{number}.ndjson"] = readings_data.ndjson_file(per_file, "Bonn")
        packed = readings_data.ndjson_file(per_file, "Bonn")
        packed.content = PACKERS[".zst"](packed.content)
        files[f"sensors/Bonn/b/{number}.ndjson.zst"] = packed
    for size in VALID_ROWS:
        files[f"sensors/Bonn/c/{size}.ndjson"] = valid_file(size, "Bonn")
    for key in ("sensors/Ulm/more.parquet", "sensors/Bonn/more.ndjson.zst"):
        files[key] = with_more(key)
    return files


def with_more(key: str) -> PlantedFile:
    """A file of one row with a column that no dataset declares."""
    sensor, moment, celsius, _ = values = readings_data.reading(1, key.split("/")[1])
    header, cells = [*readings_data.COLUMNS, " Battery"], [moment.isoformat(), str(celsius), "81"]
    line = 1
    return PlantedFile(encoded(key, header, [[sensor, *cells]]), {line: values})


def half_packed(files: Files) -> Files:
    """Every second file compressed, as the declaration of orders allows."""
    found: Files = {}
    for number, (key, file) in enumerate(files.items()):
        if number % 2:
            file.content = PACKERS[".gz"](file.content)
        found[f"{key}.gz" if number % 2 else key] = file
    return found


def packed_of(of_each: int) -> Files:
    """A file of each format in each compression."""
    per_file = min(of_each, 40)
    files: Files = {}
    for name, make in MAKERS.items():
        for ending, pack in PACKERS.items():
            file = make(per_file, "Linz")
            file.content = pack(file.content)
            files[f"more/Linz/{name}.{name}{ending}"] = file
    for size in VALID_ROWS:
        files[f"more/Linz/{size}.json"] = valid_file(size, "Linz", is_array=True)
    return files


def check_readings(engine: Engine, table: str, files: Files) -> None:
    found = {
        (key, line): tuple(values)
        for key, line, *values in rows(
            engine,
            f"SELECT _source_key, _source_line, sensor, measured_at, celsius, site FROM {table}",
        )
    }
    assert found == {
        (key, line): values for key, file in files.items() for line, values in file.rows.items()
    }


@OF_EACH
def test_all_documented_datasets_are_loaded_and_every_fault_reported(  # noqa: PLR0913, PLR0917
    of_each: int,
    command: Command,
    bucket: TestBucket,
    engine: Engine,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    declaration = tmp_path / "datasets.toml"
    declaration.write_text((Path(__file__).parents[1] / "datasets.toml").read_text() + MORE)
    monkeypatch.setenv("DATASETS_FILE", str(declaration))
    others = half_packed(orders_of(min(of_each, 2))) | users_of(min(of_each, 2))
    readings, more = readings_of(of_each), packed_of(of_each)
    everything = others | readings | more
    put(bucket, everything)

    assert command("run").exit_code == 0

    check_readings(engine, "readings", readings)
    assert rows(engine, "SELECT battery FROM readings WHERE battery IS NOT NULL") == [("81",)] * 2
    check_readings(engine, "more", more)
    assert Counter(problem[:4] for problem in reported(engine)) == Counter(
        (key, one.line, one.column, one.code)
        for key, file in everything.items()
        for one in file.found
    )
    check_objects(engine, everything)
    check_nothing_changes(command, engine, settings)
