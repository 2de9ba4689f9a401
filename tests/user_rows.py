"""Rows of the users table, which tests insert directly."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Engine, insert, text

from etl.db.revisions import Resource, advance
from etl.db.tables import users, users_retired

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
EPOCH = date(1970, 1, 1)


def birthts(birthdate: date) -> int:
    return (birthdate - EPOCH).days * 86_400_000


def person(user_id: str, birthdate: date = date(1990, 6, 15), **values: object) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "first_name": "Ann",
        "last_name": "Smith",
        "birthts": birthts(birthdate),
        "img_path": None,
        "_extra": None,
        "_source_key": f"{user_id}.csv",
        "_source_line": 2,
        "_run_id": 1,
        "_updated_at": NOW,
    } | values


def put_users(engine: Engine, *rows: dict[str, Any]) -> None:
    with engine.begin() as connection:
        connection.execute(insert(users), list(rows))


def retire_users(engine: Engine, *rows: dict[str, Any], at: datetime = NOW) -> None:
    """Insert users that are no longer in the bucket."""
    with engine.begin() as connection:
        connection.execute(insert(users_retired), [row | {"_retired_at": at} for row in rows])


def generate_users(engine: Engine, count: int, first_name: str = "repeat('x', 100)") -> None:
    """Insert users and advance the revision, as a merge does; `first_name` is SQL over i."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO users (user_id, first_name, last_name, birthts, _source_key,"
                f" _source_line, _run_id, _updated_at) SELECT lpad(i::text, 8, '0'), {first_name},"
                " 'Smith', i, 'k.csv', i, 1, now() FROM generate_series(1, :count) i"
            ),
            {"count": count},
        )
        advance(connection, Resource.USERS)
