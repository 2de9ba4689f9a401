"""Lists in query strings, SQL texts, and the cache of expensive numbers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.rows.columns import concatenated, sql_text
from api.rows.conditions import column_name, items
from api.state.figures import FigureCache
from etl.model.errors import TransientError


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


def test_a_number_is_computed_once_per_version():
    figures, computed = FigureCache(), []
    for version in (1, 1, 2, 2, 1):
        figures.get("name", version, lambda: computed.append(1))
    assert len(computed) == 3


def test_simultaneous_requests_compute_a_number_once():
    figures, computed, started = FigureCache(), [], threading.Barrier(4)

    def ask() -> int:
        started.wait()
        return int(figures.get("name", 1, lambda: computed.append(1) or 7))

    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(ask) for _ in range(4)]
    assert [one.result() for one in answers] == [7] * 4
    assert len(computed) == 1


def test_a_request_does_not_wait_for_ever():
    figures, entered, leave = FigureCache(wait_seconds=0.01), threading.Event(), threading.Event()

    def slow() -> None:
        entered.set()
        leave.wait(30)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(figures.get, "name", 1, slow)
        assert entered.wait(30)
        with pytest.raises(TransientError):
            figures.get("name", 1, slow)
        leave.set()


def test_a_failed_computation_is_tried_again():
    figures = FigureCache()
    with pytest.raises(ZeroDivisionError):
        figures.get("name", 1, lambda: 1 // 0)
    assert figures.get("name", 1, lambda: 5) == 5
