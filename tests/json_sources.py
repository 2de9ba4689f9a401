"""What the tests of NDJSON and JSON share: files, and their rows by each path of the reader."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from unittest.mock import patch

from etl.model.dataset import Dataset, Field
from etl.model.errors import RefusedObject
from etl.model.values import Problem, SourceFile, SourceObject
from etl.read.columns import SOURCE_KEY
from etl.read.formats import expanded_parts, read_files, read_object
from etl.read.json import reader, typed
from etl.read.rows.extract import Extract, refused_extract, sort_problems
from etl.read.rows.layout import AddedColumns
from etl.read.types.numerals import canonical
from etl.read.validate import validate

TODAY = date(2026, 1, 1)


@dataclass(frozen=True)
class Reading:
    """The outcome of a file: its valid rows, problems, rows read and rejected, new columns."""

    rows: list[dict[str, object]]
    problems: list[Problem]
    counts: tuple[int, int]
    added: frozenset[str]


def source_file(content: bytes | str, key: str = "a.ndjson") -> SourceFile:
    body = content.encode() if isinstance(content, str) else content
    return SourceFile(SourceObject(key, "etag", len(body), datetime(2026, 1, 1, tzinfo=UTC)), body)


def dataset_of(*fields: Field, **options: Any) -> Dataset:  # noqa: ANN401 - those of Dataset
    return Dataset(name="items", table="items", include=("**",), fields=fields, **options)


def parts_of(content: bytes, sizes: Sequence[int]) -> list[bytes]:
    """The content, cut into parts of these sizes in turn."""
    parts, start = [], 0
    while start < len(content):
        end = start + sizes[len(parts) % len(sizes)]
        parts.append(content[start:end])
        start = end
    return parts


def extracts_of(
    file: SourceFile, dataset: Dataset, sizes: Sequence[int] | None = None
) -> list[Extract]:
    """The rows of a file that is read at once, or in parts."""
    if sizes is None:
        return read_files([file], dataset, AddedColumns())
    try:
        parts = expanded_parts(file.source, dataset, parts_of(file.content, sizes))
        return list(read_object(file.source, dataset, AddedColumns(), parts))
    except RefusedObject as refused:
        return [refused_extract(file.source, dataset, refused)]


def reading_of(
    file: SourceFile, dataset: Dataset, sizes: Sequence[int] | None = None, *, is_fast: bool
) -> Reading:
    """The outcome of a file by the fast path where it can be used, or without it."""
    with paths(is_fast=is_fast):
        return _reading(file, extracts_of(file, dataset, sizes), dataset)


def readings_together(files: Sequence[SourceFile], dataset: Dataset) -> list[Reading]:
    """The outcomes of small files that are read at once."""
    extracts = read_files(files, dataset, AddedColumns())
    return [
        _reading(file, [one for one in extracts if file.source.key in one.rows_read], dataset)
        for file in files
    ]


@contextmanager
def paths(*, is_fast: bool) -> Iterator[None]:
    """Use the fast path even for short texts, or never."""
    with (
        patch.object(typed, "LEAST_BYTES", 1 if is_fast else 1 << 40),
        patch.object(reader, "MOST_BYTES", reader.MOST_BYTES if is_fast else -1),
    ):
        yield


def _reading(file: SourceFile, extracts: Sequence[Extract], dataset: Dataset) -> Reading:
    key = file.source.key
    rows: list[dict[str, object]] = []
    problems: list[Problem] = []
    added: set[str] = set()
    read = rejected = 0
    for extract in extracts:
        etags = dict.fromkeys(extract.rows_read, "etag")
        checked = validate(extract.rows, dataset, etags, TODAY)
        rows += [_plain(row) for row in checked.rows.to_pylist() if row[SOURCE_KEY] == key]
        found = [*extract.problems, *checked.problems]
        problems += [problem for problem in found if problem.key == key]
        read += extract.rows_read[key]
        rejected += extract.rows_rejected.get(key, 0) + checked.rows_rejected.get(key, 0)
        added |= {*extract.added}
    return Reading(rows, sort_problems(problems), (read, rejected), frozenset(added))


def _plain(row: dict[str, object]) -> dict[str, object]:
    """A row as COPY takes it, without nulls: decimals are texts."""
    return {
        name: canonical(value) if isinstance(value, Decimal) else value
        for name, value in row.items()
        if value is not None
    }
