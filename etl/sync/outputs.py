"""The files published for each dataset: their names, columns and statements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from etl.db.identifiers import quoted
from etl.model.dataset import USERS, DerivedAs, FieldType
from etl.model.routing import path_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from etl.db.dataset_sql import DatasetSql
    from etl.model.dataset import Dataset
    from etl.settings import Settings

OUTPUT_NAME = "output.csv"
PARQUET_NAME = "output.parquet"
OUTPUT_COLUMNS = ("user_id", "first_name", "last_name", "birthts", "img_path")
PARQUET_SUFFIX = ".parquet"

# Parquet types of columns of which COPY writes the text that Arrow reads; all others are strings.
_PARQUET = {
    FieldType.EPOCH_MS: "int64",
    FieldType.INTEGER: "int64",
    FieldType.YEAR: "int64",
}
_WHOLE_NUMBERS = ("bigint", "integer", "smallint", "int", "int2", "int4", "int8")


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
    def columns(self) -> tuple[str, ...]:
        """The declared, path and stored derived columns; those of users are older than datasets."""
        dataset = self.sql.dataset
        if dataset.name == USERS.name:
            return OUTPUT_COLUMNS
        derived = [one.name for one in dataset.derived if one.computed_as is DerivedAs.DATE]
        return tuple(dict.fromkeys([*dataset.field_names, *path_names(dataset), *derived]))

    @property
    def parquet_types(self) -> dict[str, str]:
        """The type of each column in Parquet."""
        return dict.fromkeys(self.columns, "string") | _parquet_types(self.sql.dataset)

    @property
    def copy(self) -> str:
        """The statement that writes its rows, for the driver."""
        columns = ", ".join(map(quoted, self.columns))
        order = ", ".join(map(quoted, self.sql.key))
        table = f"{quoted(self.sql.schema)}.{quoted(self.sql.dataset.table)}"
        return (
            f"COPY (SELECT {columns} FROM {table} ORDER BY {order}) TO STDOUT (FORMAT csv, HEADER)"
        )


def outputs(datasets: Iterable[DatasetSql], settings: Settings) -> list[Output]:
    """The files to publish, in the order of the datasets."""
    return [Output(name, sql) for sql in datasets for name in _names(sql.dataset, settings)]


def _names(dataset: Dataset, settings: Settings) -> Sequence[str]:
    if dataset.name != USERS.name:
        return dataset.publish
    more = [PARQUET_NAME] if settings.output_parquet else []
    return list(dict.fromkeys([*dataset.publish, *more]))


def _parquet_types(dataset: Dataset) -> dict[str, str]:
    return {
        one.name: _PARQUET[one.type]
        for one in dataset.fields
        if one.type in _PARQUET and (one.sql is None or one.sql.lower() in _WHOLE_NUMBERS)
    }
