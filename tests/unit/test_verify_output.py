"""The verifier's comparison of the published output; tables are compared on a real database."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from etl.verify.output import OUTPUT_HEADER, compare_output

USERS = [
    ["1", "Ada", "Lovelace", "-7", "src-data/1.png"],
    ["2", 'B"ob', "O,\nne", "0", ""],
]
HEADER = "user_id,first_name,last_name,birthts,img_path\n"
ADA_ROW = "1,Ada,Lovelace,-7,src-data/1.png\n"
BOB_ROW = '2,"B""ob","O,\nne",0,\n'


def differences(output: str | bytes | None) -> list[tuple[str, str]]:
    content = output.encode() if isinstance(output, str) else output
    return [(d.what, d.name) for d in compare_output(USERS, content, "out/output.csv")]


def test_an_output_as_expected_has_no_differences():
    assert differences(HEADER + ADA_ROW + BOB_ROW) == []


def test_an_output_that_is_not_there_is_missing():
    assert differences(None) == [("output-missing", "out/output.csv")]


def test_a_user_not_published_is_missing():
    assert differences(HEADER + ADA_ROW) == [("output-missing", "2")]


def test_unknown_user_in_the_output_is_surplus():
    assert differences(HEADER + ADA_ROW + BOB_ROW + "3,C,D,0,\n") == [("output-surplus", "3")]


def test_only_differing_values_are_reported():
    (difference,) = compare_output(
        USERS, (HEADER + ADA_ROW.replace("Ada", "Adam") + BOB_ROW).encode(), "output.csv"
    )
    assert difference.what == "output-differs"
    assert difference.expected == {"first_name": "Ada"}
    assert difference.found == {"first_name": "Adam"}


def test_user_published_twice_is_reported():
    assert differences(HEADER + ADA_ROW + ADA_ROW + BOB_ROW) == [("output-doubled", "1")]


def test_users_out_of_byte_order_are_reported():
    assert differences(HEADER + BOB_ROW + ADA_ROW) == [("output-unsorted", "1")]


def test_wrong_header_is_reported():
    assert differences("id,first,last,birthts,img\n" + ADA_ROW + BOB_ROW) == [
        ("output-differs", "out/output.csv")
    ]
    assert ("output-differs", "out/output.csv") in differences("")


def test_row_with_a_wrong_number_of_cells_is_reported():
    assert differences(HEADER + ADA_ROW + BOB_ROW + "3,C\n") == [
        ("output-differs", "out/output.csv row 3")
    ]


def test_output_that_is_not_csv_is_unreadable():
    assert differences(b"\xff\xfe") == [("output-unreadable", "out/output.csv")]
    assert differences(HEADER + '"1') == [("output-unreadable", "out/output.csv")]


ids = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=5)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=9)


@given(
    st.lists(
        st.tuples(ids, texts, texts, st.integers(-(2**60), 2**60).map(str), st.just("") | texts),
        unique_by=lambda user: user[0],
    )
)
def test_output_of_a_csv_writer_has_no_differences(users: list[tuple[str, ...]]):
    written = io.StringIO(newline="")
    writer = csv.writer(written)
    writer.writerow(OUTPUT_HEADER)
    writer.writerows(sorted(users, key=lambda user: user[0].encode()))
    expected = [list(user) for user in users]
    assert compare_output(expected, written.getvalue().encode(), "output.csv") == []
