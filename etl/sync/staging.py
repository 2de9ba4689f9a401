"""Read the changed objects of a bucket in batches, each while another is staged."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

from etl.runtime.arrow import import_arrow
from etl.sync.columns import add_new_columns
from etl.sync.executor import BucketWork
from etl.sync.run_tables import ReadBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from datetime import date

    from sqlalchemy import Engine

    from etl.model.routing import ObjectRoute
    from etl.model.values import Change
    from etl.sync.batch import Batch
    from etl.sync.declared import Declared
    from etl.sync.executor import Executor
    from etl.sync.run import CurrentRun

    Route: TypeAlias = "Callable[[str], ObjectRoute]"


@dataclass(frozen=True, kw_only=True)
class Stager:
    """Reads with the `executor` in full runs, else with the `threads` of this process.

    Units:   expanded_max_size: bytes of an object. many: rows of a batch, from which a first load
             fills a new table.
    """

    engine: Engine
    threads: Executor
    executor: Executor
    today: Callable[[], date]
    expanded_max_size: int
    many: int

    def stage(
        self, run: CurrentRun, known: Declared, bucket: str, route: Route, changed: Iterable[Change]
    ) -> Declared:
        """Stage the changed objects; return the datasets with the columns that they add."""
        stats = run.stats
        # Closed after an error, too: it then uses the connection no more.
        with closing(self._read(run, known, bucket, route, changed)) as batches:
            for found in batches:
                if isinstance(found, ReadBatch):  # staged already
                    stats.add_staged(found)
                else:
                    known = self._stage_batch(run, known, found)
                run.progress.report("read", stats.staged)
        stats.profile.count("list", stats.listed)
        return known

    def _read(
        self, run: CurrentRun, known: Declared, bucket: str, route: Route, changed: Iterable[Change]
    ) -> Generator[Batch | ReadBatch, None, None]:
        """Fetch and parse the objects."""
        profile = run.stats.profile
        coming = profile.each("list", changed)
        with profile.step("read"):
            first = next(coming, None)
        if first is None:
            return
        import_arrow()  # which a run without changes does not need
        from etl.read.limits import ExpansionLimits
        from etl.read.rows.layout import AddedColumns
        from etl.sync.reading import BucketReading
        from etl.sync.unchanged import Comparisons

        added = {sql.dataset.name: AddedColumns(sql.added) for sql in known.datasets}
        limits = ExpansionLimits(self.expanded_max_size)
        reading = BucketReading(bucket, route, self.today(), added, limits)
        # The tables may lack what is declared.
        is_altered = run.preview is not None or run.rebuild is not None
        comparisons = Comparisons(() if is_altered else known.datasets, self.engine)
        executor = self.threads if is_altered or not run.is_full else self.executor
        work = BucketWork(run, known, reading, chain([first], coming), comparisons)
        batches = executor.read(work)
        yield from profile.each("read", batches)  # the time that the run waits for a batch

    def _stage_batch(self, run: CurrentRun, known: Declared, found: Batch) -> Declared:
        from etl.sync.stage import stage  # pyarrow, as in `_read`

        with run.stats.profile.step("stage"):
            known = add_new_columns(run, known, found.new_columns)
            batch = found.without(run.failures)
            run.successors.prepare(run.connection, known.datasets, batch, self.many)
            stage(run.connection, batch, run.successors.names)
        run.stats.add(batch)
        return known
