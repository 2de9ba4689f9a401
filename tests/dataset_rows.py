"""Datasets that tests install, and rows that they insert, without a run."""

from __future__ import annotations

from typing import Any

from psycopg2.extras import Json
from sqlalchemy import Engine, text

from etl.db import tallies
from etl.db.dataset_sql import DatasetSql
from etl.db.dataset_tables import ensure
from etl.db.engine import schemas_of
from etl.db.identifiers import in_text
from etl.db.revisions import advance, noun_of
from etl.model.dataset import Dataset
from etl.model.declaration import reading_hash, to_json
from tests.user_rows import NOW

SYSTEM = {"_source_key": "k.csv", "_run_id": 1, "_updated_at": NOW}


def install(engine: Engine, *datasets: Dataset, added: tuple[str, ...] = ()) -> None:
    """Declare these datasets and no others, and create their tables."""
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM dataset"))
        for one in datasets:
            if one.name != "users":
                ensure(connection, DatasetSql(one, schemas_of(engine).data, added))
            connection.execute(
                text(
                    "INSERT INTO dataset (name, declaration, reading_hash, added_columns,"
                    " installed_at) VALUES (:name, :declaration, :hash, :added, now())"
                ),
                {
                    "name": one.name,
                    "declaration": Json(to_json(one)),
                    "hash": reading_hash(one),
                    "added": list(added),
                },
            )


def put_rows(engine: Engine, dataset: Dataset, *rows: dict[str, Any], suffix: str = "") -> None:
    """Insert rows into a table of the dataset, count them and advance its revision, as a merge."""
    table = f"{in_text(schemas_of(engine).data)}.{in_text(dataset.table + suffix)}"
    with engine.begin() as connection:
        for line, row in enumerate(rows, start=2):
            own = SYSTEM | {"_source_line": line}
            if suffix == "_retired":
                own["_retired_at"] = NOW
            if suffix == "_shadowed":
                del own["_updated_at"]
            values = {name: _adapted(one) for name, one in (own | row).items()}
            names = ", ".join(map(in_text, values))
            places = ", ".join(f":v{number}" for number in range(len(values)))
            connection.execute(
                text(f"INSERT INTO {table} ({names}) VALUES ({places})"),
                {f"v{number}": one for number, one in enumerate(values.values())},
            )
        tallies.lock(connection)
        tallies.recount(connection, DatasetSql(dataset, schemas_of(engine).data))
        advance(connection, noun_of(dataset.name))


def _adapted(value: object) -> object:
    return Json(value) if isinstance(value, (dict, list)) else value
