"""The SQL of row queries, compiled once per template and cached.

SQLAlchemy takes longer to compile a statement than PostgreSQL takes to find a page of users.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from api.rows.query import select_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.rows.formats import Format
    from api.rows.query import RowQuery

CACHE_SIZE = 256  # templates; bounded because clients choose the fields and filters

_DIALECT = PGDialect_psycopg2()  # type: ignore[no-untyped-call]


def statement(
    query: RowQuery, kind: Format, *, has_json_scalar: bool
) -> tuple[str, Mapping[str, object]]:
    """The SQL for a server with or without json_scalar(), and the values of its parameters."""
    sql, constants = _compiled(query.template, kind, has_json_scalar)
    return sql, {**constants, **query.values}


@lru_cache(CACHE_SIZE)
def _compiled(
    template: RowQuery,
    kind: Format,
    has_json_scalar: bool,  # noqa: FBT001 - part of the cache key
) -> tuple[str, Mapping[str, object]]:
    expressions = kind.expressions(template, has_json_scalar)
    compiled = select_rows(template, expressions).compile(dialect=_DIALECT)
    return compiled.string, compiled.params
