"""The columns of a table that a response may contain: their SQL, and how it becomes JSON and CSV.

Names of columns may be any text. They become SQL only as quoted identifiers, and as JSON only
encoded. Values are always parameters.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Integer, and_, bindparam, cast, extract, or_

from etl.db.identifiers import quoted

if TYPE_CHECKING:
    from datetime import date

    from etl.model.types import SqlType


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One column of a response.

    `source` is a column of the table, or for `is_age` the date that the age is computed from.
    """

    name: str
    type: SqlType
    source: ColumnElement[Any]
    is_not_null: bool = False
    is_age: bool = False

    def value(self, today: date) -> ColumnElement[Any]:
        """The value, over the table, on a date."""
        return age_in_sql(self.source, today) if self.is_age else self.source

    def json(self, *, has_json_scalar: bool) -> str:
        """The SQL of its JSON, over `chosen`, for a server with json_scalar() or not."""
        template = self.type.traits.json
        if not has_json_scalar:
            template = template.replace("json_scalar(", "to_json(")
        text = template.format(column=self._chosen)
        return text if self.is_not_null else f"coalesce({text}, 'null')"

    @property
    def cell(self) -> str:
        """The SQL of its cell in CSV, over the subquery `chosen`."""
        return f"{self.type.traits.cell.format(column=self._chosen)} AS {quoted(self.name)}"

    @property
    def _chosen(self) -> str:
        return f"chosen.{quoted(self.name)}"


def json_object(
    columns: tuple[Column, ...], before: str = "", after: str = "", *, has_json_scalar: bool
) -> list[str]:
    """The SQL of the parts of a JSON object with these columns, between two texts."""
    parts, gap = [], before + "{"
    for column in columns:
        name = json.dumps(column.name, ensure_ascii=False)
        parts += [sql_text(f"{gap}{name} : "), column.json(has_json_scalar=has_json_scalar)]
        gap = ", "
    end = "}" if columns else gap + "}"
    return [*parts, sql_text(end + after)]


def concatenated(parts: list[str]) -> str:
    """The SQL of all texts in a row.

    As a balanced tree, so that the copied bytes grow with n log n and not with n². Concatenation
    is faster than `json_build_object` and `row_to_json`.
    """
    if len(parts) == 1:
        return parts[0]
    middle = (len(parts) + 1) // 2
    return f"({concatenated(parts[:middle])} || {concatenated(parts[middle:])})"


def sql_text(text: str) -> str:
    """The text as an SQL literal whose meaning does not depend on standard_conforming_strings."""
    parts = ["'" + part.replace("'", "''") + "'" for part in text.split("\\")]
    return " || chr(92) || ".join(parts)


def age_in_sql(birthdate: ColumnElement[Any], today: date) -> ColumnElement[int]:
    """The age in whole calendar years on `today`, as `filters.age_on`."""
    month: ColumnElement[int] = bindparam("month", today.month)
    is_before_birthday = or_(
        _part("month", birthdate) > month,
        and_(
            _part("month", birthdate) == month,
            _part("day", birthdate) > bindparam("day", today.day),
        ),
    )
    year = _part("year", birthdate)
    return bindparam("year", today.year) - year - cast(is_before_birthday, Integer)


def _part(field: str, birthdate: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(extract(field, birthdate), Integer)
