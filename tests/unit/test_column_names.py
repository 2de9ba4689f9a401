"""Headers become names that columns may have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model.column_names import column_names, is_column_name


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Order No", "order_no"),
        ("Größe (cm)", "groesse_cm"),
        ("Gro\u0308ße", "groesse"),
        ("Crème brûlée", "creme_brulee"),
        ("orderID", "order_id"),
        ("HTTPStatus", "http_status"),
        ("_id", "id"),
        ("Unnamed: 0", "unnamed_0"),
        ("2024", "column_2024"),
        ("Rabatt %", "rabatt_percent"),
        ("xmin", "column_xmin"),
        ("日本", "column_1"),
        (" ", "column_1"),
        ("x" * 60, "x" * 48),
    ],
)
def test_a_header_becomes_the_closest_name(header: str, name: str):
    assert column_names([header]) == [name]


def test_equal_names_are_numbered():
    assert column_names(["a", "A", "a 2", "a-", ""]) == ["a", "a_2", "a_2_2", "a_3", "column_5"]


def test_a_legal_header_keeps_its_name_whatever_is_before_it():
    headers = ["a'", "a", "A!", " a_2 ", "", "column_5"]
    assert column_names(headers) == ["a_3", "a", "a_4", "a_2", "column_5_2", "column_5"]


@given(st.lists(st.text() | st.sampled_from(["a", "A ", "a_2", "", "xmin", "ctid", "ä" * 50])))
def test_names_are_legal_and_differ_in_any_case(headers: list[str]):
    names = column_names(headers)
    assert len(names) == len(headers)
    assert all(map(is_column_name, names))
    assert len({name.casefold() for name in names}) == len(names)


@given(st.from_regex(r"[a-z]([a-z0-9]|_(?=[a-z0-9])){0,47}", fullmatch=True))
def test_a_name_in_lower_case_stays(name: str):
    assert column_names([name]) == [name if is_column_name(name) else f"column_{name}"]
