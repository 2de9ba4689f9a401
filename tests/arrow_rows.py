"""Rows of Arrow tables as Python values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def rows_of(table: pa.Table, *names: str) -> list[list[Any]]:
    """The rows as lists of the named columns, or of all."""
    columns = table.select(list(names)) if names else table
    return [list(row.values()) for row in columns.to_pylist()]
