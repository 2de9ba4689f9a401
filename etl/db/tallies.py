"""Tallies: numbers that would take a scan to count, kept in the transaction that changes them.

Other transactions than those of runs change tallies as well, such as that of the image worker.
Each takes the lock of tallies at its end. So it sees what the others have counted, and nobody waits
long. Only revisions are changed after it, so that no two transactions wait for each other.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, text

from etl.db.engine import schemas_of
from etl.db.names import tallies_key
from etl.db.sql import statements
from etl.db.tally_tables import ROW_COUNTERS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from etl.db.dataset_sql import DatasetSql
    from etl.model.values import DatasetCounts


NO_DATASET = ""  # of objects that belong to none


class Moved(NamedTuple):
    """How many more rows a run leaves in the tables of retired and of shadowed rows."""

    retired: int = 0
    shadowed: int = 0


# -- of runs


def lock_and_move(
    connection: Connection,
    before: Mapping[str, int],
    held: Collection[tuple[str, str]],
    question: str,
    parameters: Mapping[str, object],
) -> list[dict[str, Any]]:
    """Lock the tallies, count the objects of datasets, and ask a question, in one round trip.

    `before` is the number of staged objects that the manifest had of each dataset. `held` are the
    buckets and keys of objects that were staged, but are held.
    """
    named = statements("tallies")
    move = named["move_objects"].replace("{touched}", named["staged"])
    found = connection.execute(
        text(f"{named['lock']}; {move}; {question}"),
        {
            **_lock(connection),
            **_held(held),
            "before": json.dumps(before),
            **parameters,
        },
    )
    return [dict(row) for row in found.mappings()]


def count_staged_problems(connection: Connection, held: Collection[tuple[str, str]]) -> None:
    """Count the problems of the staged objects again. The caller has the lock."""
    named = statements("tallies")
    statement = named["count_problems"].replace("{touched}", named["staged"])
    connection.execute(text(statement), _held(held))


def changes(counts: Mapping[str, DatasetCounts], moved: Mapping[str, Moved]) -> str:
    """The parameter of `add_rows`: what a run did to the rows of the datasets that it merged."""
    return json.dumps(
        [
            {
                "dataset": name,
                "rows": one.live,
                "attached": one.attached,
                **moved.get(name, Moved())._asdict(),
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
    connection.execute(text(statements("tallies")["end_runs"]), {"ids": list(run_ids)})


def _held(held: Collection[tuple[str, str]]) -> dict[str, list[str]]:
    return {"held_buckets": [one[0] for one in held], "held_keys": [one[1] for one in held]}


# -- of others


def lock(connection: Connection) -> None:
    """Take the lock of tallies until the end of the transaction."""
    connection.execute(text(statements("tallies")["lock"]), _lock(connection))


def count_problems(connection: Connection, bucket: str, keys: Collection[str]) -> None:
    """Count the problems of these objects again; the last thing before the caller's commit."""
    if not keys:
        return
    lock(connection)
    named = statements("tallies")
    statement = named["count_problems"].replace("{touched}", named["named"])
    connection.execute(text(statement), {"bucket": bucket, "keys": sorted(set(keys))})


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


def _lock(connection: Connection) -> dict[str, int]:
    return {"lock": tallies_key(schemas_of(connection.engine).state)}
