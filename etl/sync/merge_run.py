"""Merge all datasets of a run in one transaction, each under its own savepoint."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from etl.db import runs, tallies
from etl.db.committed import Committed
from etl.db.round_trips import Question, ask
from etl.db.sql import statements
from etl.db.tallies import Moved
from etl.model.declaration import reading_hash
from etl.model.errors import AccountingMismatch, DatasetRefused
from etl.model.values import DatasetCounts
from etl.runtime.logs import get_logger
from etl.sync import holds, refusals, staging_tables
from etl.sync.counting import Staged, check_rows, summed, totals
from etl.sync.holds import Held
from etl.sync.merge import (
    THRESHOLDS,
    Merge,
    Thresholds,
    end,
    execute_all,
    losing_objects,
    merge,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from etl.db.dataset_sql import DatasetSql
    from etl.model.errors import EtlError
    from etl.sync.run import CurrentRun

log = get_logger("etl.merge")

_OF_ALL_DATASETS = ("dataset", "problems", "had_problems")
MOST_ATTEMPTS = 20  # per dataset; each holds at least one object, nearly always all


class _Postponed(Exception):
    """A foreign key of a dataset's table refuses the rows until other datasets are merged."""


@dataclass(frozen=True)
class Merged:
    """What a run commits, and the datasets that it could not merge: their errors by name.

    `held_listed` are the held objects that the listing has.
    """

    committed: Committed
    failures: Mapping[str, EtlError] = field(default_factory=dict)
    held_listed: int = 0


class _Done(NamedTuple):
    """What was done to one dataset; carefully, if objects of blocked rows may be kept."""

    counts: DatasetCounts
    held: Held
    moved: Moved
    is_careful: bool

    @property
    def is_odd(self) -> bool:
        """Whether some of its staged objects are in the manifest as they were before."""
        return self.is_careful or bool(self.held.lost)


@dataclass(frozen=True)
class RunMerge:
    """The merge of all datasets of a run.

    `staged` is what there is to merge. A careful merge checks deferred constraints of other
    clients for each dataset; otherwise they fail the commit. The `paused` datasets stay as they
    are.
    """

    run: CurrentRun
    datasets: Sequence[DatasetSql]
    source_bucket: str
    staged: Staged
    hashes: Mapping[str, str] = field(default_factory=dict)
    paused: frozenset[str] = frozenset()
    thresholds: Thresholds = THRESHOLDS
    is_careful: bool = False

    def merge(self) -> Merged:
        """Make the tables match staging, and count the changes. The caller commits.

        Raises:  DatabaseUnavailable when staging lost rows since it was written;
                 AccountingMismatch. Nothing is committed then.
        """
        connection, staged = self.run.connection, self.staged.objects
        open_holds = self.staged.open_holds
        if self.staged.has_left:
            connection.execute(text(statements("left")["remember"]))
        wanted = staged.keys() | open_holds if self.run.is_full else staged.keys()
        if self.run.rebuild is not None:  # of which no object may be left
            wanted |= {self.run.rebuild.name}
        wanted -= self.run.failures.keys() | self.paused
        tasks = [self._task(sql, staged) for sql in self.datasets if sql.dataset.name in wanted]
        done, refused = self._merge_all(tasks, open_holds)
        held = {name: one.held for name, one in done.items()}
        failures = {**self.run.failures, **refused}
        if None in staged:
            self._merge_others()
        if self.staged.has_left:
            self._keep_left([*failures, *self.paused], held)
        is_plain = not (self.run.rebuild or failures or self.staged.has_moved)
        committed = self._committed(done, is_plain=is_plain)
        size = self.run.stats.staged + committed.counts.rows_read
        self.run.successors.drop(connection)
        staging_tables.clear(connection, self.datasets, is_small=size <= self.thresholds.small)
        return Merged(committed, failures, sum(one.listed for one in held.values()))

    def _task(self, sql: DatasetSql, staged: Mapping[str | None, int]) -> Merge:
        name, rebuild = sql.dataset.name, self.run.rebuild
        committed = self.staged.before.datasets
        before = committed.get(name) if committed else DatasetCounts()
        return Merge(
            run_id=self.run.id,
            sql=self.run.successors.staged(
                replace(
                    sql,
                    is_sorted=self.run.successors.orders.is_ascending(name),
                    is_compared=name in self.run.stats.compared,
                )
            ),
            successors=self.run.successors,
            bucket=sql.dataset.bucket or self.source_bucket,
            reading_hash=self.hashes.get(name) if rebuild is None else reading_hash(sql.dataset),
            staged=staged.get(name, 0),
            before=before if rebuild is None else None,
            rebuild=rebuild,
            thresholds=self.thresholds,
            is_careful=self.is_careful,
            looked_up=self.staged.looked_up.get(name),
        )

    # -- each dataset

    def _merge_all(
        self, tasks: Sequence[Merge], open_holds: frozenset[str]
    ) -> tuple[dict[str, _Done], dict[str, DatasetRefused]]:
        """Merge each dataset; return what was merged and what was refused, by dataset.

        Foreign keys between datasets may require another order: a dataset whose rows one of them
        refuses is merged again after all others.
        """
        merged: dict[str, _Done] = {}
        refused: dict[str, DatasetRefused] = {}
        may_wait = len(tasks) > 1
        while tasks:
            waiting = []
            for task in tasks:
                name = task.sql.dataset.name
                if merged:
                    end(self.run.connection)
                try:
                    merged[name] = self._merge_dataset(
                        task, is_open=name in open_holds, may_wait=may_wait
                    )
                except _Postponed:
                    waiting.append(task)
                except DatasetRefused as error:
                    log.warning("could not merge a dataset", dataset=name, reason=error.message)
                    refused[name] = error
                except DBAPIError as error:
                    if not refusals.is_refusal(error):
                        raise
                    log.exception("could not merge a dataset", dataset=name)
                    refused[name] = refusals.refusal(self.run.connection, task.sql, error)
            may_wait = len(waiting) < len(tasks)
            tasks = waiting
        return merged, refused

    def _merge_dataset(self, task: Merge, *, is_open: bool, may_wait: bool) -> _Done:
        """Merge the dataset, but hold the retirements that need permission.

        Objects that would lose rows are taken out of staging until no object loses any. This may
        take several attempts, because a row may have moved to an object that was taken out.
        """
        connection, name = self.run.connection, task.sql.dataset.name
        rule = holds.Rule(
            name,
            is_open,
            lambda: runs.retired_by_events(connection, name),
            self.run.allowed_retirements,
        )
        held = Held()
        for _ in range(MOST_ATTEMPTS):
            savepoint = connection.begin_nested()
            try:
                counts, moved = merge(connection, task)
                lost, live = _lost(task, counts)
                if not rule.holds(lost, live):
                    self._complete(task, counts, held, is_open=is_open)
                    savepoint.commit()
                    return _Done(counts, held, moved, task.is_careful)
                if task.rebuild is not None:
                    raise task.rebuild.refusal(lost, counts)
                losing = losing_objects(connection, task)
                savepoint.rollback()
            except DatasetRefused:
                savepoint.rollback()
                raise
            except DBAPIError as error:
                savepoint.rollback()
                if may_wait and not held.lost and self._is_between_datasets(error):
                    raise _Postponed from error
                if task.is_careful or not refusals.forbids_removal(error):
                    raise
                task = replace(task, is_careful=True, looked_up=None)
                continue
            task = replace(task, looked_up=None)
            held = held.with_more(holds.take_out(connection, task.sql, losing))
            rule = holds.Rule(name, is_open=True, count_earlier=lambda: 0, allowed={})
        raise AccountingMismatch(f"The retirements of dataset {name!r} could not be held.")

    def _is_between_datasets(self, error: DBAPIError) -> bool:
        """Whether a foreign key of a dataset's table refused the statement."""
        own = {(sql.schema, sql.dataset.table) for sql in self.datasets}
        return refusals.referring_table(error) in own

    def _complete(self, task: Merge, counts: DatasetCounts, held: Held, *, is_open: bool) -> None:
        """Record the hold, if there is one."""
        connection = self.run.connection
        if held.lost or is_open:
            holds.record(
                connection,
                run_id=self.run.id,
                sql=task.sql,
                bucket=task.bucket,
                live=counts.live,
                held=held,
                is_full=self.run.is_full,
            )
        if self.run.preview is not None:
            self.run.preview.collect(connection, task.sql)
        if task.rebuild is not None and not task.rebuild.is_preview:
            task.rebuild.replace_staging(connection, task.sql)

    # -- objects that belong to no dataset, or to another one than before

    def _merge_others(self) -> None:
        """Write the manifest of the objects of no dataset."""
        execute_all(
            self.run.connection,
            statements("manifest"),
            {"run_id": self.run.id, "dataset": None, "reading_hash": None},
            analyze_from=self.thresholds.many,
        )

    def _keep_left(self, unchanged: Sequence[str], held: Mapping[str, Held]) -> None:
        """Give objects back to the datasets that still have their rows, until the next run."""
        keys = [(name, key) for name, one in held.items() for key in one.lost]
        self.run.connection.execute(
            text(statements("left")["keep"]),
            {
                "unchanged": list(unchanged),
                "datasets": [name for name, _ in keys],
                "keys": [key for _, key in keys],
            },
        )

    # -- counting

    def _committed(self, done: Mapping[str, _Done], *, is_plain: bool) -> Committed:
        """The counts of the run: those of the datasets merged, and the totals of all others.

        A run is plain if each object that it added or removed now is, or is not, in the manifest.
        """
        connection = self.run.connection
        found = self._tally(done)
        problems = int(found[0]["problems"])
        objects = {
            row["dataset"]: {k: v for k, v in row.items() if k not in _OF_ALL_DATASETS}
            for row in found
            if row["objects_added"] is not None
        }
        by_dataset: dict[str, DatasetCounts] = {}
        for sql in self.datasets:
            name = sql.dataset.name
            if name in done:
                counts = replace(done[name].counts, **objects.get(name, {}))
                by_dataset[name] = _with_held(counts, done[name].held)
                check_rows(name, by_dataset[name])
            else:
                by_dataset[name] = totals(connection, sql, self.staged.before)
        others = DatasetCounts(**objects.get(None, {}))
        moved = {name: one.moved for name, one in done.items()}
        if is_plain and not any(one.is_odd for one in done.values()):
            moved = {
                name: moved.get(name, Moved())._replace(objects=one.objects_gained)
                for name, one in {**by_dataset, tallies.NO_DATASET: others}.items()
                if name in done or one.objects_gained
            }
        else:
            tallies.count_objects(connection)
        return Committed(summed(by_dataset, others, problems), by_dataset, moved=moved)

    def _tally(self, done: Mapping[str, _Done]) -> list[dict[str, Any]]:
        """Count problems for the tallies, which stay locked until the commit; return figures.

        Raises:  RunCanceled.
        """
        connection = self.run.connection
        tallies.lock(connection)
        figures = Question(statements("figures")["objects"], {"run_id": self.run.id})
        canceled = runs.canceled(self.run.id)
        answers = ask(connection, {"figures": figures, "canceled": canceled})
        runs.check_not_canceled(answers["canceled"])
        found = answers["figures"]
        if found[0]["problems"] or found[0]["had_problems"]:
            tallies.count_staged_problems(connection)
        rebuild = self.run.rebuild
        for sql in self.datasets if rebuild is not None and not rebuild.is_preview else ():
            if sql.dataset.name in done:
                tallies.recount(connection, sql)
        return found


def _lost(task: Merge, counts: DatasetCounts) -> tuple[int, int]:
    """The rows that the dataset loses, and the rows that it had.

    Rows without a key are replaced by others.
    """
    added = counts.inserted + counts.restored
    has_key = bool(task.sql.dataset.primary_key)
    lost = counts.retired if has_key else max(0, counts.retired - added)
    if task.rebuild is not None:
        return task.rebuild.lost(lost, counts), task.rebuild.live
    return lost, counts.live - added + counts.retired


def _with_held(counts: DatasetCounts, held: Held) -> DatasetCounts:
    return replace(
        counts,
        objects_held=held.objects,
        rows_held=held.rows,
        retirements_held=sum(held.lost.values()),
        rows_read=counts.rows_read + held.rows,
    )
