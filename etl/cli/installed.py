"""The installed datasets that a command reports on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.cli.runs import check_names
from etl.db.dataset_sql import DatasetSql
from etl.db.engine import schemas_of
from etl.db.installed import installed
from etl.model.dataset import USERS

if TYPE_CHECKING:
    from sqlalchemy import Connection


def chosen(connection: Connection, name: str | None) -> list[DatasetSql]:
    """The dataset with this name, or all; before the first run, `users` is the only one.

    Raises:  ConfigurationError when there is no such dataset.
    """
    schema = schemas_of(connection.engine).data
    every = installed(connection, schema) or [DatasetSql(USERS, schema)]
    if name is None:
        return list(every)
    check_names([sql.dataset for sql in every], [name])
    return [sql for sql in every if sql.dataset.name == name]
