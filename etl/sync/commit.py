"""Commit all changes of a run in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from etl.db import revisions, runs
from etl.model.errors import DatasetsFailed
from etl.model.values import Trigger
from etl.sync import declared, holds, staging_tables
from etl.sync.merge_run import Merged, RunMerge, check_objects, summed, totals
from etl.sync.preview import Previewed
from etl.sync.retiring import is_forbidden

if TYPE_CHECKING:
    from etl.sync.declared import Declared
    from etl.sync.merge import Thresholds
    from etl.sync.run import CurrentRun


def commit(
    run: CurrentRun, known: Declared, source_bucket: str, thresholds: Thresholds
) -> DatasetsFailed | None:
    """Merge staging and commit; return the error that names the datasets that are not committed.

    Deferred constraints of other clients fail the commit. It is then repeated so that they fail
    their dataset only.
    """
    run.stats.retired_before = runs.retired_by_events(run.connection)
    one = _Commit(run, known, source_bucket, thresholds)
    with run.stats.profile.step("merge"):
        try:
            return one.commit()
        except DBAPIError as error:
            if not is_forbidden(error):
                raise
            run.connection.rollback()
            return replace(one, is_careful=True).commit()


def preview(
    run: CurrentRun, known: Declared, source_bucket: str, thresholds: Thresholds
) -> Previewed:
    """Merge staging, and undo it; return what was changed."""
    connection = run.connection
    run.stats.retired_before = runs.retired_by_events(connection)
    run = replace(run, id=runs.insert_run(connection, Trigger.CLI, run.allowed_retirements))
    one = _Commit(run, known, source_bucket, thresholds)
    merged = one.merge_staging(runs.last_committed(connection))
    connection.rollback()
    staging_tables.empty_staging(connection, known.datasets)
    keys = {} if run.preview is None else run.preview.keys
    return Previewed(merged.committed.datasets, keys, merged.failures)


@dataclass(frozen=True)
class _Commit:
    """One attempt."""

    run: CurrentRun
    known: Declared
    source_bucket: str
    thresholds: Thresholds
    is_careful: bool = False

    def commit(self) -> DatasetsFailed | None:
        run, connection, stats = self.run, self.run.connection, self.run.stats
        has_images = staging_tables.holds_images(connection)  # the merge empties staging
        merged = self.merge_staging(runs.last_committed(connection))
        counts = stats.added_to(merged.committed.counts)
        check_objects(counts, merged)
        stats.profile.rows |= {
            "read": counts.rows_read,
            "merge": counts.rows_read - counts.rows_rejected,
        }
        if taken := run.successors.taken & merged.committed.datasets.keys():
            stats.profile.rows["swap"] = sum(
                merged.committed.datasets[name].inserted for name in taken
            )
        changed = [name for name, one in merged.committed.datasets.items() if one.changed]
        for name in changed:
            revisions.advance(connection, revisions.noun_of(name))
        if has_images:  # a replaced image becomes pending, and changes no user
            revisions.advance(connection, revisions.Resource.IMAGES)
        failures = _failures(merged, self.known)
        runs.complete_run(
            connection,
            run.id,
            replace(merged.committed, counts=counts),
            publish_pending=bool(changed),
            error=failures.as_dict() if failures else None,
        )
        if run.only is not None and self.known.is_new:
            declared.keep_new(connection)
        connection.commit()
        return failures

    def merge_staging(self, before: runs.Committed) -> Merged:
        """Merge all datasets that changed; the caller commits."""
        run, known = self.run, self.known
        is_empty = not (run.stats.staged or run.stats.unreadable)
        if is_empty and not (run.is_full and holds.open_holds(run.connection)):
            names = [one.name for one in known.values]  # only the totals carry over
            same = {name: totals(before.datasets.get(name)) for name in names}
            return Merged(runs.Committed(summed(same), same), run.failures)
        return RunMerge(
            run,
            known.datasets,
            self.source_bucket,
            before,
            known.hashes,
            frozenset(one.name for one in known.values if run.leaves_out(one)),
            self.thresholds,
            is_careful=self.is_careful,
        ).merge()


def _failures(merged: Merged, known: Declared) -> DatasetsFailed | None:
    """The error that names the datasets that were not committed, and those that were."""
    if not merged.failures:
        return None
    reasons = " ".join(error.public_message for error in merged.failures.values())
    others = [one.name for one in known.values if one.name not in merged.failures]
    return DatasetsFailed(
        f"{reasons} Committed: {', '.join(others) or 'no dataset'}.",
        failed=", ".join(merged.failures),
        committed=", ".join(others),
    )
