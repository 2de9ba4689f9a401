"""A database that is emptied before each use: as good as a new one, which takes longer."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, text

from etl.db.engine import connect
from etl.db.identifiers import in_text
from etl.settings import Settings

_TABLES = (
    "SELECT nspname, relname FROM pg_class JOIN pg_namespace ON relnamespace = pg_namespace.oid"
    " WHERE relkind = 'r' AND nspname IN ('public', current_schema) ORDER BY 1, 2"
)
_SHAPE = (
    "SELECT attrelid::regclass::text, attname, format_type(atttypid, atttypmod), attnotnull"
    " FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid"
    " WHERE attnum > 0 AND NOT attisdropped AND relnamespace IN"
    " ('public'::regnamespace, current_schema::regnamespace) ORDER BY 1, 2"
).replace("::", r"\:\:")


class EmptiedDatabase:
    """A database that has just been migrated, and that only one run uses between two calls."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine = connect(settings)
        with self.engine.connect() as connection:
            self._shape = _rows(connection, _SHAPE)
            self._tables = _rows(connection, _TABLES)
            self._filled = {
                one for one in self._tables if connection.scalar(text(f"TABLE {_name(one)}"))
            }

    def empty(self) -> None:
        """Drop the tables and delete the rows that it did not have at first; check its columns."""
        with self.engine.begin() as connection:
            more = [one for one in _rows(connection, _TABLES) if one not in self._tables]
            statements = [f"DROP TABLE {', '.join(map(_name, more))}"] if more else []
            statements += [
                f"DELETE FROM {_name(one)}" for one in self._tables if one not in self._filled
            ]
            connection.execute(text(";".join(statements)))
            changed = set(_rows(connection, _SHAPE)).symmetric_difference(self._shape)
            assert not changed, changed


def _rows(connection: Connection, statement: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(text(statement))]


def _name(table: tuple[str, str]) -> str:
    return ".".join(map(in_text, table))
