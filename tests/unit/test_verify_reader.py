"""The verifier's reader: from records to rows and problems."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verify_reader import HEADER, WITH_ID, Reading, names, read, reading, rejected

cells = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\ufeff"), min_size=1, max_size=20
).filter(lambda cell: cell.strip() != "")


# Lines


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_every_line_end_counts_one_line(line_end: str):
    text = f"{WITH_ID}\n1,A,B,0\n\n2,C,D,0".replace("\n", line_end)
    assert names(text) == [(2, "A"), (4, "C")]


def test_mixed_line_ends_count_one_line_each():
    assert names(f"{WITH_ID}\r1,A,B,0\r\n2,C,D,0\n\r3,E,F,0") == [(2, "A"), (3, "C"), (5, "E")]


def test_other_separators_end_no_line():
    assert names(f"{HEADER}\nA\x0b\u2028B\x85C,D,0") == [(2, "A\x0b\u2028B\x85C")]


def test_blank_records_are_no_rows():
    found = reading(f'{HEADER}\n\n , ,\n"",\n,,,,\nA,B,0')
    assert [row.line for row in found.rows] == [6]
    assert found.rejected == []


# Quotes


def test_quoted_cells_keep_newlines_delimiters_and_quotes():
    found = reading(f'{WITH_ID}\n1, \t"A,\r\n""x""" \t,B,0\n2,C,D,0')
    assert [(row.line, row.first_name) for row in found.rows] == [(2, 'A,\r\n"x"'), (4, "C")]


def test_a_quote_inside_an_unquoted_cell_is_ordinary():
    assert names(f'{HEADER}\nA "x" B",B,0') == [(2, 'A "x" B"')]


def test_tab_delimiter_is_not_a_space_before_a_quote():
    text = f'{HEADER}\n "A"\t"B" \t0'.replace(",", "\t")
    assert names(text) == [(2, "A")]


@pytest.mark.parametrize(
    "broken",
    [
        '"A,B,0',  # meets the end of the file, or the next quote
        '"A"x,B,0',  # other text after it
        '"A,B\n1"',  # two lines, too few cells
        '"A\nB",C,0,x',  # two lines, too many cells
    ],
)
def test_a_broken_quote_costs_only_its_line(broken: str):
    found = reading(f"{HEADER}\n{broken}\nC,D,0\n")
    assert (2, "unclosed-quote") in found.rejected
    assert found.rows[-1].first_name == "C"


def test_surplus_blank_cells_of_a_two_line_record_are_dropped():
    assert names(f'{HEADER}\n"A\nB",C,0, ,""') == [(2, "A\nB")]


def test_a_record_may_span_a_thousand_lines_but_no_more():
    body = "\n" * 999
    assert names(f'{WITH_ID}\n1,A,B,0,\n2,"x{body}x",B,0')[1][0] == 3
    longer = reading(f'{WITH_ID}\n1,"x{body}\nx",B,0\n2,C,D,0')
    assert (2, "unclosed-quote") in longer.rejected
    assert longer.rows[-1].first_name == "C"


def test_verify_limits_multiline_records_to_a_mebicharacter():
    row = '"\n{}",B,0'
    most = "x" * (1_048_576 - len(row.format("")))
    assert rejected(row.format(most)) == [(2, "cell-too-long")]
    assert (2, "unclosed-quote") in rejected(row.format(most + "x"))


def test_a_record_of_one_line_may_be_as_long_as_it_is():
    assert rejected(f'"{"x" * 1_048_577}",B,0') == [(2, "cell-too-long")]


# Rows


@pytest.mark.parametrize(
    ("row", "codes"),
    [
        ("A,B", ["short-row"]),
        ("A,B,0,x", ["long-row"]),
        ("A,B,0,,", []),
        ("A\0,,x", ["nul-byte"]),
        ("A\0,\0,x", ["nul-byte", "nul-byte"]),
        (f"{'x' * 10_000},B,0", []),
        (f"{'x' * 10_001},,x", ["cell-too-long"]),
        (f" {'x' * 10_000} ,B,0", []),
        (",B,0", ["missing-cell"]),
        (",,x", ["not-an-integer", "missing-cell", "missing-cell"]),
        ("A,B,", ["missing-cell"]),
        (f"A,B,{'9' * 9_000}", ["birthdate-out-of-range"]),
        ("A,B,-2208988800000", []),  # 1900-01-01T00:00:00Z
        ("A,B,-2208988800001", ["birthdate-out-of-range"]),
        ("A,B,1709251199999", []),  # 2024-02-29T23:59:59.999Z
        ("A,B,1709251200000", ["birthdate-out-of-range"]),
        ("A,B,1900-01-01T00:59:59.999+01:00", ["birthdate-out-of-range"]),
        ("A,B,2024-03-01T00:59+01:00", []),
        ("A,B,0001-01-01T00:00+23:59", ["birthdate-out-of-range"]),
        ("A,B,9999-12-31T23:59-23:59", ["birthdate-out-of-range"]),
    ],
)
def test_a_row_earns_every_code_that_applies(row: str, codes: list[str]):
    assert rejected(row) == [(2, code) for code in codes]


def test_a_blank_user_id_cell_is_missing():
    assert rejected(" ,A,B,0", WITH_ID) == [(2, "missing-cell")]


def test_a_user_id_is_measured_in_bytes():
    assert rejected(f"{'é' * 512},A,B,0", WITH_ID) == []
    assert rejected(f"{'é' * 512}x,A,B,0", WITH_ID) == [(2, "cell-too-long")]


# Laws


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=8), st.sampled_from(",;\t|"))
def test_csv_writer_output_round_trips(users: list[tuple[str, str]], delimiter: str):
    written = io.StringIO(newline="")
    writer = csv.writer(written, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerow(WITH_ID.split(","))
    writer.writerows((number, *name, "0") for number, name in enumerate(users))
    found = reading(written.getvalue())
    assert found.rejected == []
    assert [(row.first_name, row.last_name) for row in found.rows] == [
        (first.strip(), last.strip()) for first, last in users
    ]


@given(st.text(st.sampled_from('ab,;" \t\r\n\0é0'), max_size=60))
def test_each_line_is_a_row_or_rejected_but_never_both(body: str):
    found = reading(f"{WITH_ID}\n{body}")
    good = [row.line for row in found.rows]
    assert good == sorted(set(good))
    assert not set(good) & {line for line, _ in found.rejected}


@given(st.text(st.sampled_from('ab," 0\n'), max_size=60))
def test_plain_last_line_is_not_swallowed(body: str):
    text = f"{WITH_ID}\n{body}\n1,A,B,0"
    assert text.count("\n") + 1 in [row.line for row in reading(text).rows]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_exception(content: bytes):
    assert isinstance(read(content), Reading)
    assert isinstance(read(HEADER.encode() + b"\n" + content), Reading)


@given(st.text(st.sampled_from('ab," 0é\n'), max_size=60), st.sampled_from(["utf-8-sig", "utf-16"]))
def test_the_encoding_changes_nothing(body: str, encoding: str):
    text = f"{HEADER}\n{body}"
    assert reading(text.encode(encoding)) == reading(text)
