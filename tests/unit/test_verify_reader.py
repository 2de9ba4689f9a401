"""The oracle's reader: bytes to rows and faults."""

from __future__ import annotations

import csv
import io
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.verify.reader import Reading, Row, read

TODAY = date(2024, 2, 29)
HEADER = "first_name,last_name,birthts"

cells = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\ufeff"), min_size=1, max_size=20
).filter(lambda cell: cell.strip() != "")


def reading(content: str | bytes, key_user_id: str = "1000") -> Reading:
    raw = content.encode() if isinstance(content, str) else content
    return read(raw, key_user_id, TODAY)


def names(content: str | bytes) -> list[tuple[int, str]]:
    return [(row.line, row.first_name) for row in reading(content).rows]


def refused(row: str, header: str = HEADER) -> set[tuple[int, str]]:
    """What one row on line 2 earns, a good one following on the line after."""
    return reading(f"{header}\n{row}\n").rejected


def faults(content: str | bytes, key_user_id: str = "1000") -> set[str]:
    found = reading(content, key_user_id)
    assert found.rows == []
    assert found.rejected == set()
    return found.faults


# Encodings


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]
)
def test_every_encoding_gives_the_same_name(encoding: str):
    text = f"{HEADER}\nZoë,Müller,0\n"
    assert reading(text.encode(encoding)).rows == [Row(2, "1000", "Zoë", "Müller", 0, None)]


def test_a_guessed_encoding_is_told_of():
    assert reading(f"{HEADER}\nZoë,Müller,0".encode("cp1252")).faults == {"guessed-encoding"}
    assert reading(f"{HEADER}\nZoë,Müller,0").faults == set()


def test_bytes_that_no_encoding_fits_are_undecodable():
    assert faults(HEADER.encode() + b"\nA\x81,\xff,0") == {"undecodable"}


def test_utf16_with_a_mark_must_be_whole():
    assert faults(f"{HEADER}\nA,B,0".encode("utf-16") + b"\n") == {"undecodable"}


def test_a_big_endian_mark_is_understood():
    content = b"\xfe\xff" + f"{HEADER}\nA,B,0".encode("utf-16-be")
    assert names(content) == [(2, "A")]


# Lines


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_every_line_end_counts_one_line(line_end: str):
    text = f"{HEADER}\nA,B,0\n\nC,D,0".replace("\n", line_end)
    assert names(text) == [(2, "A"), (4, "C")]


def test_mixed_line_ends_count_one_line_each():
    assert names(f"{HEADER}\rA,B,0\r\nC,D,0\n\rE,F,0") == [(2, "A"), (3, "C"), (5, "E")]


def test_other_separators_end_no_line():
    assert names(f"{HEADER}\nA\x0b\u2028B\x85C,D,0") == [(2, "A\x0b\u2028B\x85C")]


def test_blank_records_are_no_rows():
    found = reading(f'{HEADER}\n\n , ,\n"",\n,,,,\nA,B,0')
    assert [row.line for row in found.rows] == [6]
    assert found.rejected == set()


# Objects


@pytest.mark.parametrize("content", [b"", b" \r\n\t", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff\0 "])
def test_nothing_but_space_is_an_empty_file(content: bytes):
    assert faults(content) == {"empty-file"}


def test_a_header_alone_has_no_rows():
    assert faults(f"{HEADER}\n , ,\n") == {"no-rows"}


def test_a_file_of_refused_rows_has_rows():
    assert reading(f"{HEADER}\nA").faults == set()


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("first_name,last_name", "missing-column"),
        ("first_name,last_name,birthts,Birthts ", "duplicate-column"),
        ("first_name,last_name,birthts,city, city", "duplicate-column"),
        ("first_name,last_name,birthts,column_5,", "duplicate-column"),
        ("first_name,first_name", "duplicate-column"),
        ('first_name,last_name,"birthts', "unclosed-quote"),
        ('first_name,last_name,"birth"ts', "unclosed-quote"),
        ('first_name,first_name,"\0', "nul-byte"),
        (",,", "missing-column"),
    ],
)
def test_a_faulty_header_costs_the_file(header: str, code: str):
    assert faults(f"{header}\nA,B,0\n") == {code}


def test_a_header_cannot_span_lines():
    assert faults('first_name,last_name,"birth\nts"\nA,B,0') == {"unclosed-quote"}


def test_unknown_columns_differ_by_case():
    assert len(reading(f"{HEADER},city,City\nA,B,0,x,y").rows) == 1


def test_a_faulty_file_has_that_one_fault_only():
    assert faults("first_name,last_näme\n".encode("cp1252")) == {"missing-column"}


def test_a_file_that_names_nobody_misses_the_user_id():
    assert faults(f"{HEADER}\nA,B,0", key_user_id="") == {"missing-column"}
    assert reading(f"user_id,{HEADER}\n7,A,B,0", key_user_id="").rows[0].user_id == "7"


# Header and dialect


def test_a_header_is_found_after_blank_lines_in_any_order_and_case():
    found = reading('\n \n Last_Name , "BIRTHTS" ,FIRST_name\nB,0,A')
    assert found.rows == [Row(4, "1000", "A", "B", 0, None)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_every_delimiter_is_found(delimiter: str):
    text = f"{HEADER}\n A , B , 0 ".replace(",", delimiter)
    assert reading(text).rows == [Row(2, "1000", "A", "B", 0, None)]


def test_the_earlier_of_equally_frequent_delimiters_is_taken():
    assert faults("first_name;last_name;birthts,a,b\nA;B;0,1,2") == {"missing-column"}


def test_unknown_columns_become_extra():
    found = reading(f"{HEADER}, City ,,Note\nA,B,0, Ulm ,x, \nC,D,0,,,")
    assert [row.extra for row in found.rows] == [{"City": "Ulm", "column_5": "x"}, None]


def test_the_user_id_column_wins_over_the_key():
    assert reading(f"{HEADER},USER_ID\nA,B,0, 0001 ").rows[0].user_id == "0001"


# Quotes


def test_quoted_cells_keep_newlines_delimiters_and_quotes():
    found = reading(f'{HEADER}\n \t"A,\r\n""x""" \t,B,0\nC,D,0')
    assert [(row.line, row.first_name) for row in found.rows] == [(2, 'A,\r\n"x"'), (4, "C")]


def test_a_quote_inside_an_unquoted_cell_is_ordinary():
    assert names(f'{HEADER}\nA "x" B",B,0') == [(2, 'A "x" B"')]


def test_a_tab_delimiter_is_no_space_before_a_quote():
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


def test_surplus_blank_cells_of_a_record_over_two_lines_are_dropped():
    assert names(f'{HEADER}\n"A\nB",C,0, ,""') == [(2, "A\nB")]


def test_a_record_may_span_a_thousand_lines_but_no_more():
    body = "\n" * 999
    assert names(f'{HEADER}\nA,B,0,\n"x{body}x",B,0')[1][0] == 3
    longer = reading(f'{HEADER}\n"x{body}\nx",B,0\nC,D,0')
    assert (2, "unclosed-quote") in longer.rejected
    assert longer.rows[-1].first_name == "C"


def test_a_record_of_many_lines_may_have_a_mebi_of_characters_but_no_more():
    row = '"\n{}",B,0'
    most = "x" * (1_048_576 - len(row.format("")))
    assert refused(row.format(most)) == {(2, "cell-too-long")}
    assert (2, "unclosed-quote") in refused(row.format(most + "x"))


def test_a_record_of_one_line_may_be_as_long_as_it_is():
    assert refused(f'"{"x" * 1_048_577}",B,0') == {(2, "cell-too-long")}


# Rows


@pytest.mark.parametrize(
    ("row", "codes"),
    [
        ("A,B", {"short-row"}),
        ("A,B,0,x", {"long-row"}),
        ("A,B,0,,", set()),
        ("A\0,,x", {"nul-byte"}),
        (f"{'x' * 10_000},B,0", set()),
        (f"{'x' * 10_001},,x", {"cell-too-long"}),
        (f" {'x' * 10_000} ,B,0", set()),
        (",B,0", {"missing-cell"}),
        (",,x", {"missing-cell", "not-an-integer"}),
        ("A,B,", {"missing-cell"}),
        ("A,B,1.0", {"not-an-integer"}),
        ("A,B,1e3", {"not-an-integer"}),
        ("A,B,\u0661", {"not-an-integer"}),
        ("A,B,1_0", {"not-an-integer"}),
        ("A,B,+-1", {"not-an-integer"}),
        ("A,B,+0007", set()),
        (f"A,B,{'0' * 9_000}7", set()),
        (f"A,B,{'9' * 9_000}", {"birthdate-out-of-range"}),
        ("A,B,-2208988800000", set()),  # 1900-01-01T00:00:00Z
        ("A,B,-2208988800001", {"birthdate-out-of-range"}),
        ("A,B,1709251199999", set()),  # 2024-02-29T23:59:59.999Z
        ("A,B,1709251200000", {"birthdate-out-of-range"}),
    ],
)
def test_a_row_earns_every_code_that_applies(row: str, codes: set[str]):
    assert refused(row) == {(2, code) for code in codes}


def test_a_blank_user_id_cell_is_missing():
    assert refused(" ,A,B,0", f"user_id,{HEADER}") == {(2, "missing-cell")}


def test_a_user_id_is_measured_in_bytes():
    header = f"user_id,{HEADER}"
    assert refused(f"{'é' * 512},A,B,0", header) == set()
    assert refused(f"{'é' * 512}x,A,B,0", header) == {(2, "cell-too-long")}


@pytest.mark.parametrize(("text", "value"), [("-0", 0), ("+0012", 12), ("-5", -5)])
def test_birthts_is_a_number(text: str, value: int):
    assert reading(f"{HEADER}\nA,B,{text}").rows[0].birthts == value


# Laws


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=8), st.sampled_from(",;\t|"))
def test_what_a_csv_writer_writes_is_read_back(people: list[tuple[str, str]], delimiter: str):
    written = io.StringIO(newline="")
    writer = csv.writer(written, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerow(HEADER.split(","))
    writer.writerows((*person, "0") for person in people)
    found = reading(written.getvalue())
    assert found.rejected == set()
    assert [(row.first_name, row.last_name) for row in found.rows] == [
        (first.strip(), last.strip()) for first, last in people
    ]


@given(st.text(st.sampled_from('ab,;" \t\r\n\0é0'), max_size=60))
def test_a_line_is_a_row_or_refused_but_never_both(body: str):
    found = reading(f"{HEADER}\n{body}")
    good = [row.line for row in found.rows]
    assert good == sorted(set(good))
    assert not set(good) & {line for line, _ in found.rejected}


@given(st.text(st.sampled_from('ab," 0\n'), max_size=60))
def test_a_plain_last_line_is_never_swallowed(body: str):
    text = f"{HEADER}\n{body}\nA,B,0"
    assert text.count("\n") + 1 in [row.line for row in reading(text).rows]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_exception(content: bytes):
    assert isinstance(read(content, "1000", TODAY), Reading)
    assert isinstance(read(HEADER.encode() + b"\n" + content, "1000", TODAY), Reading)


@given(st.text(st.sampled_from('ab," 0é\n'), max_size=60), st.sampled_from(["utf-8-sig", "utf-16"]))
def test_the_encoding_changes_nothing(body: str, encoding: str):
    text = f"{HEADER}\n{body}"
    assert reading(text.encode(encoding)) == reading(text)
