"""The manifest, in pages in key order, for the comparison with the listing."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import text

from etl.db.engine import driver, translating
from etl.model.values import SourceObject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from sqlalchemy import Connection, Engine

    from etl.model.values import ListingEntry

PAGE_OBJECTS = 5_000

# An object is read again, as if it were unknown, once a date that was in the future has come.
_ENTRY = "key, CASE WHEN reread_on <= {today} THEN '' ELSE etag END, size, last_modified"
_SELECT = (
    f"SELECT {_ENTRY.format(today='%(today)s')}"
    " FROM source_object WHERE bucket = %(bucket)s ORDER BY key"
)


@contextmanager
def manifest(engine: Engine, bucket: str, today: date) -> Iterator[Iterator[list[ListingEntry]]]:
    """The committed source objects, from a server-side cursor.

    The cursor is the driver's, because SQLAlchemy doubles the time per row.
    """
    with (
        translating(),
        engine.connect() as connection,
        driver(connection).cursor(name="manifest") as cursor,
    ):
        cursor.execute(_SELECT, {"bucket": bucket, "today": today})
        yield iter(lambda: cursor.fetchmany(PAGE_OBJECTS), [])


def known(
    connection: Connection, bucket: str, keys: Sequence[str], today: date
) -> list[SourceObject]:
    """The manifest entries of these keys, in key order."""
    rows = connection.execute(
        text(
            f"SELECT {_ENTRY.format(today=':today')} FROM source_object"
            " WHERE bucket = :bucket AND key = ANY(CAST(:keys AS text[])) ORDER BY key"
        ),
        {"bucket": bucket, "keys": list(keys), "today": today},
    )
    return [SourceObject(*row) for row in rows]


def split_points(engine: Engine, bucket: str, objects: int) -> list[str]:
    """Keys of the manifest, in order, that split it into ranges of so many objects.

    The first one is random, so that no listing continues where an earlier one stopped; see
    `etl.storage.listing`.
    """
    with translating(), engine.connect() as connection:
        found = connection.execute(
            text(
                "SELECT key FROM (SELECT key, row_number() OVER (ORDER BY key) AS place"
                " FROM source_object WHERE bucket = :bucket) AS numbered"
                " WHERE place % :objects = :phase ORDER BY key"
            ),
            {"bucket": bucket, "objects": objects, "phase": secrets.randbelow(objects)},
        )
        return list(found.scalars())
