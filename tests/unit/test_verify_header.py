"""The verifier's reading of headers, and their consequences for a file."""

from __future__ import annotations

import pytest

from tests.verify_reader import HEADER, WITH_ID, Row, faults, reading, rejected

# Objects


@pytest.mark.parametrize("content", [b"", b" \r\n\t", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff\0 "])
def test_nothing_but_space_is_an_empty_file(content: bytes):
    assert faults(content) == {"empty-file"}


def test_file_with_only_a_header_has_no_rows():
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


def test_file_without_a_user_id_misses_the_user_id():
    assert faults(f"{HEADER}\nA,B,0", key_user_id="") == {"missing-column"}
    assert reading(f"user_id,{HEADER}\n7,A,B,0", key_user_id="").rows[0].user_id == "7"


# Header and dialect


def test_header_is_found_after_blank_lines_in_any_order():
    found = reading('\n \n Last_Name , "BIRTHTS" ,FIRST_name\nB,0,A')
    assert found.rows == [Row(4, "1000", "A", "B", 0, None)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_every_delimiter_is_found(delimiter: str):
    text = f"{HEADER}\n A , B , 0 ".replace(",", delimiter)
    assert reading(text).rows == [Row(2, "1000", "A", "B", 0, None)]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ('first_name;last_name;birthts;"Street, City, County, Zip"', 'A;B;0;"1, X, Y, 9"'),
        ("first_name;last_name;birthts;Street, City, County, Zip, Land", "A;B;0;1, X"),
        ("first_name,last_name,birthts,a;b;c;d;e", "A,B,0,1;2"),
        ("first_name\t,last_name\t,birthts", "A\t,B\t,0"),
        ('"first_name"|"last_name"|"birthts"|"a|b|c|d"|e,f,g,h,i', 'A|B|0|"|"|'),
    ],
)
def test_the_delimiter_is_the_one_that_yields_the_columns(header: str, row: str):
    found = reading(f"{header}\n{row}")
    assert [(row.first_name, row.last_name, row.birthts) for row in found.rows] == [("A", "B", 0)]


def test_the_first_delimiter_that_yields_the_columns_is_taken():
    both = "x,first_name,last_name,birthts,y;first_name;last_name;birthts;z"
    (row,) = reading(f"{both}\n1,A,B,0,;C;D;1;2").rows
    assert (row.first_name, row.extra) == (
        "A",
        {"x": "1", "y;first_name;last_name;birthts;z": ";C;D;1;2"},
    )


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("first_name;last_name;birth", "missing-column"),
        ('a;a;"b,c,d,e,f"', "duplicate-column"),  # `;` is the most frequent outside quotes
        ("a,a,b;c;d", "duplicate-column"),  # the earlier of two
        ('first_name;"x', "unclosed-quote"),
        ('first_name,last_name,birthts,"x', "unclosed-quote"),
    ],
)
def test_missing_columns_are_reported_for_likeliest_delimiter(header: str, code: str):
    assert faults(f"{header}\nA,B,0") == {code}


def wide(columns: int, last: str = "x") -> str:
    """A header of so many columns, and a good row."""
    return ",".join([HEADER, *(f"c{n}" for n in range(columns - 4)), last]) + "\nA,B,0"


def test_a_header_may_have_a_thousand_columns_but_no_more():
    assert len(reading(wide(1_000)).rows) == 1
    assert faults(wide(1_001)) == {"too-many-columns"}
    assert faults(wide(1_001, "c0")) == {"too-many-columns"}
    assert faults(",".join("a" * 60_000)) == {"too-many-columns"}


def test_broken_quote_in_first_thousand_columns_takes_precedence():
    assert faults(wide(1_000, '"x')) == {"unclosed-quote"}
    assert faults(wide(1_001, '"x')) == {"too-many-columns"}


def test_a_row_of_many_thousand_cells_is_only_long():
    assert rejected(f"A,B,0,{','.join('x' * 60_000)}") == [(2, "long-row")]
    assert rejected(f"A,B,0{',' * 60_000}") == []


def test_unknown_columns_become_extra():
    found = reading(f"{WITH_ID}, City ,,Note\n1,A,B,0, Ulm ,x, \n2,C,D,0,,,")
    assert [row.extra for row in found.rows] == [{"City": "Ulm", "column_6": "x"}, None]


def test_the_user_id_column_wins_over_the_key():
    assert reading(f"{HEADER},USER_ID\nA,B,0, 0001 ").rows[0].user_id == "0001"
