"""Pages of the rows of a dataset, and where a row comes from."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flask import g
from sqlalchemy import select, text

from api.rows import images, streaming
from api.rows.formats import ROW_FORMATS
from api.rows.statements import copy_page, statement
from api.state.services import services
from etl.db.engine import driver
from etl.db.tables import source_object

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from api.rows.query import RowQuery

Place = tuple[str, str]

_RUN = "SELECT trigger, finished_at FROM run WHERE id = :id"
_PUBLICATIONS = """
SELECT name, run_id, published_at FROM publication WHERE dataset = :dataset ORDER BY name LIMIT 5
"""


@dataclass(frozen=True, slots=True)
class RowOrigin:
    """The object of a row, as the last run has read it, the run of the row, and the outputs."""

    source: Row[Any] | None
    trigger: str | None
    finished_at: datetime | None
    publications: tuple[Row[Any], ...]


def rows(connection: Connection, query: RowQuery) -> tuple[list[dict[str, Any]], str | None]:
    """The rows of a page as the API has them, and `after` of the next page, if there is one."""
    kind = ROW_FORMATS["json"]
    _count()
    has_scalar = streaming.has_json_scalar(connection, services())
    content, following = copy_page(connection, query, kind, has_json_scalar=has_scalar)
    encoded = b"".join(kind.encode(iter([content]), query.columns))
    found: list[dict[str, Any]] = json.loads(encoded, parse_float=str)
    return found, following


def estimate(connection: Connection, query: RowQuery) -> int:
    """About how many rows match, as PostgreSQL's planner expects; it reads none of them."""
    _count()
    every = replace(query, limit=None, after=None)
    sql, values = statement(every, ROW_FORMATS["json"], has_json_scalar=False)
    with driver(connection).cursor() as cursor:
        cursor.execute("EXPLAIN (FORMAT JSON) " + sql, values)
        (plans,) = cursor.fetchone()
    plan = json.loads(plans) if isinstance(plans, str) else plans
    return int(plan[0]["Plan"]["Plan Rows"])


def _count() -> None:
    """Count a statement that does not pass through SQLAlchemy."""
    g.queries = g.get("queries", 0) + 1


def rounded(count: int) -> int:
    """An estimate in two digits, so that it does not look exact."""
    return int(float(f"{count:.2g}"))


# -- images


def place(path: str) -> Place:
    """The bucket and the key in a column of images."""
    bucket, _, key = path.partition("/")
    return bucket, key


def pictures(connection: Connection, paths: Iterable[str | None]) -> dict[str, Row[Any]]:
    """What is known of the images, by their values in a column of images."""
    places = {place(path): path for path in paths if path}
    found = images.of_objects(connection, places)
    return {places[one]: row for one, row in found.items()}


# -- one row


def lineage(connection: Connection, dataset: str, bucket: str, key: str, run_id: int) -> RowOrigin:
    """Where a row comes from, and what it was published in."""
    columns = ("etag", "size", "last_modified", "rows_read", "rows_rejected", "run_id")
    source = connection.execute(
        select(*(source_object.c[name] for name in columns)).where(
            source_object.c.bucket == bucket, source_object.c.key == key
        )
    ).one_or_none()
    run = connection.execute(text(_RUN), {"id": run_id}).one_or_none()
    outputs = connection.execute(text(_PUBLICATIONS), {"dataset": dataset}).all()
    trigger, finished_at = (None, None) if run is None else run
    return RowOrigin(source, trigger, finished_at, tuple(outputs))
