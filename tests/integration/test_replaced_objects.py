"""Objects of every format that are replaced or removed while a run reads them in parts."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, text

from etl.model.formats import Compression
from etl.model.values import Trigger
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.sync import batch, grouping, stream
from etl.sync.manager import DataManager
from etl.verify import verify
from tests.compressed import compressed
from tests.conftest import TestBucket
from tests.sample_datasets import READINGS
from tests.workbooks import workbook

READ = replace(READINGS, include=("sensors/**",))
ROWS = 400


def csv(name: str, rows: int) -> bytes:
    lines = [f"{name}{number},{number}.5" for number in range(rows)]
    return "\n".join(["sensor,celsius", *lines, ""]).encode()


def ndjson(name: str, rows: int) -> bytes:
    return b"".join(
        b'{"sensor": "%s%d", "celsius": %d.5}\n' % (name.encode(), number, number)
        for number in range(rows)
    )


def parquet(name: str, rows: int) -> bytes:
    content = io.BytesIO()
    sensors = [f"{name}{number}" for number in range(rows)]
    table = pa.table({"sensor": sensors, "celsius": [float(number) for number in range(rows)]})
    pq.write_table(table, content, row_group_size=100)
    return content.getvalue()


def sheet(name: str, rows: int) -> bytes:
    return workbook([("sensor", "celsius"), *((f"{name}{n}", n) for n in range(rows))])


def packed(make: Callable[[str, int], bytes], by: Compression) -> Callable[[str, int], bytes]:
    return lambda name, rows: compressed(make(name, rows), by)


FORMATS: dict[str, Callable[[str, int], bytes]] = {
    "csv": csv,
    "csv.gz": packed(csv, Compression.GZIP),
    "csv.zip": packed(csv, Compression.ZIP),
    "ndjson.zst": packed(ndjson, Compression.ZSTD),
    "parquet": parquet,
    "parquet.bz2": packed(parquet, Compression.BZIP2),
    "xlsx": sheet,
    "xlsx.zip": packed(sheet, Compression.ZIP),
}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch):
    """Read each object alone, in parts of 100 bytes."""
    monkeypatch.setattr(batch, "MAX_BYTES", 500)
    monkeypatch.setattr(grouping, "MAX_EXPANDED_BYTES", 500)
    monkeypatch.setattr(stream, "PART_BYTES", 100)


@pytest.fixture
def after_part(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], None]:
    """Lets something happen once, after so many parts were fetched."""

    def plan(number: int, act: Callable[[], object]) -> None:
        get, taken = vars(ObjectStore)["_get"], []

        def counted(*words: object) -> object:
            found = get(*words)
            taken.append(words)
            if len(taken) == number:
                act()
            return found

        monkeypatch.setattr(ObjectStore, "_get", counted)

    return plan


@pytest.mark.parametrize("name", FORMATS)
def test_an_object_replaced_while_read_has_the_rows_of_its_new_version(
    bucket: TestBucket,
    settings: Settings,
    engine: Engine,
    after_part: Callable[[int, Callable[[], object]], None],
    *,
    name: str,
):
    key, make = f"sensors/a/1.{name}", FORMATS[name]
    bucket.put(key, make("old", ROWS))
    manager = DataManager(settings, datasets=(READ,))
    after_part(3, lambda: bucket.put(key, make("new", ROWS + 1)))
    counts = manager.run(Trigger.CLI).dataset_counts["readings"]
    assert (counts.inserted, counts.rows_rejected) == (ROWS + 1, 0)
    with engine.connect() as connection:
        found = text("SELECT count(*) FILTER (WHERE sensor ~ '^new'), count(*) FROM \"Readings\"")
        assert tuple(connection.execute(found).one()) == (ROWS + 1, ROWS + 1)
    assert verify(settings, engine, datasets=(READ,)) == []
    assert manager.run(Trigger.CLI).counts.objects_changed == 0


@pytest.mark.parametrize("name", ["csv.zip", "ndjson.zst", "parquet", "xlsx"])
def test_an_object_removed_while_read_leaves_nothing(
    bucket: TestBucket,
    settings: Settings,
    engine: Engine,
    after_part: Callable[[int, Callable[[], object]], None],
    *,
    name: str,
):
    key, make = f"sensors/a/1.{name}", FORMATS[name]
    bucket.put(key, make("old", ROWS))
    manager = DataManager(settings, datasets=(READ,))
    manager.run(Trigger.CLI)
    bucket.put(key, make("changed", ROWS))
    after_part(2, lambda: bucket.remove(key))
    report = manager.run(Trigger.CLI, allowed_retirements={"readings": None})
    assert report.dataset_counts["readings"].retired == ROWS
    assert verify(settings, engine, datasets=(READ,)) == []
    assert manager.run(Trigger.CLI).counts.objects_changed == 0
