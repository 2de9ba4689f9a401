"""When the users, or the metadata of their images, last changed; ETags derive from it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

if TYPE_CHECKING:
    from datetime import datetime


class Resource(StrEnum):
    """A resource with its own revision."""

    USERS = "users"
    IMAGES = "images"


def advance(connection: Connection, resource: Resource) -> None:
    """Record a change of the resource, in the transaction that makes it."""
    connection.execute(
        text(
            "UPDATE revision SET number = number + 1, changed_at = clock_timestamp()"
            " WHERE noun = :noun"
        ),
        {"noun": resource},
    )


def current(connection: Connection) -> dict[Resource, tuple[int, datetime]]:
    """Number and time of the last committed change, by resource.

    The time distinguishes equal numbers of two databases.
    """
    rows = connection.execute(text("SELECT noun, number, changed_at FROM revision"))
    return {Resource(row.noun): (row.number, row.changed_at) for row in rows}
