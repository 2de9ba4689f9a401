"""The SQL of row queries, compiled once per template and cached, and the COPY that runs it.

SQLAlchemy takes longer to compile a statement than PostgreSQL takes to find a page of users.
"""

from __future__ import annotations

import io
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, BinaryIO

from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from api.rows import cursors
from api.rows.query import select_rows
from etl.db.engine import driver

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

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


def copy_rows(
    connection: Connection, query: RowQuery, kind: Format, sink: BinaryIO, *, has_json_scalar: bool
) -> None:
    """Copy the rows into the sink, to be encoded by `kind`."""
    sql, values = statement(query, kind, has_json_scalar=has_json_scalar)
    with driver(connection).cursor() as cursor:
        literal_sql = cursor.mogrify(sql, values)  # COPY accepts no parameters
        options = kind.copy_options.encode()
        cursor.copy_expert(b"COPY (" + literal_sql + b") TO STDOUT (" + options + b")", sink)


def copy_page(
    connection: Connection, query: RowQuery, kind: Format, *, has_json_scalar: bool
) -> tuple[bytes, str | None]:
    """The rows up to the limit, to be encoded by `kind`, and `after` of the next page, if any."""
    sink = io.BytesIO()
    one_more = replace(query, limit=(query.limit or 0) + 1)
    copy_rows(connection, one_more, kind, sink, has_json_scalar=has_json_scalar)
    content, last = kind.cut(sink.getvalue(), query)
    return content, None if last is None else cursors.text(query.shape, last)


@lru_cache(CACHE_SIZE)
def _compiled(
    template: RowQuery,
    kind: Format,
    has_json_scalar: bool,  # noqa: FBT001 - part of the cache key
) -> tuple[str, Mapping[str, object]]:
    expressions = kind.expressions(template, has_json_scalar)
    compiled = select_rows(template, expressions).compile(dialect=_DIALECT)
    return compiled.string, compiled.params
