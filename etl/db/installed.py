"""The installed datasets, as the database has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from etl.db.dataset_sql import DatasetSql
from etl.db.sql import statements
from etl.model.declaration import from_json

if TYPE_CHECKING:
    from collections.abc import Sequence


def installed(connection: Connection, schema: str) -> Sequence[DatasetSql]:
    """The installed datasets in the order of their declaration; none before the first run."""
    rows = connection.execute(text(statements("declared")["load"])).all()
    return [
        DatasetSql(from_json(row.declaration), schema, tuple(row.added_columns)) for row in rows
    ]
