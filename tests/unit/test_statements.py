"""A cached statement equals the one that each request would build."""

from __future__ import annotations

from datetime import date
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from api.rows.filters import Filters, ImageWanted
from api.rows.formats import FORMATS
from api.rows.query import RowQuery, select_rows
from api.rows.shapes import USERS_OF_DATA
from api.rows.statements import statement

ages = st.none() | st.integers(0, 150)
filters = st.builds(
    Filters,
    is_image_exists=st.none() | st.booleans(),
    min_age=ages,
    max_age=ages,
    image=st.none() | st.sampled_from(ImageWanted),
)
FIELDS = USERS_OF_DATA.default_fields
OPTIONAL = sorted(set(USERS_OF_DATA.columns) - {"user_id"})


def row_query(
    filters: Filters,
    today: date,
    fields: tuple[str, ...] = FIELDS,
    after: str | None = None,
    limit: int | None = None,
) -> RowQuery:
    """A query of GET /data."""
    place = None if after is None else (after,)
    return RowQuery(USERS_OF_DATA, filters, today, ("user_id", *fields), place, limit)


queries = st.builds(
    row_query,
    filters=filters,
    today=st.dates(date(2020, 1, 1), date(2040, 12, 31)),
    fields=st.lists(st.sampled_from(OPTIONAL), unique=True).map(tuple),
    after=st.none() | st.text(),
    limit=st.none() | st.integers(1, 10_000),
)


@given(queries, st.sampled_from(sorted(FORMATS)))
def test_cached_statement_equals_a_new_one(asked: RowQuery, name: str):
    kind = FORMATS[name]
    expressions = kind.expressions(asked, True)  # noqa: FBT003 - as callers pass it
    new = select_rows(asked, expressions).compile(
        dialect=PGDialect_psycopg2()  # type: ignore[no-untyped-call]
    )
    query, values = statement(asked, kind, has_json_scalar=True)
    assert query == new.string
    assert {each: values[each] for each in new.params} == new.params


def test_statements_do_not_contain_values():
    one = row_query(Filters(min_age=18, max_age=65), date(2026, 6, 15), after="a", limit=10)
    other = row_query(Filters(min_age=0, max_age=1), date(2024, 2, 29), after="'; --", limit=7)
    cached = [statement(each, FORMATS["json"], has_json_scalar=True)[0] for each in (one, other)]
    assert cached[0] == cached[1]
    assert one.values != other.values


def test_different_queries_have_different_statements():
    day = date(2026, 6, 15)
    variants = [
        row_query(Filters(), day),
        row_query(Filters(min_age=0), day),
        row_query(Filters(max_age=0), day),
        row_query(Filters(is_image_exists=False), day),
        row_query(Filters(is_image_exists=True), day),
        row_query(Filters(image=ImageWanted.MISSING), day),
        row_query(Filters(image=ImageWanted.READY), day),
        row_query(Filters(), day, fields=("age",)),
        row_query(Filters(), day, after=""),
        row_query(Filters(), day, limit=1),
    ]
    for one, other in combinations(variants, 2):
        assert one.template != other.template


@pytest.mark.parametrize("name", ["json", "ndjson"])
def test_older_server_gets_no_unsupported_functions(name: str):
    asked = row_query(Filters(), date(2026, 6, 15))
    query, _ = statement(asked, FORMATS[name], has_json_scalar=False)
    assert "json_scalar" not in query
    assert query.count("to_json(") == 4
