"""The SQL of an answer about many users, built once for all that differ in values alone.

SQLAlchemy takes longer to build and compile a statement than PostgreSQL to find a page of users.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from api.rows.fields import rows_of
from api.rows.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.rows.fields import RowQuery
    from api.rows.formats import Format

KEPT = 256  # shapes; readers choose the fields and their order, so there is no end of them
KNOWS_JSON_SCALAR = 170_000  # the first PostgreSQL that does, as the driver counts them

_DIALECT = PGDialect_psycopg2()  # type: ignore[no-untyped-call]


def statement(
    wanted: RowQuery, kind: Format, server_version: int
) -> tuple[str, Mapping[str, object]]:
    """The statement for that server, and the values of its parameters."""
    query, constants = _built(wanted.shape, kind.name, server_version >= KNOWS_JSON_SCALAR)
    return query, {**constants, **wanted.values}


@lru_cache(KEPT)
def _built(
    shape: RowQuery,
    format_name: str,
    knows_json_scalar: bool,  # noqa: FBT001 - part of the key
) -> tuple[str, Mapping[str, object]]:
    expressions = FORMATS[format_name].expressions(shape.columns)
    if not knows_json_scalar:  # expressions hold names of ours, and never data
        expressions = [each.replace("json_scalar(", "to_json(") for each in expressions]
    compiled = rows_of(shape, expressions).compile(dialect=_DIALECT)
    return compiled.string, compiled.params
