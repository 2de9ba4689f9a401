"""Reading user CSVs: every encoding, line end and delimiter."""

from __future__ import annotations

import codecs
from datetime import UTC, datetime

import pytest

from etl.extract import Extract, parse
from etl.model import Severity, SourceFile, SourceObject

ROWS = [["Zoë", "Müller", "612302400000"], ["José", "Peña", "-1"]]
ENCODERS = {
    "utf-8": lambda text: text.encode(),
    "utf-8-bom": lambda text: codecs.BOM_UTF8 + text.encode(),
    "utf-16-le-bom": lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
    "utf-16-be-bom": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    "utf-16-le": lambda text: text.encode("utf-16-le"),
    "utf-16-be": lambda text: text.encode("utf-16-be"),
    "cp1252": lambda text: text.encode("cp1252"),
}


def read(content: bytes) -> Extract:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    return parse([SourceFile(SourceObject("1.csv", "e", len(content), when), content)])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", ", ", ";\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ENCODERS)
def test_every_encoding_line_end_and_delimiter_is_read(encoding: str, end: str, delimiter: str):
    lines = [["first_name", "last_name", "birthts"], *ROWS]
    text = end.join(delimiter.join(cells) for cells in lines) + end
    extract = read(ENCODERS[encoding](text))
    assert extract.rows[["first_name", "last_name", "birthts"]].to_numpy().tolist() == ROWS
    assert extract.rows["line"].tolist() == [2, 3]
    assert [p.code for p in extract.problems] == ["guessed-encoding"] * (encoding == "cp1252")


def test_mixed_line_ends_count_one_line_each():
    extract = read(b"first_name,last_name,birthts\r\na,b,1\rc,d,2\n\r\r\n\ne,f,3\r")
    assert extract.rows["line"].tolist() == [2, 3, 7]


def test_a_guess_is_a_warning_that_names_the_first_line_in_question():
    extract = read(b"first_name,last_name,birthts\r\nAnn,Lee,1\rRen\xe9,\x80uro,2\n\xe9,x,1\n")
    (problem,) = extract.problems
    assert problem.severity is Severity.WARNING
    assert problem.line is None
    assert "Line 3" in problem.note
    assert problem.value == "René,€uro,2"
    assert extract.rows["first_name"].tolist() == ["Ann", "René", "é"]


def test_a_guess_behind_a_utf8_mark_leaves_the_mark_out():
    extract = read(codecs.BOM_UTF8 + b"first_name,last_name,birthts\nRen\xe9,x,2\n")
    assert extract.rows["first_name"].tolist() == ["René"]


def test_a_mark_in_the_middle_is_a_character():
    extract = read("first_name,last_name,birthts\n\ufeffa,b,1\n".encode())
    assert extract.rows["first_name"].tolist() == ["\ufeffa"]


@pytest.mark.parametrize(
    "content",
    [
        codecs.BOM_UTF16_LE + b"odd",
        codecs.BOM_UTF16_LE + "first_name".encode("utf-16-le") + b"\x00\xd8",
        "first_name,last_name,birthts\n".encode("utf-16-be") + b"\xdc\x00",
    ],
)
def test_broken_utf16_is_undecodable(content: bytes):
    assert [problem.code for problem in read(content).problems] == ["undecodable"]


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("first_name;last_name;birthts;a,b", "; "),
        ("first_name,last_name;birthts", ", "),
        ("first_name\tlast_name\tbirthts", "\t "),
        ("first_name", ", "),
    ],
)
def test_the_most_frequent_delimiter_of_the_header_counts(header: str, found: str):
    problems = read(f"{header}\n{found[0].join('abcdef')}\n".encode()).problems
    wanted = {"; ": "long-row", "\t ": "long-row", ", ": "missing-column"}
    assert [problem.code for problem in problems] == [wanted[found]]
