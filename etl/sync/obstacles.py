"""What other clients put on the tables of a dataset: row-level security, triggers and rules.

Row-level security hides rows, so a dataset whose tables it filters is not merged. Triggers and
rules may skip or change rows without an error. The rows of a table that has any are therefore
compared after they were written.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from etl.db.round_trips import Question
from etl.db.sql import statements
from etl.model.errors import DatasetRefused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from etl.db.dataset_sql import DatasetSql

Triggers = dict[str, list[str]]


def question(sql: DatasetSql) -> Question:
    """Find what other clients put on the tables of the dataset."""
    named = {"schema": sql.schema, "names": sql.relations}
    return Question(statements("obstacles")["find"], named)


def triggers(found: Sequence[Mapping[str, Any]], sql: DatasetSql) -> Triggers:
    """By table, the triggers and rules that other clients defined; tables without any are absent.

    `found` is the answer to `question`.

    Raises:  DatasetRefused when row-level security hides rows from our role.
    """
    filtered = [row["name"] for row in found if row["is_filtered"]]
    if filtered:
        raise DatasetRefused(
            f"Row-level security of table {', '.join(filtered)} hides rows of dataset"
            f" {sql.dataset.name!r}.",
            hint="Make the role in DATABASE_URL the owner of the table without FORCE ROW LEVEL"
            " SECURITY, or give it BYPASSRLS. Every full run tries again.",
        )
    return {row["name"]: row["triggers"] for row in found if row["triggers"]}


def check_written(
    connection: Connection, sql: DatasetSql, defined: Mapping[str, Sequence[str]]
) -> None:
    """Check that triggers and rules have neither skipped nor changed rows of the merge.

    Raises:  DatasetRefused.
    """
    if not defined:
        return
    dataset = sql.dataset
    counts = connection.execute(text(sql.statements("obstacles")["unfaithful"])).all()
    for suffix, rows in counts:
        if rows:
            table = dataset.table + suffix
            names = ", ".join(defined.get(table) or chain(*defined.values()))
            raise DatasetRefused(
                f"{rows} rows of dataset {dataset.name!r} are not in table {table} as they were"
                f" written; it has the triggers or rules: {names}.",
                hint="Disable or drop the one that skips or changes rows: the table must equal the"
                " bucket. Every full run tries again.",
            )
