"""When the users, or the facts about their images, last changed: what an ETag is made of."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

if TYPE_CHECKING:
    from datetime import datetime


class Resource(StrEnum):
    """What has a revision of its own."""

    USERS = "users"
    IMAGES = "images"


def advance(connection: Connection, noun: Resource) -> None:
    """Say that it changed; part of the transaction that changes it."""
    connection.execute(
        text(
            "UPDATE revision SET number = number + 1, changed_at = clock_timestamp()"
            " WHERE noun = :noun"
        ),
        {"noun": noun},
    )


def current(connection: Connection) -> dict[Resource, tuple[int, datetime]]:
    """Number and time of the last committed change, by noun.

    The time tells equal numbers of two databases apart.
    """
    rows = connection.execute(text("SELECT noun, number, changed_at FROM revision"))
    return {Resource(row.noun): (row.number, row.changed_at) for row in rows}
