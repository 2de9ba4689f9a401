"""A cached statement equals the one that each request would build."""

from __future__ import annotations

from datetime import date
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from api.rows.fields import FIELDS, RowQuery, select_rows
from api.rows.filters import Filters, ImageWanted
from api.rows.formats import FORMATS
from api.rows.statements import statement

ages = st.none() | st.integers(0, 150)
filters = st.builds(
    Filters,
    is_image_exists=st.none() | st.booleans(),
    min_age=ages,
    max_age=ages,
    image=st.none() | st.sampled_from(ImageWanted),
)
queries = st.builds(
    RowQuery,
    filters=filters,
    today=st.dates(date(2020, 1, 1), date(2040, 12, 31)),
    fields=st.lists(st.sampled_from(sorted(FIELDS)), unique=True).map(tuple),
    after=st.none() | st.text(),
    limit=st.none() | st.integers(1, 10_000),
)


@given(queries, st.sampled_from(sorted(FORMATS)))
def test_cached_statement_equals_a_new_one(row_query: RowQuery, name: str):
    kind = FORMATS[name]
    new = select_rows(row_query, kind.expressions(row_query.columns)).compile(
        dialect=PGDialect_psycopg2()  # type: ignore[no-untyped-call]
    )
    query, values = statement(row_query, kind, has_json_scalar=True)
    assert query == new.string
    assert {each: values[each] for each in new.params} == new.params


def test_statements_do_not_contain_values():
    one = RowQuery(Filters(min_age=18, max_age=65), date(2026, 6, 15), after="a", limit=10)
    other = RowQuery(Filters(min_age=0, max_age=1), date(2024, 2, 29), after="'; --", limit=7)
    cached = [statement(each, FORMATS["json"], has_json_scalar=True)[0] for each in (one, other)]
    assert cached[0] == cached[1]
    assert one.values != other.values


def test_different_queries_have_different_statements():
    day = date(2026, 6, 15)
    variants = [
        RowQuery(Filters(), day),
        RowQuery(Filters(min_age=0), day),
        RowQuery(Filters(max_age=0), day),
        RowQuery(Filters(is_image_exists=False), day),
        RowQuery(Filters(is_image_exists=True), day),
        RowQuery(Filters(image=ImageWanted.MISSING), day),
        RowQuery(Filters(image=ImageWanted.READY), day),
        RowQuery(Filters(), day, fields=("age",)),
        RowQuery(Filters(), day, after=""),
        RowQuery(Filters(), day, limit=1),
    ]
    for one, other in combinations(variants, 2):
        assert one.template != other.template


@pytest.mark.parametrize("name", ["json", "ndjson"])
def test_older_server_gets_no_unsupported_functions(name: str):
    row_query = RowQuery(Filters(), date(2026, 6, 15))
    query, _ = statement(row_query, FORMATS[name], has_json_scalar=False)
    assert "json_scalar" not in query
    assert query.count("to_json(") == 4
