"""Add the columns that the data of a run have to the tables of their datasets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from etl.db import dataset_tables
from etl.sync import declared

if TYPE_CHECKING:
    from collections.abc import Mapping

    from etl.db.dataset_sql import DatasetSql
    from etl.sync.declared import Declared
    from etl.sync.run import CurrentRun


def add_new_columns(
    run: CurrentRun, known: Declared, new_columns: Mapping[str, tuple[str, ...]]
) -> Declared:
    """The datasets with the columns added; those where it is impossible are failures of the run.

    A preview and a rebuild add them to staging only.
    """
    for name, columns in new_columns.items():
        if name in run.failures:
            continue
        wider = [
            _with(run, sql, columns) if sql.dataset.name == name else sql for sql in known.datasets
        ]
        known = replace(known, datasets=tuple(wider))
    return known


def _with(run: CurrentRun, sql: DatasetSql, columns: tuple[str, ...]) -> DatasetSql:
    if run.preview is not None or run.rebuild is not None:
        wider = replace(sql, added=tuple(dict.fromkeys([*sql.added, *columns])))
        dataset_tables.add_to_staging(run.connection, wider, columns)
        run.connection.commit()
        return wider
    wider, failure = declared.add_columns(run.connection, run.successors.staged(sql), columns)
    if failure is not None:
        run.failures[sql.dataset.name] = failure
    return wider
