"""What the tests of NDJSON and JSON share: files, and their rows by each path of the reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from unittest.mock import patch

from etl.model.dataset import Dataset, Field
from etl.model.errors import RefusedObject
from etl.model.values import Problem, SourceFile, SourceObject
from etl.read.formats import read_files, read_object
from etl.read.json import typed
from etl.read.rows.extract import Extract, joined, refused_extract
from etl.read.rows.layout import AddedColumns
from etl.read.validate import validate
from etl.sync.copy_text import copy_text

TODAY = date(2026, 1, 1)


@dataclass(frozen=True)
class Reading:
    """The outcome of a file: the text of COPY, columns, problems, and rows read and rejected."""

    rows: bytes
    columns: tuple[str, ...]
    problems: list[Problem]
    counts: tuple[int, int]
    added: frozenset[str]


def source_file(content: bytes | str, key: str = "a.ndjson") -> SourceFile:
    body = content.encode() if isinstance(content, str) else content
    return SourceFile(SourceObject(key, "etag", len(body), datetime(2026, 1, 1, tzinfo=UTC)), body)


def dataset_of(*fields: Field, **options: Any) -> Dataset:
    return Dataset(name="items", table="items", include=("**",), fields=fields, **options)


def parts_of(content: bytes, sizes: Sequence[int]) -> list[bytes]:
    """The content, cut into parts of these sizes in turn."""
    parts, start = [], 0
    while start < len(content):
        end = start + sizes[len(parts) % len(sizes)]
        parts.append(content[start:end])
        start = end
    return parts


def extract_of(file: SourceFile, dataset: Dataset, sizes: Sequence[int] | None = None) -> Extract:
    """The rows of a file that is read at once, or in parts."""
    if sizes is None:
        (found,) = read_files([file], dataset, AddedColumns())
        return found
    try:
        parts = parts_of(file.content, sizes)
        return joined(list(read_object(file.source, dataset, AddedColumns(), parts)))
    except RefusedObject as refused:
        return refused_extract(file.source, dataset, refused)


def reading_of(
    file: SourceFile, dataset: Dataset, sizes: Sequence[int] | None = None, *, is_fast: bool
) -> Reading:
    """The outcome of a file by the fast path where it can be used, or without it."""
    with patch.object(typed, "LEAST_BYTES", 1 if is_fast else 1 << 40):
        found = extract_of(file, dataset, sizes)
    key = file.source.key
    checked = validate(found.rows, dataset, {key: "etag"}, TODAY)
    rejected = found.rows_rejected.get(key, 0) + checked.rows_rejected.get(key, 0)
    problems = [*found.problems, *checked.problems]
    return Reading(
        copy_text(checked.rows),
        tuple(sorted(checked.rows.column_names)),
        sorted(problems, key=lambda one: (one.line or 0, one.column or "", one.code)),
        (found.rows_read[key], rejected),
        frozenset(found.added),
    )
