"""Headers below a title: declared by `headerRows`, and found for the hint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model.dataset import Dialect
from etl.model.values import SourceFile
from etl.read.check import check_object
from etl.read.csv import ChunkReader, parse, parse_fully
from etl.read.rows.extract import Extract, joined
from tests.reader_outcomes import source_of
from tests.sample_datasets import READINGS

READ = replace(READINGS, include=("**",), path_columns=None)
HEADER = "sensor;celsius\n"
LINES = st.sampled_from(
    [HEADER, "t1;1.5\n", "t2;2\r\n", "Readings 2024;;\n", "\n", ' "a\n', "x\n", "a;b;c\r", "é;1\n"]
)


def below(row: int) -> Dialect:
    return Dialect(header_row=row)


def file_of(text: str, encoding: str = "utf-8") -> SourceFile:
    content = text.encode(encoding)
    return SourceFile(source_of("a.csv", content), content)


def chunks(content: bytes, sizes: list[int]) -> Iterator[bytes]:
    at, turn = 0, 0
    while at < len(content):
        size = sizes[turn % len(sizes)]
        yield content[at : at + size]
        at, turn = at + size, turn + 1


def in_chunks(file: SourceFile, sizes: list[int], dialect: Dialect) -> Extract:
    reader = ChunkReader(file.source, replace(READ, dialect=dialect))
    return joined([*map(reader.read, chunks(file.content, sizes)), reader.finish()])


def summary(extract: Extract) -> tuple[object, ...]:
    return extract.rows.to_pylist(), extract.problems, extract.rows_read, extract.rows_rejected


@given(
    st.lists(LINES, max_size=30).map("".join),
    st.integers(1, 5),
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
    st.sampled_from(["utf-8", "utf-16", "cp1252"]),
)
def test_all_parsers_find_the_same_header(text: str, row: int, sizes: list[int], encoding: str):
    file, dialect = file_of(text, encoding), below(row)
    dataset = replace(READ, dialect=dialect)
    expected = summary(parse_fully([file], dataset))
    assert summary(parse([file], dataset)) == expected
    rows, problems, *counts = summary(in_chunks(file, sizes, dialect))
    expected_rows, expected_problems, *expected_counts = expected
    assert (rows, counts) == (expected_rows, expected_counts)
    assert sorted(map(repr, problems)) == sorted(map(repr, expected_problems))


def test_a_declared_header_row_is_read_with_true_lines():
    text = 'Readings of "2024\nby Ann;;\n' + HEADER + "t1;1.5\nt2;2\n"
    files = [file_of(text), replace_key(file_of(text), "b.csv")]
    extract = parse(files, replace(READ, dialect=below(3)))
    assert not extract.problems
    assert extract.rows["_source_line"].to_pylist() == [4, 5, 4, 5]
    assert extract.rows["sensor"].to_pylist() == ["t1", "t2"] * 2


def replace_key(file: SourceFile, key: str) -> SourceFile:
    return replace(file, source=replace(file.source, key=key))


@pytest.mark.parametrize("title", ["Readings\n\n", "Readings;;\nof 2024;;\n", "1;2\n3;4\n"])
def test_the_hint_names_the_line_of_the_header(title: str):
    file = file_of(title + HEADER + "t1;1.5\n")
    together = parse([file], READ).problems
    alone = check_object(file.source, READ, lambda: chunks(file.content, [3]), date(2026, 1, 1))
    for (problem,) in (together, alone.problems):
        assert problem.code == "missing-column"
    assert together == alone.problems
    is_title = not title.startswith("1")  # a row of numbers is rather data without a header
    assert ("Line 3 looks like the header." in together[0].note) == is_title
    assert ("`dialect = { headerRows = [3] }`" in together[0].note) == is_title


def test_a_header_far_below_is_not_searched():
    (problem,) = parse([file_of("Readings\n" + "\n" * 20 + HEADER)], READ).problems
    assert "looks like" not in problem.note
    (problem,) = parse([file_of("Readings\n" + "x" * 70_000 + "\n" + HEADER)], READ).problems
    assert "looks like" not in problem.note


def test_a_file_without_the_declared_row_is_empty():
    (problem,) = parse([file_of(HEADER)], replace(READ, dialect=below(2))).problems
    assert problem.code == "empty-file"
