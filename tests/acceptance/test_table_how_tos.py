"""The how-to guides of declared tables, run as printed, in one folder."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.documents import Shell, guide_steps, run_steps, shell_next_to_up
from tests.workbooks import saved

# The first page begins the file of declarations to which the others add.
PAGES = (
    "load-your-own-table",
    "change-a-dataset",
    "map-other-headers",
    "load-several-tables",
    "load-readings",
    "load-a-parquet-lake",
    "load-excel-files",
    "load-json",
)


def invoices() -> bytes:
    """The workbook that load-excel-files.md shows."""
    book = openpyxl.Workbook()
    notes = book.active
    assert notes is not None
    notes.append(["Read me"])
    sheet = book.create_sheet("Invoices")
    for row in (
        ["Invoices of March"],
        [],
        ["Invoice No", "Date", "Amount", "Paid"],
        ["R-001", date(2026, 3, 2), 1299.5, True],
        ["R-002", date(2026, 3, 3), 20, False],
    ):
        sheet.append(row)
    return saved(book)


def make_lake(folder: Path) -> None:
    """The files that load-a-parquet-lake.md names."""
    for month in (1, 2):
        path = folder / f"trips/year=2026/month={month:02}/part-0.parquet"
        path.parent.mkdir(parents=True)
        table = pa.table(
            {
                "trip_id": [month * 10 + 1, month * 10 + 2],
                "km": [3.5, 12.25],
                "started_at": [datetime(2026, month, day, 8, tzinfo=UTC) for day in (1, 2)],
                "stops": [["harbor", "museum"], []],
            }
        )
        pq.write_table(table, path)


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    """A shell next to `up`, in a folder with the files that the reader of the guides has."""
    with shell_next_to_up() as shell:
        (shell.folder / "invoices.xlsx").write_bytes(invoices())
        make_lake(shell.folder / "lake")
        yield shell


def test_examples_of_the_guides_print_what_they_show(shell: Shell):
    for page in PAGES:
        run_steps(shell, guide_steps(f"docs/how-to/{page}.md"))
