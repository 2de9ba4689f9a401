"""Describe files in memory, and check them against the printed declaration."""

from __future__ import annotations

import io
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path

import openpyxl

from etl.cli.describing import Described, Existing, Sampled, describe_objects, named_place
from etl.model.dataset import FieldType
from etl.model.values import SourceObject
from etl.read.check import check_object
from etl.read.describe.block import DatasetPlace
from etl.read.describe.place import include_of
from etl.settings import Settings
from etl.settings.datasets_file import read_datasets

SETTINGS = Settings(_env_file=None)
MODIFIED = datetime(2026, 1, 1, tzinfo=UTC)
TODAY = date(2026, 1, 1)


def sampled(key: str, content: bytes) -> Sampled:
    parts = [content] if content else []
    return Sampled(SourceObject(key, "", len(content), MODIFIED), lambda: parts)


NO_FILE = Existing()


def described(files: dict[str, bytes], *, before: Existing = NO_FILE, **more: str) -> Described:
    place = DatasetPlace(name="", include=include_of(list(files)), **more)
    place = named_place(place, before, list(files))
    return describe_objects(
        [sampled(key, content) for key, content in files.items()], place, SETTINGS, before
    )


def errors_of(found: Described, files: dict[str, bytes]) -> list[str]:
    """The errors that `check` finds in the files with the printed declaration."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "datasets.toml"
        path.write_text(found.text, "utf-8")
        (dataset,) = read_datasets(path, SETTINGS)
    assert dataset == found.dataset
    problems = []
    for key, content in files.items():
        one = sampled(key, content)
        problems += check_object(one.source, dataset, one.parts, TODAY).problems
    return [f"{one.code} {one.column} {one.value}" for one in problems if one.severity == "error"]


def fields(found: Described) -> dict[str, FieldType]:
    return {one.name: one.type for one in found.dataset.fields}


def workbook(rows: list[list[object]]) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()
