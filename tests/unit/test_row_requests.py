"""Lists in query strings, SQL texts, and the cache of expensive numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.rows.columns import concatenated, sql_text
from api.rows.conditions import column_name, items


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(st.lists(st.text(), min_size=1))
def test_quoted_items_are_read_as_written(texts: list[str]):
    assert items(",".join(map(quoted, texts))) == texts


@given(st.lists(st.text(st.characters(exclude_characters='",')), min_size=1))
def test_items_without_commas_need_no_quotes(texts: list[str]):
    assert items(",".join(texts)) == texts


@pytest.mark.parametrize("text", ['"a', 'a"b', '"a"b', '"a" ,b', '"\\"'])
def test_a_quote_within_an_item_is_refused(text: str):
    with pytest.raises(ValueError, match=r".*"):
        items(text)


@given(st.text())
def test_any_column_can_be_named_in_quotes(name: str):
    assert column_name(quoted(name)) == name


@given(st.text())
def test_sql_texts_contain_no_backslash(text: str):
    assert "\\" not in sql_text(text)
    assert sql_text(text).count("'") % 2 == 0


@given(st.lists(st.integers(0, 9).map(str), min_size=1))
def test_concatenation_keeps_the_order_and_is_balanced(parts: list[str]):
    found = concatenated(parts)
    assert found.replace("(", "").replace(")", "").split(" || ") == parts
    depth = max(
        (found[:place].count("(") - found[:place].count(")")) for place in range(len(found))
    )
    assert depth <= len(parts).bit_length()
