"""The manifest, in pages in key order, for the comparison with the listing."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import text

from etl.db.engine import driver, translating
from etl.db.round_trips import Question, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import date

    from sqlalchemy import Connection, Engine

    from etl.model.values import ListingEntry

PAGE_OBJECTS = 5_000

# An object is read again, as if it were unknown, once a date that was in the future has come, or
# the declaration of its dataset changed.
_ENTRY = (
    "source_object.key, CASE WHEN reread_on <= {today}"
    " OR source_object.reading_hash IS DISTINCT FROM dataset.reading_hash"
    " THEN '' ELSE etag END, size, last_modified"
)
_TABLES = (
    "source_object LEFT JOIN unnest(CAST({names} AS text[]), CAST({hashes} AS text[]))"
    " AS dataset (name, reading_hash) ON dataset.name = source_object.dataset"
)
_ROUTE = ", source_object.dataset, kind, attachment, attachment_id"
_PAGES = "SELECT {entry} FROM {tables} WHERE bucket = %(bucket)s ORDER BY source_object.key"

StoredRoute: TypeAlias = tuple[str | None, str, str | None, str | None]


@contextmanager
def manifest(
    engine: Engine,
    bucket: str,
    today: date,
    hashes: Mapping[str, str],
    route: Callable[[str], StoredRoute] | None = None,
) -> Iterator[Iterator[list[ListingEntry]]]:
    """The committed source objects, from a server-side cursor.

    `hashes` stand for the declarations by dataset. With `route`, the dataset, kind, attachment and
    attachment id of a key, objects of which these are stored otherwise are read again. The cursor
    is the driver's, because SQLAlchemy doubles the time per row.
    """
    entry = _ENTRY.format(today="%(today)s") + (_ROUTE if route else "")
    with (
        translating(),
        engine.connect() as connection,
        driver(connection).cursor(name="manifest") as cursor,
    ):
        tables = _TABLES.format(names="%(names)s", hashes="%(hashes)s")
        statement = _PAGES.format(entry=entry, tables=tables)
        parameters = {"bucket": bucket, "today": today}
        cursor.execute(statement, parameters | _arrays(hashes))
        pages = iter(lambda: cursor.fetchmany(PAGE_OBJECTS), [])
        yield pages if route is None else (_rerouted(page, route) for page in pages)


def _rerouted(
    page: list[tuple[Any, ...]], route: Callable[[str], StoredRoute]
) -> list[ListingEntry]:
    return [(row[0], row[1] if row[4:] == route(row[0]) else "", row[2], row[3]) for row in page]


def _arrays(hashes: Mapping[str, str]) -> dict[str, list[str]]:
    return {"names": list(hashes), "hashes": list(hashes.values())}


# The buckets of the manifest, each found by one look into the index.
STORED_BUCKETS = Question(
    "WITH RECURSIVE stored AS (SELECT min(bucket) AS bucket FROM source_object"
    " UNION ALL SELECT (SELECT min(bucket) FROM source_object"
    " WHERE bucket > stored.bucket) FROM stored WHERE stored.bucket IS NOT NULL)"
    " SELECT bucket FROM stored WHERE bucket IS NOT NULL",
    {},
)


def stored_buckets(connection: Connection) -> list[str]:
    """The result of STORED_BUCKETS."""
    found = ask(connection, {"stored": STORED_BUCKETS})
    return [row["bucket"] for row in found["stored"]]


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


def read_again(
    connection: Connection, *, dataset: str | None, key: str | None, code: str | None
) -> int:
    """Let the next full run read the data objects that match all filters; return their number.

    `code` is that of an open problem. The caller commits.
    """
    marked = connection.execute(
        text(
            "UPDATE source_object SET reread_on = DATE '1970-01-01'"
            " WHERE kind = 'data'"
            " AND dataset = coalesce(:dataset, dataset) AND key = coalesce(:key, key)"
            " AND (CAST(:code AS text) IS NULL OR EXISTS (SELECT FROM problem"
            " WHERE problem.bucket = source_object.bucket AND problem.key = source_object.key"
            " AND problem.run_id = source_object.run_id AND problem.code = :code))"
        ),
        {"dataset": dataset, "key": key, "code": code},
    )
    return marked.rowcount
