"""Published files have the cells and types of the API's CSV and Parquet, for each column type."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from flask.testing import FlaskClient
from pyarrow import parquet

from etl.model.types import COLUMN_TRAITS, sql_type
from etl.model.values import Trigger
from etl.settings import Settings
from etl.sync.manager import DataManager
from tests.conftest import TestBucket
from tests.integration.test_dataset_rows_api import KINDS

PUBLISHED = replace(KINDS, publish=("kinds.csv", "kinds.parquet"), derived=KINDS.derived[:1])
COLUMNS = (*KINDS.field_names, "born_on")
FULL = (
    "a,1152921504606846976,1234567890123456789012.50,12.5,0.1,0.1,TRUE,2026-01-31,13:45:00.5,"
    "2026-01-31T13:45:00.25+02:00,2026-01-31 13:45,2026,01234567-89AB-cdef-0123-456789abcdef,ab,"
    '"[1, ""two""]",645408000000'
)
EMPTY = "b" + "," * (len(KINDS.fields) - 1)
FILE = ",".join(KINDS.field_names) + f"\n{FULL}\n{EMPTY}\n"


@pytest.fixture
def published(settings: Settings, bucket: TestBucket) -> TestBucket:
    """The processed bucket, after a run over a file with every type."""
    bucket.put("kinds/1.csv", FILE)
    DataManager(settings, datasets=(PUBLISHED,)).run(Trigger.CLI)
    found = TestBucket(settings)
    found.name = settings.processed_bucket
    return found


def test_every_column_type_is_compared():
    kept = {sql_type(one.type, one.sql).name for one in KINDS.fields}
    assert kept >= COLUMN_TRAITS.keys() - {"char", "smallint"}


def test_published_files_have_the_cells_of_the_api(published: TestBucket, client: FlaskClient):
    path = f"/datasets/kinds/rows?fields={','.join(COLUMNS)}&format="
    assert published.get("kinds.csv") == client.get(f"{path}csv").data
    of_api = parquet.read_table(io.BytesIO(client.get(f"{path}parquet").data))
    written = parquet.read_table(io.BytesIO(published.get("kinds.parquet")))
    assert written.equals(of_api)
    assert written.schema.equals(of_api.schema)


def test_a_published_file_is_read_as_the_same_rows(
    settings: Settings, bucket: TestBucket, published: TestBucket
):
    """Except for derived columns, which are not declared fields."""
    cells = [line.rpartition(",")[0] for line in published.get("kinds.csv").decode().splitlines()]
    assert "2026-01-31T11:45:00.250000Z" in cells[1]
    bucket.put("kinds/1.csv", "".join(f"{line}\n" for line in cells))
    found = DataManager(settings).run(Trigger.CLI).dataset_counts["kinds"]
    assert (found.rows_read, found.rows_unchanged) == (2, 2)
