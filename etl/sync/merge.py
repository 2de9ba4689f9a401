"""Merge staging into the tables, in one transaction that the caller commits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from etl.db.sql import statements
from etl.model.errors import AccountingMismatch, DatabaseUnavailable, MassRetirement
from etl.model.values import Counts
from etl.sync.staging import STAGING

if TYPE_CHECKING:
    from collections.abc import Mapping

log = structlog.get_logger("etl.merge")

MASS_RETIREMENT_FLOOR = 100
MANY = 10_000  # below this an index is filled as quickly as it is made
NO_ROWS = -1  # the driver's count of rows after a statement that has none
FEW = 500  # up to this each row and object is looked up; above, tables are joined whole

# Joins and sorts of a million rows without a temporary file, and on every core: of what they
# read little comes out, which PostgreSQL cannot foresee.
_FOR_MUCH = {"work_mem": "128MB", "parallel_setup_cost": "100", "parallel_tuple_cost": "0.001"}
# A rough sample tells how large a join will be, and costs a tenth.
_SAMPLE = "SET LOCAL default_statistics_target = 10; ANALYZE staging_object, staging_row"
# No table is scanned for a few rows, whatever PostgreSQL believes of tables it never looked into.
_FOR_LITTLE = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}


def merge(  # noqa: PLR0913 - each a fact of the run
    connection: Connection,
    *,
    run_id: int,
    bucket: str,
    staged_objects: int,
    before: Counts,
    allow_mass_retirement: bool,
    retired_before: int = 0,
) -> Counts:
    """Make the tables what staging says, and count what that did. The caller commits.

    `before` are the figures of the last run that succeeded: what few users changed is added
    to them, as all users are counted only where much was done. `retired_before` are users
    whose retirement by earlier runs counts as if it were this one's.

    Raises:  DatabaseUnavailable when staging lost something since it was written;
             MassRetirement; AccountingMismatch. Nothing is committed then.
    """
    _check_staging(connection, staged_objects)
    keys = _staged_keys(connection) if staged_objects <= FEW else []
    is_little = staged_objects <= FEW and _rows_are_few(connection, keys)
    _configure(connection, _FOR_LITTLE if is_little else _FOR_MUCH)
    parameters = {"run_id": run_id, "bucket": bucket, "keys": keys if is_little else None}
    _run_all(connection, "manifest", parameters, analyzed_from=MANY)
    figures = _write_users(connection, parameters, is_little=is_little)
    gained = figures.pop("images_gained")
    for name in ("objects", "problems"):
        figures |= _figures(connection, name, parameters)
    counts = _with_standing(Counts.from_dict(figures), before, gained)
    if not is_little or counts.users_retired > MASS_RETIREMENT_FLOOR:
        counts = _recounted(connection, counts, is_first=before == Counts())
    _check_rows(connection, counts)
    if not allow_mass_retirement:
        _refuse_mass_retirement(counts, retired_before)
    _empty(connection, is_little=is_little)
    return counts


def _check_staging(connection: Connection, expected: int) -> None:
    """PostgreSQL empties unlogged tables when it recovers from a crash."""
    found = connection.scalar(text("SELECT count(*) FROM staging_object"))
    if found != expected:
        raise DatabaseUnavailable(
            f"Staging holds {found} objects of the {expected} written: PostgreSQL was restarted."
        )


def _rows_are_few(connection: Connection, keys: list[str]) -> bool:
    """Whether few rows were read of these objects, and few are held: what is gone counts as well.

    Asked with the settings for few, or a table might be read through to find a key it lacks.
    """
    asking = connection.begin_nested()
    _configure(connection, _FOR_LITTLE)
    parameters = {"keys": keys, "few": FEW}
    are_few = connection.scalar(text(statements("figures")["rows_are_few"]), parameters)
    asking.rollback()
    return bool(are_few)


def _staged_keys(connection: Connection) -> list[str]:
    return list(connection.scalars(text("SELECT key FROM staging_object")))


def _configure(connection: Connection, settings: Mapping[str, str]) -> None:
    """Settings of the planner for this transaction."""
    lines = [f"SET LOCAL {name} = '{value}'" for name, value in settings.items()]
    connection.execute(text("; ".join(lines)))


def _write_users(
    connection: Connection, parameters: Mapping[str, object], *, is_little: bool
) -> dict[str, int]:
    """Bring the users level with staging; the figures of rows and users."""
    is_first = not is_little and _is_first_load(connection)
    if is_first:
        loaded = _load_first(connection, parameters)
        if loaded is not None:
            return loaded
    if not is_little:
        connection.execute(text(_SAMPLE))
    touched = _run_all(connection, "merge", parameters, analyzed_from=FEW)
    if is_first:
        connection.execute(text(statements("first_load")["analyze_users"]))
    return {
        "users_retired": touched["retire_users"],
        **_figures(connection, "merged_rows", parameters),
        **_figures(connection, "merged_users", {}),
        **_figures(connection, "images_gained", parameters),
    }


def _is_first_load(connection: Connection) -> bool:
    question = (
        "SELECT NOT EXISTS (SELECT FROM users) AND count(*) >= :many"
        " FROM (SELECT FROM staging_row LIMIT :many) AS begun"
    )
    return bool(connection.scalar(text(question), {"many": MANY}))


def _load_first(connection: Connection, parameters: Mapping[str, object]) -> dict[str, int] | None:
    """Fill the empty table; None where somebody has several rows, of which one must win."""
    try:
        with connection.begin_nested():
            touched = _run_all(connection, "first_load", parameters, analyzed_from=0)
    except IntegrityError:
        return None
    new = touched["insert_users"]
    return {"rows_loaded": new, "users_inserted": new, "images_gained": touched["find_images"]}


def _run_all(
    connection: Connection, file: str, parameters: Mapping[str, object], *, analyzed_from: int
) -> dict[str, int]:
    """Run a file's statements in their order; how many rows each touched, by its name.

    An `analyze_` statement is left out after one that touched fewer rows than `analyzed_from`.
    Statements between the two that touch no rows, such as those that make indexes, do not count.
    """
    touched: dict[str, int] = {}
    rows = 0
    for name, statement in statements(file).items():
        if name.startswith("analyze_") and rows < analyzed_from:
            continue
        touched[name] = connection.execute(text(statement), parameters).rowcount
        if touched[name] != NO_ROWS:
            rows = touched[name]
    return touched


def _with_standing(counts: Counts, before: Counts, images_gained: int) -> Counts:
    """The counts with the figures of all users: those before, and what became of them."""
    live = before.users_live + counts.users_inserted + counts.users_restored
    return replace(
        counts,
        users_live=live - counts.users_retired,
        users_with_image=before.users_with_image + images_gained,
    )


def _recounted(connection: Connection, counts: Counts, *, is_first: bool) -> Counts:
    """The counts with all users counted, which mends them where another hand changed users."""
    found = replace(counts, **_figures(connection, "live_users", {}))
    if found != counts and not is_first:
        log.warning(
            "users are not as many as the runs before tell: somebody else changed the table",
            expected=(counts.users_live, counts.users_with_image),
            found=(found.users_live, found.users_with_image),
            hint="`./run.sh verify` shows what differs from the bucket.",
        )
    return found


def _empty(connection: Connection, *, is_little: bool) -> None:
    """Take everything out of staging; for a few rows new files would cost more than the rows."""
    how = "DELETE FROM" if is_little else "TRUNCATE"
    for table in STAGING:
        connection.execute(text(f"{how} {table}"))


def _refuse_mass_retirement(counts: Counts, retired_before: int) -> None:
    """What event runs retired counts too: a bucket may be emptied in bites that are each small.

    A run that retires nobody itself is never refused.
    """
    if not counts.users_retired:
        return
    retired = counts.users_retired + retired_before
    live_before = counts.users_live - counts.users_inserted - counts.users_restored + retired
    if retired > MASS_RETIREMENT_FLOOR and retired * 2 > live_before:
        before = f" ({retired_before} retired by event runs before)" if retired_before else ""
        raise MassRetirement(
            f"The bucket no longer holds {retired} of {live_before} users{before};"
            " nothing was changed by this run.",
            retired=retired,
            live=live_before,
        )


def check_objects(counts: Counts) -> None:
    """Every object that was listed has one fate.

    Raises:  AccountingMismatch when one has none, or two.
    """
    settled = counts.objects_added + counts.objects_modified + counts.objects_unchanged
    aside = counts.objects_ignored + counts.objects_unreadable + counts.objects_vanished
    if counts.objects_listed != settled + aside:
        raise AccountingMismatch(f"The run's objects do not add up: {counts}.")


def _check_rows(connection: Connection, counts: Counts) -> None:
    """Every row that was read has one fate, in each object and in the whole run."""
    row = connection.execute(text(statements("figures")["unbalanced"])).mappings().one_or_none()
    if row is not None:
        raise AccountingMismatch(
            f"The rows of {row['key']!r} do not add up: {dict(row)}.", key=row["key"]
        )
    settled = counts.rows_loaded + counts.rows_unchanged + counts.rows_shadowed
    if counts.rows_read != settled + counts.rows_rejected:
        raise AccountingMismatch(f"The run's rows do not add up: {counts}.")


def _figures(connection: Connection, name: str, parameters: Mapping[str, object]) -> dict[str, int]:
    result = connection.execute(text(statements("figures")[name]), parameters)
    return {key: int(value) for key, value in result.mappings().one().items()}
