"""Commit all changes of a run in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy.exc import DBAPIError

from etl.db import revisions, runs
from etl.db.committed import LAST_COMMITTED, Committed, committed_in
from etl.db.engine import is_outage
from etl.db.round_trips import ask
from etl.model.errors import DatasetsFailed
from etl.sync import counting, declared, holds, incidents
from etl.sync.counting import Staged, check_objects, summed, totals
from etl.sync.merge_run import Merged, RunMerge
from etl.sync.preview import Previewed
from etl.sync.refusals import is_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from etl.sync.declared import Declared
    from etl.sync.merge import Thresholds
    from etl.sync.run import CurrentRun

HandleEvents: TypeAlias = "Callable[[Collection[str]], None]"


def commit(
    run: CurrentRun,
    known: Declared,
    source_bucket: str,
    thresholds: Thresholds,
    handle_events: HandleEvents,
) -> DatasetsFailed | None:
    """Merge staging and commit; return the error that names the datasets that are not committed.

    `handle_events` is called before the commit with the names of these datasets.

    Deferred constraints and triggers of other clients fail the commit. It is then repeated so that
    they fail their dataset only.
    """
    one = _Commit(run, known, source_bucket, thresholds, handle_events)
    with run.stats.profile.step("merge"):
        try:
            return one.commit()
        except DBAPIError as error:
            if is_outage(error.orig):
                raise
            run.connection.rollback()
            return replace(one, is_careful=True).commit()


def preview(
    run: CurrentRun, known: Declared, source_bucket: str, thresholds: Thresholds
) -> Previewed:
    """Merge staging and roll back; return what the merge changed."""
    assert run.preview is not None  # noqa: S101 - the caller began one
    connection, found = run.connection, run.preview
    if run.rebuild is None:
        used = found.extend_tables(connection, known, run.failures)
        synced = [one for one in used.datasets if not run.leaves_out(one.dataset)]
        run.stats.staged += found.stage_orphans(connection, synced)
    else:  # the tables of others may not exist
        (rebuilt,) = (one for one in known.datasets if one.dataset.name == run.rebuild.name)
        used = replace(known, datasets=(rebuilt,))
    one = _Commit(run, used, source_bucket, thresholds)
    merged, _ = one.merge_staging()
    connection.rollback()
    changes = found.changes(known) if run.rebuild is None else {run.rebuild.name: run.rebuild.notes}
    return Previewed(changes, merged.committed.datasets, found.keys, merged.failures)


def _handle_none(_failed: Collection[str]) -> None:
    """Handle no events, because nothing is committed."""


@dataclass(frozen=True)
class _Commit:
    """One attempt to merge and commit."""

    run: CurrentRun
    known: Declared
    source_bucket: str
    thresholds: Thresholds
    handle_events: HandleEvents = _handle_none
    is_careful: bool = False

    def commit(self) -> DatasetsFailed | None:
        run, connection, stats = self.run, self.run.connection, self.run.stats
        merged, has_images = self.merge_staging()
        counts = stats.added_to(merged.committed.counts)
        check_objects(counts, merged.failures, merged.held_listed)
        stats.profile.rows |= {
            "read": counts.rows_read,
            "merge": counts.rows_read - counts.rows_rejected,
        }
        if taken := run.successors.taken & merged.committed.datasets.keys():
            stats.profile.rows["swap"] = sum(
                merged.committed.datasets[name].inserted for name in taken
            )
        rebuilt = {run.rebuild.name} if run.rebuild and run.rebuild.is_change else set()
        changed = [
            name
            for name, one in merged.committed.datasets.items()
            if one.changed or (name in rebuilt and name not in merged.failures)
        ]
        for name in changed:
            changes = merged.committed.datasets[name].changes
            revisions.announce(connection, name, run.id, changes)
        if has_images:  # a replaced image becomes pending, and changes no user
            revisions.advance(connection, revisions.Resource.IMAGES)
        failures = self._failures(merged)
        runs.complete_run(
            connection,
            run.id,
            replace(merged.committed, counts=counts, left_out={*merged.failures, *self._left}),
            publish_pending=bool(changed),
            error=failures.as_dict() if failures else None,
        )
        if run.only is not None and self.known.is_new:
            declared.keep_new(connection)
        self.handle_events(merged.failures)
        incidents.record_commit(run, has_failures=failures is not None)
        connection.commit()
        return failures

    @property
    def _left(self) -> frozenset[str]:
        """The datasets that the run does not sync: those paused and those not asked for."""
        return frozenset(one.name for one in self.known.values if self.run.leaves_out(one))

    def merge_staging(self) -> tuple[Merged, bool]:
        """Merge all datasets that changed; return whether images did, too. The caller commits."""
        run, known = self.run, self.known
        is_empty = not (run.stats.staged or run.stats.unreadable or run.rebuild)
        if is_empty and not (run.is_full and holds.open_holds(run.connection)):
            questions = {"committed": LAST_COMMITTED, "canceled": runs.canceled(run.id)}
            found = ask(run.connection, questions)
            runs.check_not_canceled(found["canceled"])
            before = committed_in(found["committed"])
            same = {  # only the totals carry over
                sql.dataset.name: totals(run.connection, sql, before) for sql in known.datasets
            }
            return Merged(Committed(summed(same), same), run.failures), False
        run.successors.note_transactions(run.connection)
        staged = self._staged()
        merge = RunMerge(
            run,
            known.datasets,
            self.source_bucket,
            staged,
            known.hashes,
            self._left,
            self.thresholds,
            is_careful=self.is_careful,
        )
        return merge.merge(), staged.has_images

    def _staged(self) -> Staged:
        """What is staged; of a few objects, also what the merge of each dataset needs to know.

        If a table cannot be read, only the merge of its dataset fails.
        """
        run, small = self.run, self.thresholds.small
        plain = partial(counting.staged, run.connection, run.stats.staged, small)
        is_usual = run.preview is None and run.rebuild is None and not self.is_careful
        if run.stats.staged > small or not is_usual:
            return plain()
        datasets = [
            run.successors.staged(sql)
            for sql in self.known.datasets
            if sql.dataset.name in run.stats.datasets
        ]
        try:
            return plain(datasets)
        except DBAPIError as error:
            if not is_refusal(error):
                raise
            run.connection.rollback()
            return plain()

    def _failures(self, merged: Merged) -> DatasetsFailed | None:
        """The error that names the datasets that were not committed, and those that were."""
        if not merged.failures:
            return None
        errors = merged.failures.values()
        reasons = list(dict.fromkeys(error.public_message for error in errors))
        separator = "\n" if len(reasons) > 1 else " "
        left = {*merged.failures, *self._left}
        committed = ", ".join(one.name for one in self.known.values if one.name not in left)
        return DatasetsFailed(
            separator.join([*reasons, f"Committed: {committed or 'no dataset'}."]),
            hint=" ".join(dict.fromkeys(error.hint for error in errors if error.hint)) or None,
            failed=", ".join(merged.failures),
            committed=committed,
        )
