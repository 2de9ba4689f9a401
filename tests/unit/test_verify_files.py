"""The verifier's rules for a whole file, once its rows are read."""

from __future__ import annotations

import pytest

from tests.verify_reader import HEADER, WITH_ID, Reading, faults, reading, rejected


def test_rows_lacking_only_trailing_unknown_cells_are_loaded():
    found = reading(f"{WITH_ID},nick,city\nx1,A,B,0,n,Ulm\nx2,C,D,0\nx3,E,F,0,m\nx4,G,H")
    assert [(row.first_name, row.extra) for row in found.rows] == [
        ("A", {"nick": "n", "city": "Ulm"}),
        ("C", None),
        ("E", {"nick": "m"}),
    ]
    assert found.rejected == [(5, "short-row")]
    assert found.faults == {"missing-trailing-cells"}


def test_a_row_needs_every_cell_up_to_the_last_known_column():
    header = "nick,first_name,last_name,city,birthts"
    assert rejected("n,A,B,Ulm", header) == [(2, "short-row")]
    assert reading(f"{header}\nn,A,B,Ulm,0").faults == set()


def test_a_record_over_two_lines_may_lack_trailing_cells():
    found = reading(f'{HEADER},nick,city\n"A\nB",C,0')
    assert [row.first_name for row in found.rows] == ["A\nB"]
    assert found.faults == {"missing-trailing-cells"}
    assert (2, "unclosed-quote") in rejected('"A\nB",C', f"{HEADER},nick,city")


@pytest.mark.parametrize(
    "again",
    [
        "user_id,first_name,last_name,birthts,Town,",
        ' "USER_ID" ,FIRST_NAME,last_name,birthts,TOWN,column_6',
        "\ufeffuser_id,first_name,last_name,birthts,Town",
        "user_id,first_name,last_name,birthts,Town,,,",
    ],
)
def test_repeated_header_is_not_a_row(again: str):
    found = reading(f"{WITH_ID},Town,\n1,A,B,0,x,y\n{again}\n2,C,D,0,x,y\n")
    assert [row.line for row in found.rows] == [2, 4]
    assert found.rejected == []
    assert "repeated-header" in found.faults


def test_file_with_only_headers_has_no_rows():
    assert faults(f"{HEADER}\n{HEADER}\n") == {"no-rows", "repeated-header"}


def test_another_header_is_a_row():
    assert rejected("last_name,first_name,birthts") == [(2, "not-an-integer")]


def test_different_rows_without_a_user_id_cost_the_file():
    found = reading(f"{HEADER},town\nA,B,0,x\nA,B,zero,x\nC,D,0,x\nA")
    assert found == Reading(faults={"rows-without-id"}, rows_rejected=4)


@pytest.mark.parametrize("other", ["a,B,0,x", "A,b,0,x", "A,B,1,x", "A,B,0,", "A,B,0,y"])
def test_rows_differ_by_any_value(other: str):
    assert faults(f"{HEADER},town\nA,B,0,x\n{other}") == {"rows-without-id"}


def test_equal_rows_without_a_user_id_are_one_user():
    found = reading(f"{HEADER},town\nA,B,0,x\n A,B,+0.00, x\nA,B,1970-01-01,x\nC,D,E,x")
    assert [row.line for row in found.rows] == [2, 3, 4]
    assert found.rejected == [(5, "not-an-integer")]


def test_rows_without_id_is_the_only_problem_of_its_file():
    raw = f"{HEADER}\nZoë,B,0\nC,D,612302400\n{HEADER}\n".encode("cp1252")
    assert faults(raw) == {"rows-without-id"}


@pytest.mark.parametrize(
    ("births", "is_warned"),
    [
        (["612302400"], True),
        (["612302400", "0"], True),
        (["612302400", "315532800.0"], True),
        (["86400"], True),
        (["86399", "0"], False),  # the same day, whatever the unit
        (["5097599999"], False),  # as seconds, a date in the future
        (["1709251199"], True),  # 2024-02-29, the last day allowed
        (["1709251200"], False),
        (["612302400", "612302400000"], False),
        (["612302400", "-612302400"], False),
        (["612302400", "1970-01-08"], False),
    ],
)
def test_seconds_in_place_of_milliseconds_get_a_warning(births: list[str], *, is_warned: bool):
    rows = "\n".join(f"{number},A,B,{birth}" for number, birth in enumerate(births))
    found = reading(f"{WITH_ID}\n{rows}")
    assert len(found.rows) == len(births)
    assert ("epoch-seconds" in found.faults) == is_warned


def test_refused_rows_do_not_decide_the_unit():
    assert "epoch-seconds" in reading(f"{HEADER}\nA,B,612302400\nA,,612302400000").faults
    assert "epoch-seconds" not in reading(f"{HEADER}\nA,,612302400").faults


def test_a_thousand_faults_are_listed_and_the_rest_is_warned_of():
    found = reading(f"{WITH_ID}\n" + "1,A,,\n" * 500)
    assert found.rejected[-1] == (501, "missing-cell")
    assert (len(found.rejected), found.rows_rejected, found.faults) == (1_000, 500, set())
    found = reading(f"{WITH_ID}\n1\n" + "1,A,,x\n" * 700)
    assert found.rejected[-1] == (502, "not-an-integer")  # birthts precedes last_name
    assert (len(found.rejected), found.rows_rejected) == (1_000, 701)
    assert found.faults == {"more-problems"}
