"""Merge staging into the tables, in one transaction that the caller commits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import structlog
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from etl.db.sql import statements
from etl.model.errors import AccountingMismatch, DatabaseUnavailable, MassRetirement
from etl.model.values import Counts
from etl.sync.staging_tables import STAGING

if TYPE_CHECKING:
    from etl.sync.run import CurrentRun

log = structlog.get_logger("etl.merge")

MASS_RETIREMENT_FLOOR = 100

# Joins and sorts a million rows without temporary files and on every core: the joins return few
# of the rows that they read, which PostgreSQL cannot estimate.
BULK_PLANNER = {"work_mem": "128MB", "parallel_setup_cost": "100", "parallel_tuple_cost": "0.001"}
# A small sample is enough to estimate the joins, and takes a tenth of the time.
_SAMPLE_STAGING = "SET LOCAL default_statistics_target = 10; ANALYZE staging_object, staging_row"
# Prevents table scans for a few rows, even if a table was never analyzed.
POINT_PLANNER = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}

Parameters: TypeAlias = Mapping[str, object]
Figures: TypeAlias = dict[str, int]


class Thresholds(NamedTuple):
    """Sizes at which a merge changes its plan.

    Up to `small` objects and rows, each is looked up by index. From `many` rows on, a first load
    creates the indexes after the rows, and the manifest is analyzed after it was written.
    """

    small: int = 500
    many: int = 10_000


THRESHOLDS = Thresholds()


def merge(
    run: CurrentRun, *, bucket: str, before: Counts, thresholds: Thresholds = THRESHOLDS
) -> Counts:
    """Make the tables match staging, and count the changes. The caller commits.

    `before` are the counts of the last successful run. A small merge adds its changes to their
    totals; a bulk merge counts all users.

    Raises:  DatabaseUnavailable when staging lost rows since it was written; MassRetirement;
             AccountingMismatch. Nothing is committed then.
    """
    connection = run.connection
    _check_staging(connection, run.stats.staged)
    keys = _small_keys(connection, run.stats.staged, thresholds.small)
    strategy = BULK if keys is None else POINT
    parameters = {"run_id": run.id, "bucket": bucket, "keys": keys}
    _configure(connection, strategy.planner)
    _execute_all(connection, "manifest", parameters, analyze_from=thresholds.many)
    figures = strategy.write_users(connection, parameters, thresholds)
    images_gained = figures.pop("images_gained")
    for name in ("objects", "problems"):
        figures |= _figures(connection, name, parameters)
    counts = _with_totals(Counts.from_dict(figures), before, images_gained)
    if strategy is BULK or counts.users_retired > MASS_RETIREMENT_FLOOR:
        counts = _recounted(connection, counts, is_first=before == Counts())
    _check_rows(connection, counts)
    if not run.allow_mass_retirement:
        _refuse_mass_retirement(counts, run.stats.retired_before)
    _empty_staging(connection, strategy.empty)
    return counts


def _check_staging(connection: Connection, expected: int) -> None:
    """Detect a crash of PostgreSQL, whose recovery empties unlogged tables."""
    found = connection.scalar(text("SELECT count(*) FROM staging_object"))
    if found != expected:
        raise DatabaseUnavailable(
            f"Staging holds {found} of the {expected} objects written: PostgreSQL was restarted."
        )


# -- the two strategies


def _small_keys(connection: Connection, staged_objects: int, small: int) -> list[str] | None:
    """The keys in staging if the merge is small, else None.

    Rows stored for these objects count too, because removing them is work as well. The check
    uses the point planner, or a table might be scanned for a key that it does not contain.
    """
    if staged_objects > small:
        return None
    keys = list(connection.scalars(text("SELECT key FROM staging_object")))
    savepoint = connection.begin_nested()
    _configure(connection, POINT_PLANNER)
    is_small = connection.scalar(
        text(statements("figures")["is_small"]), {"keys": keys, "small": small}
    )
    savepoint.rollback()
    return keys if is_small else None


def _configure(connection: Connection, planner: Mapping[str, str]) -> None:
    """Set the planner's settings for this transaction."""
    lines = [f"SET LOCAL {name} = '{value}'" for name, value in planner.items()]
    connection.execute(text("; ".join(lines)))


def _write_users(connection: Connection, parameters: Parameters, thresholds: Thresholds) -> Figures:
    """Write the users and shadowed rows that changed; count rows and users."""
    written = _execute_all(connection, "merge", parameters, analyze_from=thresholds.small)
    return {
        "users_retired": written["retire_users"],
        **_figures(connection, "merged_rows", parameters),
        **_figures(connection, "merged_users", {}),
        **_figures(connection, "images_gained", parameters),
    }


def _write_users_in_bulk(
    connection: Connection, parameters: Parameters, thresholds: Thresholds
) -> Figures:
    """As `_write_users`, but fill an empty table directly if no user has two rows."""
    is_first = _is_first_load(connection, thresholds.many)
    if is_first:
        loaded = _load_first(connection, parameters)
        if loaded is not None:
            return loaded
    connection.execute(text(_SAMPLE_STAGING))
    figures = _write_users(connection, parameters, thresholds)
    if is_first:
        connection.execute(text(statements("first_load")["update_statistics"]))
    return figures


@dataclass(frozen=True)
class Strategy:
    """How a merge is planned; both strategies run the same SQL.

    `empty` clears staging: for a few rows, deleting is cheaper than creating new files.
    """

    planner: Mapping[str, str]
    write_users: Callable[[Connection, Parameters, Thresholds], Figures]
    empty: str


POINT = Strategy(POINT_PLANNER, _write_users, "DELETE FROM")
BULK = Strategy(BULK_PLANNER, _write_users_in_bulk, "TRUNCATE")


def _is_first_load(connection: Connection, many: int) -> bool:
    question = (
        "SELECT NOT EXISTS (SELECT FROM users) AND count(*) >= :many"
        " FROM (SELECT FROM staging_row LIMIT :many) AS begun"
    )
    return bool(connection.scalar(text(question), {"many": many}))


def _load_first(connection: Connection, parameters: Parameters) -> Figures | None:
    """Fill the empty table; None if a user has several rows, one of which must win."""
    try:
        with connection.begin_nested():
            written = _execute_all(connection, "first_load", parameters, analyze_from=0)
    except IntegrityError:
        return None
    new = written["insert_users"]
    return {
        "rows_loaded": new,
        "users_inserted": new,
        "images_gained": written["find_attachments"],
    }


def _execute_all(
    connection: Connection, file: str, parameters: Parameters, *, analyze_from: int
) -> dict[str, int]:
    """Execute the file's statements in order; return the number of rows that each wrote.

    An `analyze_` statement is skipped if the one before it wrote fewer rows than `analyze_from`.
    """
    written: dict[str, int] = {}
    rows = 0
    for name, statement in statements(file).items():
        if rows >= analyze_from or not name.startswith("analyze_"):
            rows = connection.execute(text(statement), parameters).rowcount
            written[name] = rows
    return written


def _empty_staging(connection: Connection, command: str) -> None:
    for table in STAGING:
        connection.execute(text(f"{command} {table}"))


# -- counting


def _with_totals(counts: Counts, before: Counts, images_gained: int) -> Counts:
    """The counts with the totals of all users: those before, plus this run's changes."""
    live = before.users_live + counts.users_inserted + counts.users_restored
    return replace(
        counts,
        users_live=live - counts.users_retired,
        users_with_image=before.users_with_image + images_gained,
    )


def _recounted(connection: Connection, counts: Counts, *, is_first: bool) -> Counts:
    """The counts with all users counted, which corrects totals after another client's changes."""
    found = replace(counts, **_figures(connection, "live_users", {}))
    if found != counts and not is_first:
        log.warning(
            "corrected the user totals: another client changed the users table",
            expected=(counts.users_live, counts.users_with_image),
            found=(found.users_live, found.users_with_image),
            hint="`./run.sh verify` shows the differences from the bucket.",
        )
    return found


def _refuse_mass_retirement(counts: Counts, retired_before: int) -> None:
    """Refuse to retire more than half of the users.

    Retirements of earlier event runs count too, because emptying a bucket can produce many
    small event runs. A run that retires no user itself is never refused.
    """
    if not counts.users_retired:
        return
    retired = counts.users_retired + retired_before
    live_before = counts.users_live - counts.users_inserted - counts.users_restored + retired
    if retired > MASS_RETIREMENT_FLOOR and retired * 2 > live_before:
        before = f" ({retired_before} of them retired by event runs)" if retired_before else ""
        raise MassRetirement(
            f"The bucket no longer holds {retired} of {live_before} users{before};"
            " this run changed nothing.",
            retired=retired,
            live=live_before,
        )


def check_objects(counts: Counts) -> None:
    """Check that every listed object has exactly one outcome.

    Raises:  AccountingMismatch when an object has none, or two.
    """
    merged = counts.objects_added + counts.objects_modified + counts.objects_unchanged
    skipped = counts.objects_ignored + counts.objects_unreadable + counts.objects_vanished
    if counts.objects_listed != merged + skipped:
        raise AccountingMismatch(f"The run's objects do not add up: {counts}.")


def _check_rows(connection: Connection, counts: Counts) -> None:
    """Check that every row read has exactly one outcome, per object and in total."""
    row = connection.execute(text(statements("figures")["unbalanced"])).mappings().one_or_none()
    if row is not None:
        raise AccountingMismatch(
            f"The rows of {row['key']!r} do not add up: {dict(row)}.", key=row["key"]
        )
    merged = counts.rows_loaded + counts.rows_unchanged + counts.rows_shadowed
    if counts.rows_read != merged + counts.rows_rejected:
        raise AccountingMismatch(f"The run's rows do not add up: {counts}.")


def _figures(connection: Connection, name: str, parameters: Parameters) -> Figures:
    result = connection.execute(text(statements("figures")[name]), parameters)
    return {key: int(value) for key, value in result.mappings().one().items()}
