"""The manifest as a run compares it with the listing: page by page, in the order of the keys."""

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

# A date that was in the future has come: what held it is no longer known.
_FACTS = "key, CASE WHEN reread_on <= {today} THEN '' ELSE etag END, size, last_modified"
_SELECT = (
    f"SELECT {_FACTS.format(today='%(today)s')}"
    " FROM source_object WHERE bucket = %(bucket)s ORDER BY key"
)


@contextmanager
def manifest(engine: Engine, bucket: str, today: date) -> Iterator[Iterator[list[ListingEntry]]]:
    """The committed source objects, from a server-side cursor.

    It is the driver's own: SQLAlchemy takes as long again for every row as the driver.
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
    """What the manifest holds of these keys, in their order."""
    rows = connection.execute(
        text(
            f"SELECT {_FACTS.format(today=':today')} FROM source_object"
            " WHERE bucket = :bucket AND key = ANY(CAST(:keys AS text[])) ORDER BY key"
        ),
        {"bucket": bucket, "keys": list(keys), "today": today},
    )
    return [SourceObject(*row) for row in rows]


def cuts(engine: Engine, bucket: str, objects: int) -> list[str]:
    """Every so many objects a key of the manifest, in order; other ones each time.

    So that no stretch of a listing begins where one before it stopped (see `listing`).
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
