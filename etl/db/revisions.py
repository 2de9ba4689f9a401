"""When the rows of each dataset, or the metadata of images, last changed; ETags derive from it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, text

from etl.model.dataset import USERS

if TYPE_CHECKING:
    from datetime import datetime


class Resource(StrEnum):
    """A resource with its own revision that is older than datasets."""

    USERS = "users"
    IMAGES = "images"


class Revision(NamedTuple):
    """Number and time of a change. The time distinguishes equal numbers of two databases."""

    number: int
    changed_at: datetime


def noun_of(dataset: str) -> str:
    """The resource of a dataset's rows; no name of a dataset yields that of another resource."""
    return Resource.USERS.value if dataset == USERS.name else f"dataset:{dataset}"


def advance(connection: Connection, noun: str) -> None:
    """Record a change of the resource, in the transaction that makes it."""
    connection.execute(
        text(
            "INSERT INTO revision (noun, number, changed_at) VALUES (:noun, 1, clock_timestamp())"
            " ON CONFLICT (noun) DO UPDATE"
            " SET number = revision.number + 1, changed_at = excluded.changed_at"
        ),
        {"noun": str(noun)},
    )


def current(connection: Connection) -> dict[str, Revision]:
    """The last committed change of each resource that has changed."""
    rows = connection.execute(text("SELECT noun, number, changed_at FROM revision"))
    return {row.noun: Revision(row.number, row.changed_at) for row in rows}
