"""The statements of a dataset on something else than its tables."""

from __future__ import annotations

from dataclasses import dataclass

from etl.db.dataset_sql import DatasetSql


@dataclass(frozen=True)
class StoredAs(DatasetSql):
    """The statements of a dataset that read other relations as its tables.

    `relations_as` stand for those of live, retired and shadowed rows.
    """

    relations_as: tuple[str, str, str] = ("", "", "")

    @property
    def table(self) -> str:
        """What stands for the table of live rows."""
        return self.relations_as[0]

    @property
    def retired(self) -> str:
        """What stands for the table of retired rows."""
        return self.relations_as[1]

    @property
    def shadowed(self) -> str:
        """What stands for the table of shadowed rows."""
        return self.relations_as[2]
