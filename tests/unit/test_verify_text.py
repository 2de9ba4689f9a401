"""The verifier's decoding: each line in an encoding of its own."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.verify.faults import FileError
from etl.verify.text import decode
from tests.verify_reader import Reading, Row, read

TODAY = date(2024, 2, 29)
HEADER = "user_id,first_name,last_name,birthts"
RAW_HEADER = HEADER.encode() + b"\n"
MARK = b"\xef\xbb\xbf"
SURROGATES = b"\xed\xa0\xbd\xed\xb8\x80"  # an emoji in CESU-8
BEYOND_CP1252 = b"\x81"


def reading(content: bytes) -> Reading:
    return read(content)


def names(content: bytes) -> list[tuple[str, str]]:
    return [(row.user_id, row.first_name) for row in reading(content).rows]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]
)
def test_every_encoding_yields_the_same_name(encoding: str):
    text = f"{HEADER}\n1,Zoë,Müller,0\n"
    text += "" if len(text.encode("utf-8")) % 2 else " "
    assert reading(text.encode(encoding)).rows == [Row(2, "1", "Zoë", "Müller", 0, None)]


def test_a_big_endian_mark_is_understood():
    content = b"\xfe\xff" + f"{HEADER}\n1,A,B,0".encode("utf-16-be")
    assert names(content) == [("1", "A")]


def test_utf16_with_a_mark_must_be_whole():
    content = f"{HEADER}\n1,A,B,0".encode("utf-16") + b"\n"
    assert reading(content) == Reading(faults={"undecodable"})


def test_lone_surrogates_in_utf16_cost_the_file():
    content = f"{HEADER}\n1,A\ud800,B,0".encode("utf-16", "surrogatepass")
    assert reading(content) == Reading(faults={"undecodable"})


def test_each_line_is_utf8_or_else_cp1252():
    lines = ["m1,Zoë,Müller,0", "m2,José,Núñez,0"]
    utf8 = "".join(f"{line}\n" for line in lines).encode()
    content = RAW_HEADER + utf8 + "m3,René,Lee,0\n".encode("cp1252")
    assert names(content) == [("m1", "Zoë"), ("m2", "José"), ("m3", "René")]
    assert reading(content).faults == {"guessed-encoding"}
    assert reading(RAW_HEADER + utf8).faults == set()


def test_a_guess_at_a_blank_line_or_the_header_is_reported():
    assert reading(RAW_HEADER + b"\xa0\n1,A,B,0\n").faults == {"guessed-encoding"}
    header = f"{HEADER},café\n".encode("cp1252")
    assert reading(header + "1,Zoë,B,0".encode()).faults == {
        "guessed-encoding",
        "missing-trailing-cells",
    }


def test_a_refused_file_has_no_warning_of_a_guess():
    assert reading("first_name,last_näme\n".encode("cp1252")).faults == {"missing-column"}


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_a_mark_at_the_start_of_any_line_is_dropped(line_end: bytes):
    lines = [MARK + HEADER.encode(), b"b1,Zoe,Lee,0", MARK * 2 + b"b2,Ann,Lee,0", MARK, MARK]
    assert names(line_end.join(lines)) == [("b1", "Zoe"), ("b2", "Ann")]
    assert reading(line_end.join(lines)).faults == set()


def test_a_mark_is_dropped_before_its_line_is_decoded():
    content = RAW_HEADER + MARK + "b2,René,Lee,0".encode("cp1252")
    assert names(content) == [("b2", "René")]


def test_a_mark_at_the_start_of_a_line_in_quotes_is_dropped():
    content = RAW_HEADER + b'1,"A\n' + MARK + b'B",C,0\n' + MARK + b'"2",D,E,0'
    assert names(content) == [("1", "A\nB"), ("2", "D")]


def test_utf16_marks_are_dropped_only_at_line_starts():
    text = f"{HEADER}\n\ufeff\ufeff1,A\ufeff,B,0"
    assert names(text.encode("utf-16")) == [("1", "A\ufeff")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_line_with_only_a_byte_order_mark_is_a_line(encoding: str):
    content = f"{HEADER}\r\ufeff\n\ufeff\r\n1,A,B\n2,C,D,0".encode(encoding)
    assert reading(content).rejected == [(4, "short-row")]
    assert [row.line for row in reading(content).rows] == [5]


def test_a_mark_within_a_line_is_a_character():
    assert names(RAW_HEADER + b"1," + MARK + b"A,B,0") == [("1", "\ufeffA")]


@pytest.mark.parametrize(
    "content",
    [b"", b" \r\n\t", MARK, MARK * 3 + b"\n" + MARK, b"\xff\xfe", b"\xfe\xff\0 "],
)
def test_nothing_but_space_and_marks_is_an_empty_file(content: bytes):
    assert reading(content) == Reading(faults={"empty-file"})


@pytest.mark.parametrize("odd", [SURROGATES, BEYOND_CP1252, b"\xe9" + SURROGATES, b"\x9d\xe9"])
def test_undecodable_line_rejects_only_its_row_in_verify(odd: bytes):
    content = RAW_HEADER + b"1,A,B,0\n2,C" + odd + b",D,0\n" + "3,é,F,0\n".encode("cp1252")
    assert names(content) == [("1", "A"), ("3", "é")]
    assert reading(content).rejected == [(3, "undecodable")]
    assert reading(content).faults == {"guessed-encoding"}


@pytest.mark.parametrize(
    ("body", "rejected"),
    [
        (b'1,"A\n\x81",B,0\n', [(2, "undecodable")]),
        (b'1,"A\x81\nB",C,0\n', [(2, "undecodable")]),
        (b'1,"A\n\x81\nB",C,0\n', [(2, "undecodable")]),
        (b"1\x81\n", [(2, "undecodable")]),
        (b"1,A,B,0,\x81\n", [(2, "undecodable")]),
        (b'"1\x81\n', [(2, "undecodable")]),  # its quote is never closed
        (b'"1\n\x81\n', [(2, "unclosed-quote"), (3, "undecodable")]),
        (b"1,\0\x81,,x\n", [(2, "undecodable")]),
    ],
)
def test_a_record_that_takes_such_a_line_is_refused_as_one(
    body: bytes, rejected: list[tuple[int, str]]
):
    found = reading(RAW_HEADER + body + b"9,A,B,0")
    assert found.rejected == rejected
    assert [row.user_id for row in found.rows] == ["9"]


def test_a_header_in_no_encoding_costs_the_file():
    assert reading(b"\n\x81" + RAW_HEADER + b"1,A,B,0") == Reading(faults={"undecodable"})
    assert reading(SURROGATES + RAW_HEADER) == Reading(faults={"undecodable"})


def test_next_line_in_no_encoding_ends_no_line():
    decoded = decode(b"a\x85\xa0\x81b\nc")
    assert decoded.text == "a\x85\xa0\x81b\nc"
    assert decoded.undecodable == {0}


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\ufeff")), max_size=6))
def test_lines_in_utf8_are_the_text_itself(lines: list[str]):
    text = "x" + "\n".join(lines)
    assert decode(b"x" + "\n".join(lines).encode()).text == text


@given(st.binary(max_size=60))
def test_any_bytes_are_text_or_refused(content: bytes):
    try:
        decoded = decode(content)
    except FileError:
        return
    assert decoded.text.strip() != ""


@given(st.lists(st.tuples(st.sampled_from("Aé\x80š😀"), st.booleans()), max_size=8))
def test_each_line_is_decoded_independently(lines: list[tuple[str, bool]]):
    expected = []
    content = RAW_HEADER
    for number, (letter, is_cp1252) in enumerate(lines):
        line = f"{number},{letter},B,0\n"
        legacy = line.encode("cp1252", "ignore")
        content += legacy if is_cp1252 else line.encode()
        read_name = legacy.decode("cp1252").split(",")[1] if is_cp1252 else letter
        expected.append((str(number), read_name))
    assert names(content) == [(number, letter) for number, letter in expected if letter.strip()]
