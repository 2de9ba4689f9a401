"""Read the current state of the tables in one snapshot."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, Select, and_, select

from etl.db.engine import translating
from etl.db.tables import problem, publication, run, source_object, users, users_shadowed
from etl.model.values import IMAGE_PROBLEM_CODES
from etl.verify.expected import ExpectedUser

if TYPE_CHECKING:
    from datetime import datetime

_ROWS_AT_A_TIME = 5_000


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

    `published` holds the names of the published output files. `is_publish_pending` is set while
    a change waits for the next publication.
    """

    users: dict[str, ExpectedUser]
    manifest: dict[str, ManifestEntry]
    shadowed: set[tuple[str, int, str]]
    rejected: Counter[tuple[str, int, str]]
    object_problems: Counter[tuple[str, str]]
    published: frozenset[str] = frozenset()
    is_publish_pending: bool = False


def read_tables(engine: Engine, bucket: str) -> TableState:
    """Read everything that runs write for one source bucket, as of one instant.

    Raises:  DatabaseUnavailable.
    """
    with translating(), engine.connect() as connection:
        snapshot = connection.execution_options(
            isolation_level="REPEATABLE READ", yield_per=_ROWS_AT_A_TIME
        )
        rejected, object_problems = _problems(snapshot, bucket)
        return TableState(
            users=_users(snapshot),
            manifest=_manifest(snapshot, bucket),
            shadowed=_shadowed(snapshot),
            rejected=rejected,
            object_problems=object_problems,
            published=frozenset(snapshot.scalars(select(publication.c.name))),
            is_publish_pending=_is_publish_pending(snapshot),
        )


def to_millisecond(moment: datetime) -> datetime:
    """Truncate to milliseconds, the precision of a listing."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _users(connection: Connection) -> dict[str, ExpectedUser]:
    live = select(
        users.c.user_id,
        users.c.first_name,
        users.c.last_name,
        users.c.birthts,
        users.c.img_path,
        users.c["_extra"],
        users.c["_source_key"],
        users.c["_source_line"],
    )
    return {user_id: ExpectedUser(*rest) for user_id, *rest in connection.execute(live)}


def _manifest(connection: Connection, bucket: str) -> dict[str, ManifestEntry]:
    entries = select(
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
    ).where(source_object.c.bucket == bucket)
    return {
        key: ManifestEntry(etag, size, to_millisecond(last_modified), *rest)
        for key, etag, size, last_modified, *rest in connection.execute(entries)
    }


def _is_publish_pending(connection: Connection) -> bool:
    """Whether a change is to be published later; after a failed publication it is overdue."""
    errors = connection.scalars(select(run.c.error).where(run.c.publish_pending)).all()
    return bool(errors) and not any(errors)


def _shadowed(connection: Connection) -> set[tuple[str, int, str]]:
    rows = select(
        users_shadowed.c["_source_key"],
        users_shadowed.c["_source_line"],
        users_shadowed.c.user_id,
    )
    return {(key, line, user_id) for key, line, user_id in connection.execute(rows)}


def _problems(
    connection: Connection, bucket: str
) -> tuple[Counter[tuple[str, int, str]], Counter[tuple[str, str]]]:
    """Count the open problems: of rows as (key, line, code), of objects as (key, code)."""
    of_rows: Counter[tuple[str, int, str]] = Counter()
    of_objects: Counter[tuple[str, str]] = Counter()
    for key, line, code in connection.execute(_open_problems(bucket)):
        if line is None:
            of_objects[key, code] += 1
        else:
            of_rows[key, line, code] += 1
    return of_rows, of_objects


def _open_problems(bucket: str) -> Select[str, int | None, str]:
    """Select the problems found by the run that last read their object.

    Excludes those of images, which runs do not find; `images` compares them.
    """
    last_read = and_(
        source_object.c.bucket == problem.c.bucket,
        source_object.c.key == problem.c.key,
        source_object.c.run_id == problem.c.run_id,
    )
    return (
        select(problem.c.key, problem.c.line, problem.c.code)
        .join(source_object, last_read)
        .where(
            source_object.c.bucket == bucket, problem.c.code.not_in(IMAGE_PROBLEM_CODES.values())
        )
    )
