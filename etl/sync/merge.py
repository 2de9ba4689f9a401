"""Merge one dataset from staging into its tables, in a transaction that the caller commits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from etl.db.dataset_sql import StagedIn
from etl.db.round_trips import Question, ask, later
from etl.db.sql import statements
from etl.db.tallies import Moved
from etl.model.errors import AccountingMismatch
from etl.model.values import DatasetCounts
from etl.runtime.logs import get_logger
from etl.sync import obstacles
from etl.sync.planner import BULK_PLANNER, COMPARED_PLANNER, POINT_PLANNER, configure
from etl.sync.retiring import Retirement
from etl.sync.successor import Successors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etl.db.dataset_sql import DatasetSql
    from etl.sync.rebuild import Rebuild

log = get_logger("etl.merge")

# A small sample is enough to estimate the joins, and takes a tenth of the time.
_SAMPLE_STAGING = "SET LOCAL default_statistics_target = 10; ANALYZE staging_object, {tables}"

# SQLSTATEs of a first load that has to be merged: a key has two rows, or another client's
# constraint or view needs the indexes, or its deferred constraint has yet to check the rows.
_NOT_FIRST = ("23505", "2BP01", "55006")

# Statements of merge.sql that only read the tables; they come before all others.
_FINDING = ("find_", "analyze_")
_WRITING_LIVE = ("update_rows", "insert_rows")

_OF_MERGE = ("merged_rows", "upserted", "retired", "unbalanced", "shadow_change")
_TEMPORARY = ("changed_rows", "conflicts", "candidate", "attachment", "upserts")

Parameters: TypeAlias = Mapping[str, object]
Figures: TypeAlias = dict[str, int]
Answers: TypeAlias = Mapping[str, list[dict[str, Any]]]


class Thresholds(NamedTuple):
    """Sizes at which a merge changes its plan.

    Up to `small` objects and rows, each is looked up by index. From `many` rows on, a first load
    creates the indexes after the rows, and the manifest is analyzed after it was written.
    """

    small: int = 500
    many: int = 10_000


THRESHOLDS = Thresholds()


@dataclass(frozen=True)
class Merge:
    """What the merge of one dataset needs to know.

    `staged` is the number of its objects in staging. `before` are its counts after the last run;
    None if its rows have to be counted. A careful merge keeps rows whose removal a foreign key or a
    trigger blocks, and checks deferred constraints at once. `triggers` are those of other clients.
    A `rebuild` alters the tables. `looked_up` are the answers to `merge_questions`, if they are
    known.
    """

    run_id: int
    sql: DatasetSql
    bucket: str
    reading_hash: str | None
    staged: int
    before: DatasetCounts | None
    thresholds: Thresholds = THRESHOLDS
    is_careful: bool = False
    triggers: obstacles.Triggers = field(default_factory=dict)
    successors: Successors = field(default_factory=Successors)
    rebuild: Rebuild | None = None
    looked_up: Answers | None = None

    @property
    def parameters(self) -> Parameters:
        """The parameters of all statements, without the keys."""
        return {
            "run_id": self.run_id,
            "dataset": self.sql.dataset.name,
            "bucket": self.bucket,
            "reading_hash": self.reading_hash,
        }


def merge(connection: Connection, task: Merge) -> tuple[DatasetCounts, Moved]:
    """Make the tables of the dataset match staging, and count the changes.

    Also returns how many more rows the tables of retired and of shadowed rows have, except after a
    rebuild.

    The caller commits, or calls `end` before the next merge. A small merge adds its changes to the
    totals before it; a bulk merge counts all rows, unless it has checked those of a new table.

    Raises:  AccountingMismatch; DatasetRefused for what hides, skips or changes rows; SQLAlchemy's
             errors, also for what other clients' triggers and constraints reject.
    """
    task, keys = _looked_up(connection, task)
    parameters = {**task.parameters, "keys": keys}
    if keys is None:
        configure(connection, COMPARED_PLANNER if task.sql.is_compared else BULK_PLANNER)
        many = task.thresholds.many
        execute_all(connection, statements("manifest"), parameters, analyze_from=many)
        if task.rebuild is not None and task.rebuild.is_preview:
            return _preview(connection, task, task.rebuild, parameters), Moved()
        figures = _write_rows_in_bulk(connection, task, parameters)
    else:
        execute_at_once(connection, statements("manifest"), parameters)
        figures = _write_rows(connection, task, parameters)
    attached, is_exact = figures.pop("attached"), bool(figures.pop("taken", 0))
    moved = Moved(
        figures.get("retired", 0) * task.sql.keeps_retired - figures.get("restored", 0),
        figures.pop("more_shadowed", 0),
    )
    if task.rebuild is not None:
        moved = Moved()
    counts = _with_totals(DatasetCounts.from_dict(figures), task.before, attached)
    if not is_exact and (keys is None or task.before is None):
        counts = _recounted(connection, task, counts)
    if task.is_careful:
        # Deferred again, because a dataset that follows may have what this one's next rows need.
        connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED"))
    obstacles.check_written(connection, task.sql, task.triggers)
    return counts, moved


def losing_objects(connection: Connection, task: Merge) -> dict[str, int]:
    """By key, the objects that lose rows by this merge; a first load loses none."""
    rows = connection.execute(text(task.sql.statements("figures")["losing_objects"]))
    return {row.key: int(row.rows) for row in rows}


def end(connection: Connection) -> None:
    """Drop the temporary tables of a merge, so that the next one can create its own."""
    connection.execute(text(f"DROP TABLE IF EXISTS {', '.join(_TEMPORARY)}"))


# -- the two strategies, which run the same SQL


def _looked_up(connection: Connection, task: Merge) -> tuple[Merge, list[str] | None]:
    """The merge with the triggers of the tables; the keys in staging if it is small, else None.

    Rows stored for these objects count too, because removing them is work as well. The check
    uses the point planner, or a table might be scanned for a key that it does not contain.

    Raises:  DatasetRefused when row-level security hides rows from our role.
    """
    sql, small = task.sql, None
    if task.rebuild is not None:
        sql = task.rebuild.before
    elif task.staged <= task.thresholds.small:
        configure(connection, POINT_PLANNER)
        small = task.thresholds.small
    found = task.looked_up or ask(connection, merge_questions(sql, small))
    (row,) = found.get("keys") or [{"keys": None}]
    keys = None if small is None else row["keys"]
    return replace(task, triggers=obstacles.triggers(found["obstacles"], sql)), keys


def merge_questions(sql: DatasetSql, small: int | None) -> dict[str, Question]:
    """Find the obstacles of a merge; with `small`, also the keys in staging if they are few."""
    questions = {"obstacles": obstacles.question(sql)}
    if small is not None:
        parameters = {"dataset": sql.dataset.name, "small": small}
        questions["keys"] = Question(sql.statements("figures")["small_keys"], parameters)
    return questions


def _write_rows(connection: Connection, task: Merge, parameters: Parameters) -> Figures:
    """Write the live, retired and shadowed rows that changed; check the objects; count the rows."""
    named = dict(task.sql.statements("merge"))
    blocked = 0
    if task.rebuild is not None:
        named = _alter(connection, task, task.rebuild, parameters)
    if task.is_careful:
        del named["retire_rows"]
    if parameters["keys"] is None:
        execute_all(connection, named, parameters, analyze_from=task.thresholds.small)
    else:
        execute_at_once(connection, named, parameters)
    if task.is_careful:
        blocked = Retirement(connection, task.sql, parameters).retire()
    if task.rebuild is not None:
        task.rebuild.finish(connection, task.sql)
    names = _OF_MERGE if task.sql.dataset.primary_key else _OF_MERGE[:-1]
    found = _figures_at_once(connection, task.sql, names, parameters)
    _check_balanced(found["unbalanced"])
    written, upserted, retired = (found[name] for name in _OF_MERGE[:3])
    written["rows_unchanged"] -= blocked  # blocked rows are stored, but were not read
    attached = upserted.pop("attached") - retired.pop("attached")
    more = found["shadow_change"]["more"] if task.sql.dataset.primary_key else 0
    return {**written, **upserted, **retired, "attached": attached, "more_shadowed": more}


def _alter(
    connection: Connection, task: Merge, rebuild: Rebuild, parameters: Parameters
) -> dict[str, str]:
    """Find what a rebuild writes, and alter its tables; return the statements that are left.

    As much as possible is done before the tables are locked.
    """
    small = task.thresholds.small
    reading = _find(connection, task, rebuild, parameters)
    named = task.sql.statements("merge")
    rest = {name: one for name, one in named.items() if not name.startswith(_FINDING)}
    live = {name: rest.pop(name) for name in _WRITING_LIVE}
    if rebuild.is_altered_last(connection):
        execute_all(connection, live, parameters, analyze_from=small)
        rebuild.alter(connection, task.sql, is_written=True)
    elif rebuild.is_refilled(connection, task.triggers):
        connection.execute(text(reading.statements("rebuild")["prepare_rows"]), parameters)
        rebuild.alter(connection, task.sql, is_refilled=True)
    else:
        rebuild.alter(connection, task.sql)
        return live | rest
    return rest


def _find(
    connection: Connection, task: Merge, rebuild: Rebuild, parameters: Parameters
) -> DatasetSql:
    """Find what a rebuild writes; return the statements that read rows as they will be."""
    reading = rebuild.reading(connection, task.sql)
    named = reading.statements("merge").items()
    finding = {name: one for name, one in named if name.startswith(_FINDING)}
    execute_all(connection, finding, parameters, analyze_from=task.thresholds.small)
    return reading


def _preview(
    connection: Connection, task: Merge, rebuild: Rebuild, parameters: Parameters
) -> DatasetCounts:
    """Count what a rebuild would write; no table is locked."""
    connection.execute(text(_SAMPLE_STAGING.format(tables=task.sql.staging)))
    reading = _find(connection, task, rebuild, parameters)
    rebuild.take_notes(connection, task.sql)
    names = ["upserted", "retired", "live", "unbalanced"]
    found = _figures_at_once(connection, reading, names, parameters)
    _check_balanced(found["unbalanced"])
    attached = found["upserted"].pop("attached") - found["retired"].pop("attached")
    read = connection.execute(text(reading.statements("rebuild")["found_rows"])).mappings().one()
    counts = DatasetCounts.from_dict({**read, **found["upserted"], **found["retired"]})
    return _with_totals(counts, DatasetCounts(**found["live"]), attached)


def _write_rows_in_bulk(connection: Connection, task: Merge, parameters: Parameters) -> Figures:
    """As `_write_rows`, but fill an empty table directly if no key has two rows."""
    is_first = task.rebuild is None and not task.triggers and _is_first_load(connection, task)
    if is_first:
        loaded = _load_first(connection, task, parameters)
        if loaded is not None:
            sql = replace(task.sql, staged_in=StagedIn.TABLE) if "taken" in loaded else task.sql
            _check_balanced(
                _figures_at_once(connection, sql, ["unbalanced"], parameters)["unbalanced"]
            )
            return loaded
    sql = task.sql
    tables = [sql.staging, *([sql.gone, sql.compared_objects] if sql.is_compared else [])]
    connection.execute(text(_SAMPLE_STAGING.format(tables=", ".join(tables))))
    written = _write_rows(connection, task, parameters)
    if is_first:
        connection.execute(text(task.sql.statements("first_load")["update_statistics"]))
    return written


def _is_first_load(connection: Connection, task: Merge) -> bool:
    sql = task.sql
    empty = f"NOT EXISTS (SELECT FROM {sql.table}) AND NOT EXISTS (SELECT FROM {sql.retired})"
    question = (
        f"SELECT {empty} AND count(*) >= :many"
        f" FROM (SELECT FROM {sql.staging} LIMIT :many) AS begun"
    )
    return bool(connection.scalar(text(question), {"many": task.thresholds.many}))


def _load_first(connection: Connection, task: Merge, parameters: Parameters) -> Figures | None:
    """Fill or replace the empty table; None if a key has several rows, one of which must win."""
    named = dict(task.sql.statements("first_load"))
    find = named.pop("find_attachments", None)
    try:
        with connection.begin_nested():
            attached = connection.execute(text(find), parameters).rowcount if find else 0
            if task.successors.take_over(
                connection, task.sql, task.run_id, with_images=bool(attached)
            ):
                new = figures(connection, task.sql, "good_rows", parameters)["rows"]
                return {"rows_loaded": new, "inserted": new, "attached": 0, "taken": 1}
            new = execute_all(connection, named, parameters, analyze_from=0)["insert_rows"]
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) not in _NOT_FIRST:
            raise
        return None
    return {"rows_loaded": new, "inserted": new, "attached": attached}


def execute_all(
    connection: Connection,
    named: Mapping[str, str],
    parameters: Parameters,
    *,
    analyze_from: int,
) -> dict[str, int]:
    """Execute the statements in order; return the number of rows that each wrote.

    An `analyze_` statement is skipped if the one before it wrote fewer rows than `analyze_from`.
    """
    written: dict[str, int] = {}
    rows = 0
    for name, statement in named.items():
        if rows >= analyze_from or not name.startswith("analyze_"):
            rows = connection.execute(text(statement), parameters).rowcount
            written[name] = rows
    return written


def execute_at_once(
    connection: Connection, named: Mapping[str, str], parameters: Parameters
) -> None:
    """Execute the statements for a few rows with the next one, without the `analyze_` ones."""
    parts = [one for name, one in named.items() if not name.startswith("analyze_")]
    later(connection, ";\n".join(parts), parameters)


# -- counting


def _with_totals(
    counts: DatasetCounts, before: DatasetCounts | None, attached: int
) -> DatasetCounts:
    """The counts with the totals of all rows: those before, plus this run's changes."""
    before = before or DatasetCounts()
    live = before.live + counts.inserted + counts.restored - counts.retired
    return replace(counts, live=live, attached=before.attached + attached)


def _recounted(connection: Connection, task: Merge, counts: DatasetCounts) -> DatasetCounts:
    """The counts with all rows counted, which corrects totals after another client's changes."""
    found = replace(counts, **figures(connection, task.sql, "live", {}))
    if found != counts and task.before not in (None, DatasetCounts()):
        log.warning(
            "corrected the totals: another client changed the table",
            dataset=task.sql.dataset.name,
            expected=(counts.live, counts.attached),
            found=(found.live, found.attached),
            hint="`./run.sh verify` shows the differences from the bucket.",
        )
    return found


def _check_balanced(row: Mapping[str, Any] | None) -> None:
    """Check that every row of each object was staged or rejected; `row` is an object without."""
    if row is not None:
        raise AccountingMismatch(
            f"The rows of {row['key']!r} do not add up: {dict(row)}.", key=row["key"]
        )


def _figures_at_once(
    connection: Connection, sql: DatasetSql, names: Sequence[str], parameters: Parameters
) -> dict[str, Any]:
    """The row of each of some statements of figures.sql, in one round trip; None: no row."""
    named = sql.statements("figures")
    found = ask(connection, {name: Question(named[name], parameters) for name in names})
    return {name: next(iter(rows), None) for name, rows in found.items()}


def figures(connection: Connection, sql: DatasetSql, name: str, parameters: Parameters) -> Figures:
    """The counts of one statement of figures.sql."""
    result = connection.execute(text(sql.statements("figures")[name]), parameters)
    return {key: int(value) for key, value in result.mappings().one().items()}
