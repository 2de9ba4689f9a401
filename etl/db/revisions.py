"""When the rows of each dataset, or the metadata of images, last changed; ETags derive from it."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, text

from etl.db.engine import schemas_of
from etl.db.names import dataset_channel
from etl.db.round_trips import later
from etl.model.dataset import USERS

if TYPE_CHECKING:
    from collections.abc import Mapping
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


_ADVANCE = (
    "INSERT INTO revision (noun, number, changed_at) VALUES (:noun, 1, clock_timestamp())"
    " ON CONFLICT (noun) DO UPDATE"
    " SET number = revision.number + 1, changed_at = excluded.changed_at"
)
_ANNOUNCE = (
    f"WITH advanced AS ({_ADVANCE} RETURNING number)"
    " SELECT pg_notify(:channel, :facts || number || '}') FROM advanced"
)


def advance(connection: Connection, noun: str) -> None:
    """Record a change of the resource, in the transaction that makes it."""
    later(connection, _ADVANCE, {"noun": str(noun)})


def announce(connection: Connection, dataset: str, run_id: int, changes: Mapping[str, int]) -> None:
    """Record a change of a dataset, and notify of it when this transaction commits.

    `changes` are the numbers of rows by what the run did to them; a rebuild may change none.
    PostgreSQL sends the notification with the commit: never before it, and never without it.
    """
    facts = json.dumps({"dataset": dataset, "run_id": run_id, **changes})
    later(
        connection,
        _ANNOUNCE,
        {
            "noun": noun_of(dataset),
            "channel": dataset_channel(dataset, schemas_of(connection.engine).state),
            "facts": facts.removesuffix("}") + ', "revision": ',
        },
    )


def current(connection: Connection) -> dict[str, Revision]:
    """The last committed change of each resource that has changed."""
    rows = connection.execute(text("SELECT noun, number, changed_at FROM revision"))
    return {row.noun: Revision(row.number, row.changed_at) for row in rows}
