"""Arrow is imported without pandas, which only times after 2037 need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
READ = """
import sys
from datetime import UTC, date, datetime
from etl.runtime.arrow import import_arrow

import_arrow()
from etl.model.dataset import USERS, Field, FieldType
from etl.model.values import Change, ChangeKind, SourceFile, SourceObject
from etl.sync import batch, stream
from etl.sync.reading import BucketReading

content = b"first_name,last_name,birthts\\nAnn,Lee,0\\n,Lee,x\\n"
source = SourceObject("1.csv", "e", len(content), datetime.now(UTC))
reading = BucketReading.of((USERS,), "bucket", date(2026, 1, 1))
found = batch.Fetched([Change(ChangeKind.ADDED, source)], {"1.csv": SourceFile(source, content)})
done = batch.check(found, reading)
print(done.row_count, len(done.problems), "pandas" in sys.modules)

import pandas as pd
import pyarrow as pa
from etl.read.types import check_column

times = pa.array(["2050-07-01 12:00:00", "2050-12-01 12:00:00"], pa.large_string())
texts = pa.chunked_array([times])
field = Field(name="at", type=FieldType.DATETIME, timezone="Europe/Berlin")
print(check_column(texts, field, ("",), date(2026, 1, 1)).values.to_pylist())
"""


def test_reading_csvs_does_not_import_pandas():
    done = subprocess.run(
        [sys.executable, "-c", READ], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == [
        "1 2 False",
        "['2050-07-01 10:00:00.000000+00', '2050-12-01 11:00:00.000000+00']",
    ], done.stderr
