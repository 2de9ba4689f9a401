"""Values shown in problems are harmless wherever they are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model.safe_text import safe_value


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("", ""),
        ("Zoë 李 🙂", "Zoë 李 🙂"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\x1b[31m\0\x7f", r"\x1b[31m\x00\x7f"),
        ("a\u202eb\u2066c\u200bd\u2028e\ufeff", r"a\u202eb\u2066c\u200bd\u2028e\ufeff"),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 99 + "…"),
        ("\0" * 50, r"\x00" * 24 + r"\x0…"),
    ],
)
def test_unprintable_characters_are_escaped(text: str, escaped: str):
    assert safe_value(text) == escaped


@given(st.text(max_size=300))
def test_a_shown_value_prints_and_is_short(text: str):
    escaped = safe_value(text)
    assert escaped.isprintable()
    assert len(escaped) <= 100
