"""Results of verify's reader, in the forms that its tests assert."""

from __future__ import annotations

from datetime import date

from etl.verify.reader import Reading, read

TODAY = date(2024, 2, 29)
HEADER = "first_name,last_name,birthts"
WITH_ID = f"user_id,{HEADER}"


def reading(content: str | bytes, key_user_id: str = "1000") -> Reading:
    raw = content.encode() if isinstance(content, str) else content
    return read(raw, key_user_id, TODAY)


def names(content: str | bytes) -> list[tuple[int, str]]:
    return [(row.line, row.first_name) for row in reading(content).rows]


def rejected(row: str, header: str = HEADER) -> list[tuple[int, str]]:
    """The problems of one row, on line 2."""
    return reading(f"{header}\n{row}\n").rejected


def faults(content: str | bytes, key_user_id: str = "1000") -> set[str]:
    found = reading(content, key_user_id)
    assert found.rows == []
    assert found.rejected == []
    return found.faults
