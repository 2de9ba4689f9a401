"""Workbooks in a bucket become rows, also within archives, and faulty ones are quarantined."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import openpyxl
from sqlalchemy import Engine, text

from etl.model.dataset import Dialect, Field, FieldType
from etl.model.formats import Compression
from etl.model.values import Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from tests.compressed import compressed
from tests.conftest import TestBucket
from tests.sample_datasets import READINGS
from tests.workbooks import saved, workbook

READ = replace(
    READINGS,
    include=("sensors/**",),
    dialect=Dialect(header_row=3),
    sheet="Data",
    fields=(*READINGS.fields, Field(name="day", type=FieldType.DATE)),
)


def report(*rows: tuple[object, ...]) -> bytes:
    book = openpyxl.Workbook()
    book.active.title = "Cover"
    sheet = book.create_sheet("Data")
    for row in (("Readings",), (), ("Sensor", "Celsius", "Day", "note"), *rows):
        sheet.append(row)
    return saved(book)


def test_workbooks_become_rows(bucket: TestBucket, settings: Settings, engine: Engine):
    good = report(("t1", 1.5, date(2024, 1, 2), None), (7.0, "2.5", "2024-01-03", "x"))
    bucket.put("sensors/a/1.xlsx", good)
    bucket.put("sensors/a/2.xlsx.zip", compressed(good, Compression.ZIP))
    bucket.put("sensors/a/faulty.XLSX", report(("t1", 1, 45292, None), ("t2", "=1+1"), ("t3", 3)))
    bucket.put("sensors/a/other.xlsx", workbook([("sensor", "celsius"), ("t", 1)]))
    bucket.put("sensors/a/text.xlsx", b"sensor,celsius\nt,1\n")
    manager = DataManager(settings, datasets=[READ])
    found = manager.run(Trigger.CLI)
    assert (found.counts.rows_read, found.counts.rows_rejected) == (7, 2)
    assert found.counts.objects_quarantined == 2
    with engine.begin() as connection:
        rows = connection.execute(
            text(
                "SELECT _source_key, _source_line, sensor, celsius, day::text, _extra->>'note'"
                ' FROM "Readings" ORDER BY 1, 2'
            )
        ).all()
        problems = connection.execute(
            text("SELECT key, line, code FROM bucketline.problem ORDER BY 1, 2")
        ).all()
    expected = [(4, "t1", 1.5, "2024-01-02", None), (5, "7", 2.5, "2024-01-03", "x")]
    assert [tuple(row) for row in rows] == [
        *(("sensors/a/1.xlsx", *one) for one in expected),
        *(("sensors/a/2.xlsx.zip", *one) for one in expected),
        ("sensors/a/faulty.XLSX", 6, "t3", 3, None, None),
    ]
    assert [tuple(row) for row in problems] == [
        ("sensors/a/faulty.XLSX", 4, "not-a-date"),
        ("sensors/a/faulty.XLSX", 5, "formula-without-value"),
        ("sensors/a/other.xlsx", None, "unknown-sheet"),
        ("sensors/a/text.xlsx", None, "wrong-format"),
    ]
    assert manager.run(Trigger.CLI).counts.objects_changed == 0
