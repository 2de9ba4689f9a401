"""Read the current state of the tables in one snapshot."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, Select, Text, and_, cast, column, inspect, select
from sqlalchemy import table as table_of

from etl.db.engine import schemas_of, translating
from etl.db.tables import dataset, held_object, problem, publication, run, source_object
from etl.model.dataset import FieldType
from etl.model.values import IMAGE_PROBLEM_CODES, ProblemCode
from etl.verify.cells import is_padded, is_uuid, unpadded
from etl.verify.documents import stored_document, stored_members
from etl.verify.expected import DatasetRows, ObjectPlace, StoredRow, identical
from etl.verify.numbers import is_single, single

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
    from datetime import datetime

    from etl.verify.layout import ObjectColumns

_ROWS_AT_A_TIME = 5_000
_LINEAGE = ("_extra", "_source_key", "_source_line")


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """An object's manifest entry; `size` in bytes, `last_modified` to the millisecond."""

    etag: str
    size: int
    last_modified: datetime
    kind: str
    dataset: str | None
    attachment: str | None
    attachment_id: str | None
    state: str
    rows_read: int
    rows_rejected: int


@dataclass(frozen=True)
class TableState:
    """The current state of the tables, in the shapes of Expected.

    `held` are the objects whose changes wait for permission to retire rows. `blocked` are the
    rows (bucket, key, line) that left the bucket, but that a foreign key keeps. `published` holds
    the names of the published output files. `is_publish_pending` is set while a change waits for
    the next publication.
    """

    datasets: dict[str, DatasetRows]
    manifest: dict[ObjectPlace, ManifestEntry]
    rejected: Counter[tuple[str, str, int, str]]
    object_problems: Counter[tuple[str, str, str]]
    held: frozenset[ObjectPlace] = frozenset()
    blocked: frozenset[tuple[str, str, int]] = frozenset()
    published: frozenset[str] = field(default_factory=frozenset)
    is_publish_pending: bool = False


def read_added_columns(engine: Engine) -> dict[str, tuple[str, ...]]:
    """Read by dataset which columns its files added to its table.

    Raises:  DatabaseUnavailable.
    """
    with translating(), engine.connect() as connection:
        found = connection.execute(select(dataset.c.name, dataset.c.added_columns))
        return {name: tuple(added) for name, added in found}


def read_tables(
    engine: Engine,
    layouts: Sequence[ObjectColumns],
    buckets: Sequence[str],
    expected: Mapping[str, DatasetRows],
) -> TableState:
    """Read everything that runs write for these datasets and buckets, as of one instant.

    A row that equals the `expected` one is the same object, so that memory holds it once.

    Raises:  DatabaseUnavailable.
    """
    schema = schemas_of(engine).data
    with translating(), engine.connect() as connection:
        snapshot = connection.execution_options(
            isolation_level="REPEATABLE READ", yield_per=_ROWS_AT_A_TIME
        )
        rejected, object_problems = _problems(snapshot, buckets)
        return TableState(
            datasets={
                layout.dataset.name: _dataset_rows(
                    snapshot, schema, layout, expected[layout.dataset.name].rows
                )
                for layout in layouts
            },
            manifest=_manifest(snapshot, buckets),
            rejected=rejected,
            object_problems=object_problems,
            held=_held(snapshot),
            blocked=_blocked(snapshot),
            published=frozenset(snapshot.scalars(select(publication.c.name))),
            is_publish_pending=_is_publish_pending(snapshot),
        )


def to_millisecond(moment: datetime) -> datetime:
    """Truncate to milliseconds, the precision of a listing."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _dataset_rows(
    connection: Connection,
    schema: str,
    layout: ObjectColumns,
    expected: Mapping[tuple[Hashable, ...], StoredRow],
) -> DatasetRows:
    name = layout.dataset.table
    found = DatasetRows(layout.columns, layout.shadowed_columns)
    keys = layout.identity_places
    for row in _rows(connection, schema, name, layout.columns, layout):
        known = expected.get(_identity(row, keys))
        same = row if known != row else known
        found.rows[_identity(same, keys)] = same
    if keys:
        for row in _rows(connection, schema, f"{name}_shadowed", layout.shadowed_columns, layout):
            found.shadowed[row.source_key, row.source_line] = row
    return found


def _identity(row: StoredRow, keys: Sequence[int]) -> tuple[Any, ...]:
    return tuple(row.values[place] for place in keys) or (row.source_key, row.source_line)


def _rows(
    connection: Connection, schema: str, name: str, columns: Sequence[str], layout: ObjectColumns
) -> Iterator[StoredRow]:
    """The rows of a table; none if it was not created yet."""
    if not inspect(connection).has_table(name, schema):
        return
    source = table_of(name, *map(column, columns), *map(column, _LINEAGE), schema=schema)
    values = (
        cast(source.c[each], Text) if each in layout.documents else source.c[each]
        for each in columns
    )
    extra, key, line = (source.c[each] for each in _LINEAGE)
    width = len(columns)
    converters = _converters(columns, layout)
    for row in connection.execute(select(*values, cast(extra, Text), key, line)):
        cells = row[:width]
        if converters:
            cells = tuple(
                converters[n](cell) if n in converters else cell for n, cell in enumerate(cells)
            )
        extra_text, source_key, source_line = row[width:]
        yield StoredRow(tuple(cells), stored_members(extra_text), source_key, source_line)


def _converters(columns: Sequence[str], layout: ObjectColumns) -> dict[int, Callable[..., object]]:
    """What makes values comparable, by the place of their column."""
    converters: dict[str, Callable[..., object]] = dict.fromkeys(layout.documents, stored_document)
    for one in layout.fields:
        if one.type is FieldType.NUMBER and one.sql is not None:
            converters[one.name] = _single if is_single(one) else identical
        elif one.type is FieldType.STRING and is_padded(one):
            converters[one.name] = lambda text: text and unpadded(text)
        elif one.type is FieldType.STRING and is_uuid(one):
            converters[one.name] = lambda found: None if found is None else str(found)
    return {n: converters[name] for n, name in enumerate(columns) if name in converters}


def _single(number: float | None) -> object:
    """The number that PostgreSQL shortened to the digits of single precision."""
    return None if number is None else identical(single(number))


def _manifest(connection: Connection, buckets: Sequence[str]) -> dict[ObjectPlace, ManifestEntry]:
    entries = select(
        source_object.c.bucket,
        source_object.c.key,
        source_object.c.etag,
        source_object.c.size,
        source_object.c.last_modified,
        source_object.c.kind,
        source_object.c.dataset,
        source_object.c.attachment,
        source_object.c.attachment_id,
        source_object.c.state,
        source_object.c.rows_read,
        source_object.c.rows_rejected,
    ).where(source_object.c.bucket.in_(buckets))
    return {
        ObjectPlace(bucket, key): ManifestEntry(etag, size, to_millisecond(last_modified), *rest)
        for bucket, key, etag, size, last_modified, *rest in connection.execute(entries)
    }


def _held(connection: Connection) -> frozenset[ObjectPlace]:
    """The objects of open holds."""
    held = connection.execute(select(held_object.c.bucket, held_object.c.key))
    return frozenset(ObjectPlace(bucket, key) for bucket, key in held)


def _blocked(connection: Connection) -> frozenset[tuple[str, str, int]]:
    """The bucket, key and line of the rows that a foreign key keeps."""
    last_read = and_(
        source_object.c.bucket == problem.c.bucket,
        source_object.c.key == problem.c.key,
        source_object.c.run_id == problem.c.run_id,
    )
    found = connection.execute(
        select(problem.c.bucket, problem.c.key, problem.c.line)
        .join(source_object, last_read)
        .where(problem.c.code == ProblemCode.RETIREMENT_BLOCKED)
    )
    return frozenset((bucket, key, line) for bucket, key, line in found)


def _is_publish_pending(connection: Connection) -> bool:
    """Whether a change is to be published later; after a failed publication it is overdue."""
    errors = connection.scalars(select(run.c.error).where(run.c.publish_pending)).all()
    return bool(errors) and not any(errors)


def _problems(
    connection: Connection, buckets: Sequence[str]
) -> tuple[Counter[tuple[str, str, int, str]], Counter[tuple[str, str, str]]]:
    """Count the open problems: of rows with their line, and of objects."""
    of_rows: Counter[tuple[str, str, int, str]] = Counter()
    of_objects: Counter[tuple[str, str, str]] = Counter()
    for bucket, key, line, code in connection.execute(_open_problems(buckets)):
        if line is None:
            of_objects[bucket, key, code] += 1
        else:
            of_rows[bucket, key, line, code] += 1
    return of_rows, of_objects


def _open_problems(buckets: Sequence[str]) -> Select[str, str, int | None, str]:
    """Select the problems found by the run that last read their object.

    Excludes those that no file has: of images, which `images` compares, and of blocked rows.
    """
    last_read = and_(
        source_object.c.bucket == problem.c.bucket,
        source_object.c.key == problem.c.key,
        source_object.c.run_id == problem.c.run_id,
    )
    others = (*IMAGE_PROBLEM_CODES.values(), ProblemCode.RETIREMENT_BLOCKED)
    return (
        select(problem.c.bucket, problem.c.key, problem.c.line, problem.c.code)
        .join(source_object, last_read)
        .where(source_object.c.bucket.in_(buckets), problem.c.code.not_in(others))
    )
