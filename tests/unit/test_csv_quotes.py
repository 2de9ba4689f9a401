"""Parsing user CSVs: quoted cells, and unclosed quotes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from etl.model.dataset import USERS
from etl.model.values import SourceFile, SourceObject
from etl.read.csv import parse
from etl.read.csv.records import RecordReader
from etl.read.rows.extract import Extract
from etl.read.rows.header import FileHeader
from etl.read.rows.layout import Layout
from tests.arrow_rows import rows_of

HEADER = "first_name,last_name,birthts\n"


def read(text: str) -> Extract:
    content = text.encode()
    when = datetime(2026, 1, 1, tzinfo=UTC)
    return parse([SourceFile(SourceObject("1.csv", "e", len(content), when), content)], USERS)


def rows(extract: Extract) -> list[list[object]]:
    return rows_of(extract.rows, "_source_line", "first_name", "last_name")


def unclosed(extract: Extract) -> list[int | None]:
    assert {problem.code for problem in extract.problems} <= {"unclosed-quote"}
    return [problem.line for problem in extract.problems]


@pytest.mark.parametrize(
    ("written", "first_name", "last_name"),
    [
        ('"Su,san","Lee"', "Su,san", "Lee"),
        ('"Su""san""", "Lee"', 'Su"san"', "Lee"),
        (' \t"Susan" \t, "Lee"  ', "Susan", "Lee"),
        ('"  Susan ",Lee', "Susan", "Lee"),
        ('"",Lee', "", "Lee"),
        ('"""",Lee', '"', "Lee"),
        ('O"Brien,Le"e"', 'O"Brien', 'Le"e"'),
        ('"Su\r\nsan","L\ree"', "Su\r\nsan", "L\ree"),
        ('Susan,"Lee\n\n\n,x"', "Susan", "Lee\n\n\n,x"),
        ('\xa0"Susan",Lee', '"Susan"', "Lee"),
    ],
)
def test_quoted_cell_keeps_its_contents(written: str, first_name: str, last_name: str):
    extract = read(f"{HEADER}{written},1\n")
    assert rows(extract) == [[2, first_name, last_name]]
    assert extract.problems == []


def test_a_tab_before_a_quote_may_be_the_delimiter():
    extract = read('first_name\tlast_name\tbirthts\n\t "Lee" \t1\n')
    assert rows(extract) == [[2, "", "Lee"]]


def test_lines_are_counted_through_quoted_line_ends():
    extract = read(f'{HEADER}"a\nb\r\nc",d,1\r"e\rf",g,1\nh,i,1\n')
    assert [line for line, *_ in rows(extract)] == [2, 5, 7]


@pytest.mark.parametrize(
    "broken",
    [
        'Su,"san,1',
        'Su,san,"1',
        '"Susan" x,Lee,1',
        '"Susan"x"y",Lee,1',
        '"Susan""',
    ],
)
def test_a_broken_quote_costs_its_line_and_no_other(broken: str):
    extract = read(f"{HEADER}{broken}\nRosa,Lee,1\nIda,Lee,1\n")
    assert rows(extract) == [[3, "Rosa", "Lee"], [4, "Ida", "Lee"]]
    assert unclosed(extract) == [2]
    assert extract.problems[0].value == broken
    assert extract.rows_read == {"1.csv": 3}


def test_quote_closed_in_a_later_row_swallows_no_rows():
    extract = read(f'{HEADER}"Su,san,1\nRosa,Lee,1\nIda,"Lee",1\nEva,Lee,1\n')
    assert [name for _, name, _ in rows(extract)] == ["Rosa", "Ida", "Eva"]
    assert unclosed(extract) == [2]


def test_blank_surplus_cells_of_a_long_record_are_dropped_first():
    extract = read(f'{HEADER}"a\nb",c,1, ,"",\nd,e,1\n')
    assert rows(extract) == [[2, "a\nb", "c"], [4, "d", "e"]]


@pytest.mark.parametrize(("more", "broken"), [(0, []), (1, [2])])
def test_a_record_spans_a_thousand_lines_at_most(more: int, broken: list[int]):
    extract = read(HEADER + '"' + "\n" * (999 + more) + 'a",b,1\nc,d,1\n')
    if broken:
        # The last line starts with text, so its quote is an ordinary character: a",b,1
        assert rows(extract) == [[1002, 'a"', "b"], [1003, "c", "d"]]
    else:
        assert rows(extract) == [[2, "a", "b"], [1002, "c", "d"]]
    assert unclosed(extract) == broken


@pytest.mark.parametrize(("more", "code"), [(0, "cell-too-long"), (1, "unclosed-quote")])
def test_multiline_record_is_limited_to_a_mebicharacter(more: int, code: str):
    head, tail = '"a\n', '",b,1'
    filling = "é" * (1_048_576 + more - len(head) - len(tail))
    extract = read(f"{HEADER}{head}{filling}{tail}\r\nc,d,1\n")
    assert (extract.problems[0].line, extract.problems[0].code) == (2, code)
    assert rows(extract)[-1] == [4, "c", "d"]


class CountedLines(list[str]):
    """Lines that count how often they are read."""

    looks = 0

    def __getitem__(self, place: int) -> str:  # noqa: D105 - documented by the class
        self.looks += 1
        return super().__getitem__(place)


@pytest.mark.parametrize("width", [1, 3, 500])
@pytest.mark.parametrize(
    "lines",
    [
        ['a","b\n'],  # leaves a quote open, whether it is read from inside one or not
        ['a","b\n'] * 900 + ['x"\n'],
        ['x,"\n'],
        ['"\n', *["x\n"] * 998],
        ['a","b\n', *["x\n"] * 40],
    ],
)
def test_quotes_left_open_do_not_have_lines_read_again_and_again(lines: list[str], width: int):
    counted = CountedLines(lines * (20_000 // len(lines)))
    dialect = FileHeader(Layout(USERS), ",", tuple(map(str, range(width))))
    starts = [start for start, _ in RecordReader(counted, 0, dialect)]
    assert starts == sorted(set(starts))
    assert counted.looks <= 20 * len(counted)


def test_rows_with_open_quotes_add_up():
    extract = read(HEADER + 'a","b\n' * 20_000 + "c,d,1\n")
    assert rows(extract) == [[20_002, "c", "d"]]
    assert unclosed(extract) == list(range(2, 1_002))
    assert extract.more == {"1.csv": {"unclosed-quote": 19_000}}
    assert extract.rows_rejected == {"1.csv": 20_000}
    assert extract.rows_read == {"1.csv": 20_001}
