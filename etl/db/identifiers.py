"""Identifiers as SQL text: quoted, so that any name is possible and none becomes syntax."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import TableClause, column, table
from sqlalchemy.sql.elements import quoted_name

if TYPE_CHECKING:
    from collections.abc import Iterable


def quoted(name: str) -> str:
    """The name as a quoted identifier, for SQL that goes to the driver as it is."""
    return '"' + name.replace('"', '""') + '"'


def in_text(name: str) -> str:
    """The name as a quoted identifier in SQLAlchemy's `text`, where a colon marks a parameter."""
    return quoted(name).replace(":", r"\:")


def table_of(name: str, schema: str, columns: Iterable[str]) -> TableClause:
    """The table with these columns, whose names are always quoted."""
    return table(
        quoted_name(name, quote=True),
        *(column(quoted_name(one, quote=True)) for one in columns),
        schema=quoted_name(schema, quote=True),
    )
