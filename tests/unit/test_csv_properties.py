"""Properties of parsing: the fast path, the full parser and a simple parser agree."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from etl.model.dataset import USERS
from etl.model.values import SourceFile, SourceObject
from etl.read.csv import parse, parse_fully
from etl.read.csv.encoding import physical_lines
from etl.read.csv.plain import as_plain, has_regular_quotes
from etl.read.csv.records import MAX_CHARACTERS, MAX_LINES, RecordReader
from etl.read.rows.extract import Extract
from etl.read.rows.header import FileHeader
from etl.read.rows.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterable

HEADERS = (
    "first_name,last_name,birthts",
    "first_name, last_name, birthts",
    "birthts;first_name;last_name;user_id",
    "first_name|last_name|birthts|town||town2",
    "user_id\tfirst_name\tlast_name\tbirthts",
    "first_name,last_name,birthts,nick,",
    "first_name,last_name",
)
PIECES = [*",;\t|", ",", ",", " ", "\n", "\n", "\r\n", "\xa0", "\x1c", "\u3000", "é", "\U0001f600"]
WORDS = ["a", "Lee", "12", "\\", "'", "\x07", "\u2028", "\x85", "\ufeff"]
ROWS = ["a,b,1\n", "a,b,1,x\r\n", "\n\ufeff", "first_name,last_name,birthts\n", "BIRTH\u017fTS"]
REPEATED = ["\nFirst_Name , last_name,birthts\r\n", "first_name,last_name,birtht\u017f,NICK\n"]
PLAIN_BODY = st.lists(st.sampled_from(PIECES + WORDS + ROWS + REPEATED), max_size=40).map("".join)
ANY_PIECE = st.sampled_from([*PIECES, *WORDS, *ROWS, *REPEATED, '"', '"', '"', '""', "\r", "\0"])
TRICKY = st.lists(st.sampled_from([",", "a", '"', '"', '""', "\n", "\r\n", "\r", " ", "\t"]))


def source_file(number: int, text: str, encoding: str = "utf-8") -> SourceFile:
    content = text.encode(encoding)
    when = datetime(2026, 1, 1, tzinfo=UTC)
    return SourceFile(SourceObject(f"a/{number}.csv", f"e{number}", len(content), when), content)


def assert_same(left: Extract, right: Extract) -> None:
    assert left.rows.equals(right.rows)
    assert left.problems == right.problems
    assert left.rows_read == right.rows_read
    assert left.rows_rejected == right.rows_rejected
    assert left.without_id == right.without_id


@st.composite
def plain_files(draw: st.DrawFn) -> list[SourceFile]:
    parts = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["utf-8", "utf-8-sig"]),
                st.sampled_from(HEADERS),
                st.sampled_from(["\n", "\r\n"]),
                PLAIN_BODY,
            ),
            max_size=6,
        )
    )
    return [
        source_file(number, header + end + body, encoding)
        for number, (encoding, header, end, body) in enumerate(parts)
    ]


@given(plain_files())
def test_fast_path_and_full_parser_agree_on_plain_files(files: list[SourceFile]):
    assert all(as_plain(file.content, Layout(USERS)) for file in files)
    assert_same(parse(files, USERS), parse_fully(files, USERS))


@given(st.lists(st.tuples(st.sampled_from(HEADERS), st.lists(ANY_PIECE)), max_size=4))
def test_fast_and_full_parser_agree_on_any_files(parts: list[tuple[str, list[str]]]):
    files = [source_file(n, f"{head}\n{''.join(body)}") for n, (head, body) in enumerate(parts)]
    assert_same(parse(files, USERS), parse_fully(files, USERS))


QUOTED_CELLS = [
    "a",
    "",
    '""',
    '"a"',
    '"a,b"',
    '"a;b"',
    '"say ""a"""',
    '"a\nb"',
    ' "a"',
    'O"B',
    '"1"',
]
QUOTED_ROWS = st.lists(st.lists(st.sampled_from(QUOTED_CELLS), min_size=1, max_size=5), max_size=12)


@given(
    st.lists(st.tuples(st.sampled_from(HEADERS[:2]), QUOTED_ROWS), max_size=4),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_fast_path_and_full_parser_agree_on_quoted_files(
    parts: list[tuple[str, list[list[str]]]],
    end: str,
    is_quoted: bool,  # noqa: FBT001
):
    files = []
    for number, (head, rows) in enumerate(parts):
        first = ",".join(f'"{name}"' for name in head.split(",")) if is_quoted else head
        files.append(source_file(number, end.join([first, *map(",".join, rows), ""])))
    assert_same(parse(files, USERS), parse_fully(files, USERS))


@given(TRICKY, st.sampled_from([",", "\t"]))
@example(['"', "a", ",", '"', "\n"], ",")
def test_regular_quotes_enclose_cells_of_one_line(pieces: list[str], delimiter: str):
    body = "".join(pieces).replace("\r", "") + "\n"
    header = FileHeader(Layout(USERS), delimiter, ("birthts",))
    if has_regular_quotes(body.encode(), header):
        lines = physical_lines(body)
        found = list(RecordReader(lines, 0, header))
        assert [start for start, _ in found] == list(range(len(lines)))
        assert all(cells is not None for _, cells in found)


@given(st.lists(st.binary(max_size=200), max_size=3))
def test_any_bytes_are_read_without_an_exception(contents: list[bytes]):
    when = datetime(2026, 1, 1, tzinfo=UTC)
    header = b"first_name,last_name,birthts\n"
    files = [
        SourceFile(SourceObject(f"{n}.csv", "e", len(body), when), body)
        for n, body in enumerate([*contents, *(header + content for content in contents)])
    ]
    extract = parse(files, USERS)
    assert_same(extract, parse_fully(files, USERS))
    refused = {(p.key, p.line) for p in extract.problems if p.line is not None}
    assert sum(extract.rows_rejected.values()) == len(refused)
    assert sum(extract.rows_read.values()) == len(extract.rows) + len(refused)


@given(st.lists(st.sampled_from(["a", "\n", "\r", "\r\n", "\x0b", "\x85", "\u2028"])))
def test_physical_lines_end_with_lf_crlf_or_cr_only(pieces: list[str]):
    text = "".join(pieces)
    assert physical_lines(text) == re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text)


@given(TRICKY, st.sampled_from([",", "\t"]), st.integers(1, 4), st.integers(0, 3))
@example(["\t", "\t", '"', "\n", '"'], "\t", 1, 0)
def test_full_parser_agrees_with_a_character_parser(
    pieces: list[str], delimiter: str, width: int, unknown: int
):
    text = "".join(pieces)
    fewest = max(width - unknown, 1)
    columns = tuple("birthts" if n == fewest else str(n) for n in range(1, width + 1))
    lines = physical_lines(text)
    found = RecordReader(lines, 0, FileHeader(Layout(USERS), delimiter, columns))
    assert stripped(found, width) == plainly(lines, delimiter, range(fewest, width + 1))


def stripped(
    records: Iterable[tuple[int, list[str] | None]], width: int
) -> list[tuple[int, list[str] | None]]:
    return [
        (start, None if cells is None else trimmed([cell.strip() for cell in cells], width))
        for start, cells in records
    ]


def trimmed(cells: list[str], width: int) -> list[str]:
    return cells if any(cells[width:]) else cells[:width]


def plainly(lines: list[str], delimiter: str, widths: range) -> list[tuple[int, list[str] | None]]:
    """A simple parser that follows the documented rules, without regard to speed."""
    found: list[tuple[int, list[str] | None]] = []
    start = 0
    while start < len(lines):
        cells, length = one_record("".join(lines[start:]), delimiter)
        spanned = len(physical_lines("".join(lines[start:])[:length])) if cells else 1
        if cells is not None:
            cells = trimmed([cell.strip() for cell in cells], widths[-1])
            is_long = spanned > MAX_LINES or length > MAX_CHARACTERS
            if spanned > 1 and (len(cells) not in widths or is_long):
                cells, spanned = None, 1
        found.append((start, cells))
        start += spanned
    return found


def one_record(  # noqa: C901 - the states of a cell, side by side
    text: str, delimiter: str
) -> tuple[list[str] | None, int]:
    """The first record of a text and its length; no cells if its quotes are invalid."""
    cells, cell, state, at = [], "", "start", 0
    while True:
        character = text[at] if at < len(text) else ""
        ends = character == "" or character in "\r\n"
        if state == "quoted":
            if character == "":
                return None, at
            if character == '"' and text[at + 1 : at + 2] == '"':
                cell, at = cell + '"', at + 1
            elif character == '"':
                state = "closed"
            else:
                cell += character
        elif ends or character == delimiter:
            cells.append(cell)
            if ends:
                return cells, max(at, 1)
            cell, state = "", "start"
        elif state == "closed" and character not in " \t":
            return None, at
        elif state == "start" and character == '"':
            cell, state = "", "quoted"
        elif state != "closed":
            cell += character
            state = state if character in " \t" else "plain"
        at += 1
