"""Objects of other owners that depend on columns, and the statements that remove them.

PostgreSQL refuses to drop a column that a view uses, and drops an index together with its column.
Both are for the operator to decide, so they are listed first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, Row, text

from etl.db.sql import statements
from etl.model.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence


_PG_TYPE, _PG_CLASS = 1247, 1259  # the catalogs' own ids, the same in every database
_MOST_LEVELS = 100  # views may depend on each other through functions


class _Place(NamedTuple):
    """An object as in pg_depend; `column` 0 is the whole object."""

    class_id: int
    object_id: int
    column: int


@dataclass(frozen=True, slots=True)
class Dependent:
    """An object that depends on another.

    `drop` is None if PostgreSQL drops it together with another one, or has no statement for it.
    """

    description: str
    drop: str | None
    create: str | None

    def lines(self) -> list[str]:
        """The statement that drops it, and as a comment the one that creates it again."""
        created = [f"-- {line}" for line in (self.create or "").strip().splitlines()]
        if self.drop is None and not created:
            return [f"-- Remove {self.description}."]
        return [*([self.drop] if self.drop else []), *created]


def dependents(
    connection: Connection,
    relation: str,
    columns: Collection[str] = (),
    *,
    own: Collection[str] = (),
    with_automatic: bool | None = None,
) -> list[Dependent]:
    """What depends on columns of a table, directly or through others, in the order to drop it.

    Without `columns`, what depends on the whole table or index, except what PostgreSQL drops with
    it; `with_automatic` includes or excludes that in both cases. `relation` is quoted. `own` are
    descriptions, with schemas, of objects to leave out.
    """
    nested = connection.begin_nested()
    given = _given(connection, relation, columns)
    # Without a search_path, PostgreSQL shows all names with their schemas.
    connection.exec_driver_sql("SET LOCAL search_path = pg_catalog")
    is_with = bool(columns) if with_automatic is None else with_automatic
    listed = _all(connection, given, own, with_automatic=is_with)
    nested.rollback()
    return listed


def refuse(found: Iterable[Dependent], message: str) -> None:
    """Refuse to go on if there are any.

    Raises:  ConfigurationError with the statements to run.
    """
    lines = [line for one in dict.fromkeys(found) for line in one.lines()]
    if lines:
        raise ConfigurationError(
            message,
            hint="Run these statements, and then the command again:\n" + "\n".join(lines),
        )


def _given(connection: Connection, relation: str, columns: Collection[str]) -> list[_Place]:
    if not columns:
        statement = text("SELECT CAST(CAST(:relation AS regclass) AS oid)")
        return [
            _Place(_PG_CLASS, connection.execute(statement, {"relation": relation}).scalar_one(), 0)
        ]
    found = connection.execute(
        text(statements("dependents")["columns"]), {"table": relation, "names": list(columns)}
    )
    return [_Place(*row) for row in found]


def _all(
    connection: Connection, given: list[_Place], own: Collection[str], *, with_automatic: bool
) -> list[Dependent]:
    listed: dict[_Place, Dependent] = {}
    is_first = True
    for _ in range(_MOST_LEVELS):
        if not given:
            break
        rows = [
            row
            for row in _direct(connection, given)
            if row.description not in own and (with_automatic or not row.is_automatic)
        ]
        for row in rows:
            place = _place(row)
            listed.pop(place, None)  # drop it before all that it depends on
            listed[place] = _dependent(row, is_with_parent=row.is_automatic and not is_first)
        given = [place for row in rows for place in _parts(row)]
        is_first, with_automatic = False, True
    return list(reversed(listed.values()))


def _direct(connection: Connection, places: Iterable[_Place]) -> Sequence[Row[Any]]:
    classes, objects, columns = zip(*places, strict=True)
    return connection.execute(
        text(statements("dependents")["direct"]),
        {"classes": list(classes), "objects": list(objects), "columns": list(columns)},
    ).all()


def _dependent(row: Row[Any], *, is_with_parent: bool) -> Dependent:
    create = "\n".join(part for part in (row.create_statement, row.grants) if part)
    drop = None if is_with_parent else row.drop_statement
    return Dependent(row.description, drop, create or None)


def _place(row: Row[Any]) -> _Place:
    return _Place(row.class_id, row.object_id, row.column_id)


def _parts(row: Row[Any]) -> list[_Place]:
    """The object and its parts that others may depend on."""
    place = _place(row)
    parts = [place]
    if row.row_type:
        parts.append(_Place(_PG_TYPE, row.row_type, 0))
    if row.generated_in:
        parts.append(_Place(_PG_CLASS, row.generated_in, row.generated_column))
    if row.index_id:
        parts.append(_Place(_PG_CLASS, row.index_id, 0))
    return parts
