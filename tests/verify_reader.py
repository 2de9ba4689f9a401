"""Results of verify's reader of users, in the forms that its tests assert."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

from etl.model.dataset import USERS
from etl.verify.layout import ObjectColumns
from etl.verify.reader import read as read_file

TODAY = date(2024, 2, 29)
HEADER = "first_name,last_name,birthts"
WITH_ID = f"user_id,{HEADER}"


@dataclass(frozen=True)
class Row:
    """A valid row of a user."""

    line: int
    user_id: object
    first_name: object
    last_name: object
    birthts: object
    extra: dict[str, str] | None = None


@dataclass(frozen=True)
class Reading:
    """The rows and faults of one file of users."""

    faults: set[str] = field(default_factory=set)
    rows: list[Row] = field(default_factory=list)
    rejected: list[tuple[int, str]] = field(default_factory=list)
    rows_rejected: int = 0


def read(content: bytes, key_user_id: str = "1000", today: date = TODAY) -> Reading:
    found = read_file(content, ObjectColumns(USERS), f"{key_user_id}.csv", today)
    assert set(found.faults.values()) <= {1}
    return Reading(
        set(found.faults),
        [Row(row.line, *row.values, row.extra) for row in found.rows],
        found.rejected,
        found.rows_rejected,
    )


def reading(content: str | bytes, key_user_id: str = "1000") -> Reading:
    return read(content.encode() if isinstance(content, str) else content, key_user_id)


def names(content: str | bytes) -> list[tuple[int, object]]:
    return [(row.line, row.first_name) for row in reading(content).rows]


def rejected(row: str, header: str = HEADER) -> list[tuple[int, str]]:
    """The problems of one row, on line 2."""
    return reading(f"{header}\n{row}\n").rejected


def faults(content: str | bytes, key_user_id: str = "1000") -> set[str]:
    found = reading(content, key_user_id)
    assert found.rows == []
    assert found.rejected == []
    return found.faults
