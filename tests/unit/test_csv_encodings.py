"""Parsing user CSVs: every encoding, line ending and delimiter."""

from __future__ import annotations

import codecs
from datetime import UTC, datetime

import pytest

from etl.model.dataset import USERS
from etl.model.values import Severity, SourceFile, SourceObject
from etl.read.csv import parse
from etl.read.rows.extract import Extract
from tests.arrow_rows import rows_of

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
    return parse([SourceFile(SourceObject("1.csv", "e", len(content), when), content)], USERS)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", ", ", ";\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ENCODERS)
def test_every_encoding_line_end_and_delimiter_is_read(encoding: str, end: str, delimiter: str):
    lines = [["first_name", "last_name", "birthts"], *ROWS]
    text = end.join(delimiter.join(cells) for cells in lines) + end
    extract = read(ENCODERS[encoding](text))
    assert rows_of(extract.rows, "first_name", "last_name", "birthts") == ROWS
    assert extract.rows["_source_line"].to_pylist() == [2, 3]
    assert [p.code for p in extract.problems] == ["guessed-encoding"] * (encoding == "cp1252")


def test_mixed_line_ends_count_one_line_each():
    extract = read(b"first_name,last_name,birthts\r\na,b,1\rc,d,2\n\r\r\n\ne,f,3\r")
    assert extract.rows["_source_line"].to_pylist() == [2, 3, 7]


def test_a_guess_is_one_warning_that_names_the_lines():
    extract = read(b"first_name,last_name,birthts\r\nAnn,Lee,1\rRen\xe9,\x80uro,2\n\xe9,x,1\n")
    (problem,) = extract.problems
    assert problem.severity is Severity.WARNING
    assert problem.line is None
    assert problem.note.startswith("Lines 3 and 4 are not valid UTF-8, so read as cp1252.")
    assert problem.value == "René,€uro,2"
    assert extract.rows["first_name"].to_pylist() == ["Ann", "René", "é"]


def test_one_line_in_cp1252_leaves_the_others_in_utf_8():
    rows = "user_id,first_name,last_name,birthts\nm1,Zoë,Müller,1\nm2,José,Núñez,2\n".encode()
    extract = read(rows + b"m3,Ren\xe9,Lee,3\n")
    assert extract.rows["first_name"].to_pylist() == ["Zoë", "José", "René"]
    assert extract.rows["last_name"].to_pylist() == ["Müller", "Núñez", "Lee"]
    (problem,) = extract.problems
    assert problem.note.startswith("Line 4 is not valid UTF-8")


def test_the_header_may_be_the_line_in_cp1252():
    extract = read(b"first_name,last_name,birthts,caf\xe9\n" + "Zoë,Lee,1,thé\n".encode())
    assert extract.rows["_extra"].to_pylist() == ['{"café": "thé"}']
    assert [problem.code for problem in extract.problems] == ["guessed-encoding"]


@pytest.mark.parametrize("bad", [b"\xed\xa0\xbd\xed\xb8\x80", b"\x81", b"\xe9\xed\xbf\xbf"])
def test_undecodable_line_rejects_only_its_row(bad: bytes):
    rows = b"Ann,Lee,1\n" + bad + b",Lee,2\nZo\xc3\xab,Lee,3\n"
    extract = read(b"first_name,last_name,birthts\n" + rows)
    assert [(p.line, p.code, p.severity) for p in extract.problems] == [
        (3, "undecodable", Severity.ERROR)
    ]
    assert extract.problems[0].value.startswith("\\x")
    assert extract.rows["first_name"].to_pylist() == ["Ann", "Zoë"]
    assert (extract.rows_read, extract.rows_rejected) == ({"1.csv": 3}, {"1.csv": 1})


def test_quoted_row_with_an_undecodable_line_is_rejected():
    extract = read(b'first_name,last_name,birthts\n"A\n\x81",Lee,1\nZo\xe9,Lee,2\n')
    assert [(p.line, p.code) for p in extract.problems] == [
        (None, "guessed-encoding"),
        (2, "undecodable"),
    ]
    assert extract.rows["_source_line"].to_pylist() == [4]


def test_a_header_in_no_encoding_refuses_the_file():
    for bad in (b"\x81", b"\xed\xa0\xbd"):
        extract = read(b"\n" + bad + b"first_name,last_name,birthts\na,b,1\n")
        assert [(p.line, p.code) for p in extract.problems] == [(None, "undecodable")]
        assert extract.rows_read == {"1.csv": 0}


def test_a_guess_after_a_utf8_mark_leaves_the_mark_out():
    extract = read(codecs.BOM_UTF8 + b"first_name,last_name,birthts\nRen\xe9,x,2\n")
    assert extract.rows["first_name"].to_pylist() == ["René"]


MARKED = "\ufeff\ufefffirst_name,last_name,birthts\n\ufeffa,b,1\n\ufeff\n\ufeff\ufeffc,\ufeffd,2\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_mark_at_the_start_of_any_line_is_dropped(end: str, encoding: str):
    extract = read(MARKED.replace("\n", end).encode(encoding))
    assert extract.rows["first_name"].to_pylist() == ["a", "c"]
    assert extract.rows["last_name"].to_pylist() == ["b", "\ufeffd"]
    assert extract.rows["_source_line"].to_pylist() == [2, 4]
    assert extract.problems == []


def test_a_mark_before_a_line_in_cp1252_is_dropped():
    extract = read(b"first_name,last_name,birthts\n\xef\xbb\xbfRen\xe9,Lee,1\n")
    assert extract.rows["first_name"].to_pylist() == ["René"]


def test_byte_order_mark_between_cr_and_lf_is_a_line():
    extract = read("first_name,last_name,birthts\r\ufeff\na,b,1\n".encode())
    assert extract.rows["_source_line"].to_pylist() == [3]


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
        ("first_name,last_name,birthts,a;b;c;d", ", "),
        ('first_name;last_name;birthts;"Street, City, Country, Zip"', "; "),
        ("first_name|last_name|birthts|a,b|c,,,,,,,", "| "),
    ],
)
def test_delimiter_that_yields_required_columns_is_chosen(header: str, found: str):
    problems = read(f"{header}\n{found[0].join('abcdefghi')}\n".encode()).problems
    is_useless = header in {"first_name", "first_name,last_name;birthts"}
    expected = "missing-column" if is_useless else "long-row"
    assert [problem.code for problem in problems] == [expected]


def test_quoted_commas_in_a_header_of_semicolons_are_read():
    header = 'first_name;last_name;birthts;"Street, City, Country, Zip"'
    extract = read(f'{header}\nSusan;Lee;612302400000;"1 Main, X, Y, 9"\n'.encode())
    assert extract.problems == []
    assert extract.rows["_extra"].to_pylist() == [
        '{"Street, City, Country, Zip": "1 Main, X, Y, 9"}'
    ]
