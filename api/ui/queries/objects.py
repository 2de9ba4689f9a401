"""What runs know of the objects: their state, their rows, their versions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from etl.db.dataset_names import SHADOWED
from etl.db.identifiers import in_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from etl.model.dataset import Dataset
    from etl.model.values import Severity

MOST_COUNTED = 10_000  # objects with problems, below a prefix
MOST_COUNTED_ROWS = 100_000  # of an object, for its sum
MOST_VERSIONS = 20
_MOST_PROBLEMS = 20_000  # of all versions of an object
SHOWN_ROWS = 10
_SHOWN_COLUMNS = 8

_KNOWN = """
SELECT known.key, known.kind, known.etag, known.size, known.last_modified, known.state,
       known.rows_read, known.rows_rejected, known.run_id, known.dataset,
       coalesce(faulty.errors, 0) AS errors, coalesce(faulty.warnings, 0) AS warnings,
       coalesce(faulty.error_codes, '{}') || coalesce(faulty.warning_codes, '{}') AS codes,
       held.key IS NOT NULL AS is_held
FROM source_object AS known
LEFT JOIN faulty_object AS faulty USING (bucket, key)
LEFT JOIN held_object AS held USING (bucket, key)
WHERE bucket = :bucket AND known.key = ANY (CAST(:keys AS text[]))
"""

_FAULTY = """
SELECT key FROM faulty_object
WHERE bucket = :bucket AND key > :after AND starts_with(key, :prefix)
  AND CASE WHEN :severity = 'error' THEN errors ELSE warnings END > 0
ORDER BY key LIMIT :limit
"""

_FAULTY_COUNTS = """
SELECT count(*) FILTER (WHERE errors > 0) AS errors,
       count(*) FILTER (WHERE warnings > 0) AS warnings
FROM (SELECT errors, warnings FROM faulty_object
      WHERE bucket = :bucket AND starts_with(key, :prefix) LIMIT :most) AS counted
"""

# Events have the ETags of all versions, and problems those of the versions that had any.
_VERSIONS = """
WITH seen AS (
    (SELECT etag, size, coalesce(event_time, received_at) AS at, handled_by_run AS run_id,
            0 AS errors
     FROM bucket_event
     WHERE bucket = :bucket AND key = :key AND etag IS NOT NULL ORDER BY id DESC LIMIT :most)
    UNION ALL
    SELECT etag, NULL, NULL, run_id, count(*) FILTER (WHERE severity = 'error')
    FROM (SELECT etag, run_id, severity FROM problem
          WHERE key = :key AND bucket = :bucket ORDER BY run_id DESC LIMIT :most) AS found
    GROUP BY etag, run_id
)
SELECT etag, max(size) AS size, max(at) AS seen_at, max(run_id) AS run_id, max(errors) AS errors
FROM seen WHERE etag <> :current
GROUP BY etag ORDER BY max(at) DESC NULLS LAST, max(run_id) DESC LIMIT :limit
"""


@dataclass(frozen=True, slots=True)
class KnownObject:
    """An object as the last run that read it left it. `codes` are its open problems by code."""

    key: str
    kind: str
    etag: str
    size: int
    last_modified: datetime
    state: str
    rows_read: int
    rows_rejected: int
    run_id: int
    dataset: str | None
    errors: int
    warnings: int
    codes: Mapping[str, int]
    is_held: bool


@dataclass(frozen=True, slots=True)
class OlderVersion:
    """An earlier version of an object; `errors` are those that a run found in it."""

    etag: str
    size: int | None
    seen_at: datetime | None
    run_id: int | None
    errors: int


@dataclass(frozen=True, slots=True)
class RowSample:
    """The first rows of an object in the table of its dataset, by line."""

    columns: tuple[str, ...] = ()
    rows: Sequence[tuple[int, tuple[Any, ...]]] = field(default_factory=tuple)


def known_objects(
    connection: Connection, bucket: str, keys: Sequence[str]
) -> dict[str, KnownObject]:
    """What is known of these objects, by key."""
    found = connection.execute(text(_KNOWN), {"bucket": bucket, "keys": list(keys)}).mappings()
    return {one["key"]: KnownObject(**one) for one in found}


def known_object(connection: Connection, bucket: str, key: str) -> KnownObject | None:
    """What is known of one object."""
    return known_objects(connection, bucket, [key]).get(key)


def faulty_keys(  # noqa: PLR0913 - each a filter
    connection: Connection,
    bucket: str,
    *,
    prefix: str,
    severity: Severity,
    after: str,
    limit: int,
) -> list[str]:
    """The keys of objects with open problems of this severity, in order."""
    values = {"bucket": bucket, "prefix": prefix, "severity": severity.value, "after": after}
    return list(connection.scalars(text(_FAULTY), values | {"limit": limit}))


def faulty_counts(connection: Connection, bucket: str, prefix: str) -> tuple[int, int]:
    """How many objects have errors, and warnings, among the first MOST_COUNTED with any."""
    values = {"bucket": bucket, "prefix": prefix, "most": MOST_COUNTED}
    row = connection.execute(text(_FAULTY_COUNTS), values).one()
    return row.errors, row.warnings


def older_versions(
    connection: Connection, bucket: str, key: str, current: str
) -> list[OlderVersion]:
    """The versions that events or problems name, newest first, without the current one."""
    values = {"bucket": bucket, "key": key, "current": current}
    limits = {"most": _MOST_PROBLEMS, "limit": MOST_VERSIONS}
    found = connection.execute(text(_VERSIONS), values | limits).mappings()
    return [OlderVersion(**one) for one in found]


def counted_rows(connection: Connection, dataset: Dataset, key: str) -> tuple[int, int]:
    """How many rows of an object are in the table, and how many are shadowed."""
    live = _count(connection, dataset.table, key)
    return live, _count(connection, dataset.table + SHADOWED, key) if dataset.primary_key else 0


def _count(connection: Connection, table: str, key: str) -> int:
    statement = f"SELECT count(*) FROM {in_text(table)} WHERE _source_key = :key"
    return int(connection.scalar(text(statement), {"key": key}) or 0)


def sample_rows(connection: Connection, dataset: Dataset, key: str) -> RowSample:
    """The first rows of an object in the table."""
    columns = dataset.field_names[:_SHOWN_COLUMNS]
    chosen = ", ".join(f"CAST({in_text(one)} AS text)" for one in columns)
    statement = (
        f"SELECT _source_line, {chosen} FROM {in_text(dataset.table)}"
        " WHERE _source_key = :key ORDER BY _source_line LIMIT :limit"
    )
    found = connection.execute(text(statement), {"key": key, "limit": SHOWN_ROWS})
    return RowSample(columns, [(row[0], tuple(row[1:])) for row in found])
