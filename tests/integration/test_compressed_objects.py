"""Compressed objects in a bucket: small ones together, large ones in parts, faulty ones alone."""

from __future__ import annotations

import gzip
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from etl.model.formats import Compression
from etl.model.values import Trigger
from etl.settings import Settings
from etl.sync import grouping
from etl.sync.manager import DataManager
from tests.compressed import compressed
from tests.conftest import TestBucket
from tests.sample_datasets import READINGS

READ = replace(READINGS, include=("sensors/**",))
HEADER = b"sensor,celsius\n"


def rows(name: str, count: int) -> bytes:
    return HEADER + b"".join(b"%s%d,%d.5\n" % (name.encode(), n, n % 40) for n in range(count))


@pytest.mark.parametrize("most_bytes", [grouping.MAX_EXPANDED_BYTES, 5_000], ids=["small", "large"])
def test_compressed_objects_become_the_rows_of_their_content(
    bucket: TestBucket,
    settings: Settings,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    most_bytes: int,
):
    monkeypatch.setattr(grouping, "MAX_EXPANDED_BYTES", most_bytes)
    for one in Compression:
        bucket.put(f"sensors/a/{one}.csv.{one}", compressed(rows(one, 300), one))
    bucket.put("sensors/a/plain.csv", rows("plain", 300))
    bucket.put("sensors/a/cut.csv.gz", gzip.compress(rows("cut", 300))[:-9])
    bucket.put("sensors/a/twice.csv.gz", gzip.compress(gzip.compress(rows("twice", 9))))
    bucket.put("sensors/a/named.csv", gzip.compress(rows("named", 9)))
    manager = DataManager(settings, datasets=[READ])
    report = manager.run(Trigger.CLI)
    assert report.counts.rows_loaded == 1_500
    assert report.counts.objects_quarantined == 3
    with engine.begin() as connection:
        found = connection.execute(
            text('SELECT _source_key, count(*), max(_source_line) FROM "Readings" GROUP BY 1')
        ).all()
        problems = connection.execute(
            text("SELECT key, code FROM bucketline.problem ORDER BY 1")
        ).all()
    assert {tuple(row[1:]) for row in found} == {(300, 301)}
    assert len(found) == 5
    assert [tuple(row) for row in problems] == [
        ("sensors/a/cut.csv.gz", "corrupt-archive"),
        ("sensors/a/named.csv", "wrong-format"),
        ("sensors/a/twice.csv.gz", "wrong-format"),
    ]
    assert manager.run(Trigger.CLI).counts.objects_changed == 0


def test_a_large_compressed_object_is_read_in_parts(
    bucket: TestBucket, settings: Settings, engine: Engine
):
    count = 120_000
    bucket.put("sensors/a/1.csv.gz", gzip.compress(rows("t", count)))
    bucket.put("sensors/a/2.csv.zst", compressed(rows("u", count)[:-3], Compression.ZSTD)[:-40])
    manager = DataManager(settings, datasets=[READ])
    report = manager.run(Trigger.CLI)
    assert report.counts.rows_loaded == count
    assert report.counts.objects_quarantined == 1
    with engine.begin() as connection:
        lines = connection.execute(text('SELECT max(_source_line) FROM "Readings"')).scalar()
    assert lines == count + 1
