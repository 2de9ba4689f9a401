"""Tallies: numbers that would take a scan to count, kept in the transaction that changes them.

Other transactions than those of runs change tallies as well, such as that of the image worker.
Each takes the lock of tallies at its end. So it sees what the others have counted, and none waits
long. Only revisions are changed after it, so that no two transactions wait for each other.
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, TextClause, text

from etl.db.engine import schemas_of
from etl.db.names import tallies_key
from etl.db.round_trips import later
from etl.db.sql import statements
from etl.db.tally_tables import ROW_COUNTERS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from etl.db.dataset_sql import DatasetSql
    from etl.model.values import DatasetCounts


NO_DATASET = ""  # of objects that belong to none


class Moved(NamedTuple):
    """How many more rows and objects a run leaves.

    They are in the tables of retired and of shadowed rows, and in the manifest.
    """

    retired: int = 0
    shadowed: int = 0
    objects: int = 0


# -- of runs


def count_staged_problems(connection: Connection) -> None:
    """Count the problems of the staged objects again. The caller has the lock."""
    connection.execute(_count_problems("staged"))


def count_objects(connection: Connection) -> None:
    """Count the objects of all datasets again. The caller has the lock."""
    connection.execute(text(statements("tallies")["count_objects"]))


@cache
def ending(ended: str, *, with_rows: bool) -> TextClause:
    """The statement that ends a run by the statement `ended`, and counts it.

    Its parameter `changes`, if any, is that of the function.
    """
    named = statements("tallies")
    rest = named["add_rows"] if with_rows else "SELECT"
    return text(f"{named['end_runs'].replace('{ended}', ended)} {rest}")


def changes(counts: Mapping[str, DatasetCounts], moved: Mapping[str, Moved]) -> str:
    """What a run did to the rows of the datasets that it merged, as JSON."""
    return json.dumps(
        [
            {
                "dataset": name,
                "rows": one.live,
                "attached": one.attached,
                **moved[name]._asdict(),
                **_counters(one),
            }
            for name, one in counts.items()
        ]
    )


def _counters(counts: DatasetCounts) -> dict[str, int]:
    found = {"read": counts.rows_read, "rejected": counts.rows_rejected, **counts.changes}
    return {f"rows_{name}": found[name] for name in ROW_COUNTERS}


def end_runs(connection: Connection, run_ids: Sequence[int]) -> None:
    """Count runs that have just ended, in the transaction that ends them."""
    ended = statements("tallies")["ended"]
    connection.execute(ending(ended, with_rows=False), {"ids": list(run_ids)})


# -- of others


def lock(connection: Connection) -> None:
    """Take the lock of tallies until the end of the transaction, with the next statement."""
    parameters = {"lock": tallies_key(schemas_of(connection.engine).state)}
    later(connection, statements("tallies")["lock"], parameters)


def count_problems(connection: Connection, bucket: str, keys: Collection[str]) -> None:
    """Count the problems of these objects again; the last thing before the caller's commit."""
    lock(connection)
    connection.execute(_count_problems("named"), {"bucket": bucket, "keys": sorted(set(keys))})


@cache
def _count_problems(touched: str) -> TextClause:
    named = statements("tallies")
    return text(named["count_problems"].replace("{touched}", named[touched]))


def recount(connection: Connection, sql: DatasetSql) -> None:
    """Count the rows and objects of a dataset. The caller has the lock."""
    name = sql.dataset.name
    connection.execute(text(sql.statements("figures")["recount"]), {"dataset": name})


def remove_retired(connection: Connection, dataset: str, removed: int) -> None:
    """Count retired rows that were removed; the last thing before the caller's commit."""
    lock(connection)
    connection.execute(
        text(statements("tallies")["retire"]), {"dataset": dataset, "removed": removed}
    )


def forget(connection: Connection, dataset: str) -> None:
    """Delete the tallies of a dataset; the last thing before the caller's commit."""
    lock(connection)
    connection.execute(text(statements("tallies")["forget"]), {"name": dataset})
