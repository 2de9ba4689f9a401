"""Stored values as values of another column type, converted by PostgreSQL."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from etl.db.conversions import converted

# The former type; then, by wanted type, pairs of a stored value and what it becomes.
CASES = [
    ("text", "integer", {"12": "12", "-0012": "-12", "+3": "3", "12.0": "12", "1.5": None}),
    ("text", "integer", {"2147483648": None, "-2147483648": "-2147483648", "": None, "1e3": None}),
    ("text", "bigint", {"9223372036854775807": "9223372036854775807", "9" * 30: None}),
    ("text", "numeric(6,2)", {"1.50": "1.50", "1.505": None, "9999.99": "9999.99", "10000": None}),
    ("text", "numeric", {"1.505": "1.505", "1,5": None, " 1": None, "NaN": None, "1 000": None}),
    ("text", "double precision", {"0.1": "0.1", "9" * 99: "1e+99", "Infinity": None}),
    ("text", "character varying(3)", {"abc": "abc", "abcd": None, "äöü": "äöü"}),
    ("text", "date", {"2026-01-02": None}),
    ("text", "boolean", {"true": None}),
    ("text", "jsonb", {"{}": None}),
    ("character varying(9)", "text", {"abc": "abc", "": ""}),
    ("character varying(9)", "smallint", {"32767": "32767", "32768": None}),
    ("numeric", "integer", {"7.00": "7", "7.01": None, "NaN": None, "Infinity": None}),
    ("numeric(12,2)", "numeric(5,2)", {"999.99": "999.99", "-1000": None}),
    ("numeric(12,2)", "numeric(12,1)", {"1.50": "1.5", "1.55": None}),
    ("numeric", "numeric(3,-2)", {"1200": "1200", "1250": None, "99999": None}),
    ("numeric(12,2)", "text", {"1.50": "1.50"}),
    ("numeric(12,2)", "character varying(4)", {"1.50": "1.50", "10.50": None}),
    ("numeric", "real", {"1.5": "1.5", "1e38": None}),
    ("double precision", "numeric(6,2)", {"1.5": "1.50", "1.555": None, "NaN": None}),
    ("double precision", "bigint", {"1e15": "1000000000000000", "1e19": None, "Infinity": None}),
    ("bigint", "integer", {"2147483647": "2147483647", "2147483648": None}),
    ("bigint", "timestamp with time zone", {"0": None}),
    ("boolean", "text", {"true": "true"}),
    ("date", "text", {"2026-01-02": "2026-01-02"}),
    ("date", "timestamp with time zone", {"2026-01-02": None}),
    ("jsonb", "text", {'{"a": 1}': '{"a": 1}'}),
]


@pytest.mark.parametrize(("stored", "wanted", "values"), CASES)
def test_values_that_fit_are_converted_and_others_are_null(
    engine: Engine, stored: str, wanted: str, values: dict[str, str | None]
):
    expression = converted('"value"', stored, wanted) or "CAST(NULL AS text)"
    statement = text(
        f"SELECT key, CAST({expression} AS text)"
        f" FROM (SELECT key, CAST(key AS {stored}) AS value FROM unnest(:keys) AS key) AS found"
    )
    with engine.connect() as connection:
        found = connection.execute(statement, {"keys": list(values)}).all()
    assert dict(map(tuple, found)) == values


def test_texts_in_another_notation_are_no_numbers():
    assert converted("value", "text", "numeric", is_plain=False) is None
    assert converted("value", "numeric", "bigint", is_plain=False) is not None
