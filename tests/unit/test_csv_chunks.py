"""Huge files parse the same wherever they are split."""

from __future__ import annotations

import codecs
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etl.model.dataset import USERS
from etl.model.errors import RefusedObject
from etl.model.values import ProblemCode, SourceFile, SourceObject
from etl.read.csv import ChunkReader, parse, parse_fully, records
from etl.read.rows.extract import Extract, refused_extract, sort_problems

HEADERS = (
    "first_name,last_name,birthts",
    " First_Name; last_name;birthts;user_id",
    "first_name|last_name|birthts|town||town2",
    '"first_name"\t"last_name"\t"birthts"',
    "first_name,last_name",
    "first_name,\ufb01rst_name,last_name,birthts",
    "first_name,last_name,birthts,caf\xe9",
)
ENDS = ["\n", "\r\n", "\r"]
PIECES = [*",;\t|", ",", ",", ",", " ", "\n", "\n", "\r\n", "\r", '"', '"', '""', "\0"]
WORDS = ["a", "Lee", "12", "é", "\xa0", "\u3000", "\u2028", "\x85", "\ufeff", "\U0001f600"]
ROWS = ["a,b,1\n", "a,b,1\r\n", 'a,"b",1\n', '"a\nb",c,1\n', '"open,b,1\n', "a,b\n", "a,b,1,x\n"]
HEADS = ["first_name,last_name,birthts\n", "\ufefffirst_name,LAST_NAME,birthts\r\n", "\r\ufeff\n"]
ODD_LINES = [b"", b"", b"Ren\xe9,b,1\n", b"\xed\xa0\xbd\xed\xb8\x80,b,1\n", b'"\x81\n",b,1\n']
BODY = st.lists(st.sampled_from([*PIECES, *WORDS, *ROWS, *ROWS, *HEADS]), max_size=40).map("".join)
BLANKS = st.lists(st.sampled_from(["\n", " ", "\r\n", "\r", "\xa0", "\x1c"]), max_size=4)
ENCODINGS = ["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]
SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=8)


def source_file(content: bytes, key: str = "a/1000.csv") -> SourceFile:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    return SourceFile(SourceObject(key, "etag", len(content), when), content)


def cut(content: bytes, sizes: list[int]) -> list[bytes]:
    """The content in pieces of these sizes, repeated in turn."""
    pieces, start = [], 0
    while start < len(content):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(content[start : start + size])
        start += size
    return pieces


def in_pieces(file: SourceFile, sizes: list[int]) -> Extract:
    try:
        return one_pass(file, sizes, ChunkReader(file.source, USERS))
    except RefusedObject as refused:
        return refused_extract(file.source, USERS, refused)


def one_pass(file: SourceFile, sizes: list[int], reader: ChunkReader) -> Extract:
    extracts = [reader.read(piece) for piece in cut(file.content, sizes)]
    extracts.append(reader.finish())
    key = file.source.key
    rejected = sum(extract.rows_rejected.get(key, 0) for extract in extracts)
    rows_read = sum(extract.rows_read[key] for extract in extracts)
    return Extract(
        pa.concat_tables([extract.rows for extract in extracts], promote_options="default"),
        sort_problems(problem for extract in extracts for problem in extract.problems),
        {key: rows_read},
        {key: rejected} if rejected else {},
        without_id=frozenset([key] if reader.is_without_id and rows_read > 1 else []),
    )


def assert_same_as_whole(file: SourceFile, sizes: list[int]) -> Extract:
    found, whole = in_pieces(file, sizes), parse([file], USERS)
    assert found.rows.equals(whole.rows)
    assert found.problems == whole.problems
    assert found.rows_read == whole.rows_read
    assert found.rows_rejected == whole.rows_rejected
    assert found.without_id == whole.without_id
    return found


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    blanks, header = "".join(draw(BLANKS)), draw(st.sampled_from(HEADERS))
    text = blanks + header + draw(st.sampled_from(ENDS)) + draw(BODY)
    encoding = draw(st.sampled_from(ENCODINGS))
    content = text.encode(encoding, errors="replace")
    if "16" not in encoding:
        odd, body = draw(st.sampled_from(ODD_LINES)), draw(BODY)
        content += b"\n" + odd + body.encode() + draw(st.sampled_from(ODD_LINES))
    return content + draw(st.sampled_from([b"", b"", b"", b"\xe9", b"x\x81", b"\xe2\x82", b"\n"]))


@given(contents(), SIZES)
@example(b"\xa0\r\nfirst_name,last_name,birthts\r\na,b,\xe9", [3])
@example(b'first_name,last_name,birthts\n"a,b,1\n"c,d,2\ne,"f\r\ng",3', [1])
@example(b"first_name,last_name,birthts\r\n\xe2\x82\xac,b,1\r\r\na,b,1", [1])
def test_chunks_split_anywhere_parse_like_the_whole(content: bytes, sizes: list[int]):
    assert_same_as_whole(source_file(content), sizes)


@given(st.binary(max_size=120), SIZES, st.sampled_from([b"", b"first_name,last_name,birthts\n"]))
def test_any_bytes_in_chunks_parse_like_the_whole(content: bytes, sizes: list[int], head: bytes):
    assert_same_as_whole(source_file(head + content), sizes)


@given(
    st.lists(st.sampled_from(['"', '"a', 'a"', ',"', "a,b,1", '"b\nc"', "\n", "\n", "é"])),
    st.integers(1, 4),
    st.integers(1, 12),
    SIZES,
)
def test_open_quotes_span_chunks_as_far_as_in_the_whole(
    parts: list[str], lines: int, characters: int, sizes: list[int]
):
    content = ("first_name,last_name,birthts\n" + "".join(parts)).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "MAX_LINES", lines)
        patch.setattr(records, "MAX_CHARACTERS", characters)
        assert_same_as_whole(source_file(content), sizes)


@pytest.mark.parametrize("encoding", sorted(set(ENCODINGS)))
def test_a_file_of_many_lines_is_the_same_in_blocks_of_any_size(encoding: str):
    rows = [f'"Anné\n{n}",Lee,{n}\n' if n % 7 == 0 else f"A{n},Lé,{n}\r\n" for n in range(3_000)]
    content = ("first_name,last_name,birthts\n" + "".join(rows)).encode(encoding)
    for size in (997, 8_192, 1 << 20):
        found = assert_same_as_whole(source_file(content), [size])
        assert found.rows_read == {"a/1000.csv": 3_000}


def test_unclosed_quote_rejects_one_line_at_any_chunk_end():
    body = "".join(f'"open{n},b,1\na,b,1\n' for n in range(900))
    content = f"first_name,last_name,birthts\n{body}".encode()
    found = assert_same_as_whole(source_file(content), [10_000])
    assert {problem.code for problem in found.problems} >= {ProblemCode.UNCLOSED_QUOTE}


def test_a_giant_cell_is_put_together_from_its_pieces():
    content = b"first_name,last_name,birthts\na,b,1\n" + b"x" * 300_000 + b",b,2\na,b,3\n"
    found = assert_same_as_whole(source_file(content), [1_000])
    assert [problem.code for problem in found.problems] == [ProblemCode.CELL_TOO_LONG]


def test_open_quote_is_carried_up_to_the_record_limit():
    reader = ChunkReader(source_file(b"").source, USERS)
    reader.read(b"first_name,last_name,birthts\n" + b'"open,b,1\n' + b"a,b,1\n" * 100)
    assert reader.read(b"a,b,1\n" * 500).rows_read == {"a/1000.csv": 0}
    assert reader.read(b"a,b,1\n" * 500).rows_read == {"a/1000.csv": 1_101}


def test_lines_that_are_not_utf_8_are_counted_over_all_pieces():
    content = b"first_name,last_name,birthts\r\n" + b"a,b,1\r\nRen\xe9,b,1\n" * 200
    found = assert_same_as_whole(source_file(content), [11])
    assert found.problems[0].note.startswith(
        "Lines 3, 5, 7, 9, 11 and 195 more are not valid UTF-8"
    )


def test_file_with_only_a_byte_order_mark_is_empty():
    for mark in (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, b""):
        found = assert_same_as_whole(source_file(mark), [1])
        assert [problem.code for problem in found.problems] == [ProblemCode.EMPTY_FILE]


@given(contents())
def test_one_chunk_parses_like_the_full_parser(content: bytes):
    file = source_file(content)
    assert parse_fully([file], USERS).rows.equals(in_pieces(file, [1 << 20]).rows)
