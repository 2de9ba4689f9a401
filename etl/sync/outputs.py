"""The files published for each dataset: their names, columns and statements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from etl.db.identifiers import quoted
from etl.model.dataset import USERS, DerivedAs
from etl.model.routing import path_names
from etl.model.types import DERIVED_SQL, SqlType, sql_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from etl.db.dataset_sql import DatasetSql
    from etl.model.dataset import Dataset
    from etl.settings import Settings

OUTPUT_NAME = "output.csv"
PARQUET_NAME = "output.parquet"
OUTPUT_COLUMNS = ("user_id", "first_name", "last_name", "birthts", "img_path")
PARQUET_SUFFIX = ".parquet"
_TEXT = SqlType("text")
_DATE = SqlType(DERIVED_SQL[DerivedAs.DATE])


@dataclass(frozen=True)
class Output:
    """One published file of a dataset."""

    name: str
    sql: DatasetSql

    @property
    def is_parquet(self) -> bool:
        """Whether it is Parquet; otherwise it is CSV."""
        return self.name.endswith(PARQUET_SUFFIX)

    @property
    def media_type(self) -> str:
        """Its Content-Type."""
        return "application/vnd.apache.parquet" if self.is_parquet else "text/csv; charset=utf-8"

    @property
    def dataset(self) -> str:
        """The name of its dataset."""
        return self.sql.dataset.name

    @property
    def types(self) -> dict[str, SqlType]:
        """The columns, which are the declared, path and stored derived ones, and their types.

        Those of users are older than datasets.
        """
        dataset = self.sql.dataset
        found = {one.name: sql_type(one.type, one.sql) for one in dataset.fields}
        found = dict.fromkeys(path_names(dataset), _TEXT) | found
        if dataset.name == USERS.name:
            return {name: found.get(name, _TEXT) for name in OUTPUT_COLUMNS}
        derived = [one.name for one in dataset.derived if one.computed_as is DerivedAs.DATE]
        order = dict.fromkeys([*dataset.field_names, *path_names(dataset)])
        return {name: found[name] for name in order} | dict.fromkeys(derived, _DATE)

    @property
    def copy(self) -> str:
        """The statement that writes its rows, for the driver; cells are as in the API's CSV."""
        columns = ", ".join(
            f"{one.traits.cell.format(column=quoted(name))} AS {quoted(name)}"
            for name, one in self.types.items()
        )
        order = ", ".join(f"stored.{quoted(name)}" for name in self.sql.key)
        table = f"{quoted(self.sql.schema)}.{quoted(self.sql.dataset.table)} AS stored"
        return (
            f"COPY (SELECT {columns} FROM {table} ORDER BY {order}) TO STDOUT (FORMAT csv, HEADER)"
        )


def columns_of(sql: DatasetSql) -> list[tuple[str, SqlType]]:
    """The columns of a dataset's files, in their order."""
    return list(Output("", sql).types.items())


def outputs(datasets: Iterable[DatasetSql], settings: Settings) -> list[Output]:
    """The files to publish, in the order of the datasets."""
    return [Output(name, sql) for sql in datasets for name in _names(sql.dataset, settings)]


def _names(dataset: Dataset, settings: Settings) -> Sequence[str]:
    if dataset.name != USERS.name:
        return dataset.publish
    more = [PARQUET_NAME] if settings.output_parquet else []
    return list(dict.fromkeys([*dataset.publish, *more]))
