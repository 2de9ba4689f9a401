"""Add the columns that the data of a run have to the tables of their datasets."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from etl.model.errors import DatasetRefused
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

    A preview adds none, so it ends for the datasets concerned.
    """
    for name, columns in new_columns.items():
        if name in run.failures:
            continue
        if run.preview is not None:
            run.failures[name] = _not_previewed(name, columns)
            continue
        wider: list[DatasetSql] = []
        for sql in known.datasets:
            changed, failure = (
                declared.add_columns(run.connection, run.successors.staged(sql), columns)
                if sql.dataset.name == name
                else (sql, None)
            )
            wider.append(changed)
            if failure is not None:
                run.failures[name] = failure
        known = replace(known, datasets=tuple(wider))
    return known


def _not_previewed(name: str, columns: tuple[str, ...]) -> DatasetRefused:
    return DatasetRefused(
        f"A run would add columns to the table of dataset {name!r}: {', '.join(columns)}.",
        hint="A dry run does not add columns, so it cannot show the rows of this dataset.",
    )
