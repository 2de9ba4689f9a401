"""The manifest as a run compares it with the listing: page by page, in the order of the keys."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import text

from etl.database import driver, translating

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from sqlalchemy import Engine

    from etl.model import Facts

PAGE_OBJECTS = 5_000

_SELECT = (
    # A date that was in the future has come: what held it is no longer known.
    "SELECT key, CASE WHEN reread_on <= %(today)s THEN '' ELSE etag END, size, last_modified"
    " FROM source_object WHERE bucket = %(bucket)s ORDER BY key"
)


@contextmanager
def manifest(engine: Engine, bucket: str, today: date) -> Iterator[Iterator[list[Facts]]]:
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


def cuts(engine: Engine, bucket: str, objects: int) -> list[str]:
    """Every so many objects a key of the manifest, in order."""
    with translating(), engine.connect() as connection:
        found = connection.execute(
            text(
                "SELECT key FROM (SELECT key, row_number() OVER (ORDER BY key) AS place"
                " FROM source_object WHERE bucket = :bucket) AS numbered"
                " WHERE place % :objects = 0 ORDER BY key"
            ),
            {"bucket": bucket, "objects": objects},
        )
        return list(found.scalars())
