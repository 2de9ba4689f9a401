"""Settings of PostgreSQL's planner for merges of many rows, and of a few."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.db.round_trips import later

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

# Joins and sorts a million rows without temporary files and on every core: the joins return few
# of the rows that they read, which PostgreSQL cannot estimate.
BULK_PLANNER = {
    "work_mem": "128MB",
    "parallel_setup_cost": "100",
    "parallel_tuple_cost": "0.001",
}
# Looks up the stored rows that differ from those of a compared object, unless they are many. The
# comparison has just read the table, so its pages are in memory.
COMPARED_PLANNER = {**BULK_PLANNER, "random_page_cost": "0.5"}
# Prevents table scans for a few rows, even if a table was never analyzed.
POINT_PLANNER = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}


def configure(connection: Connection, planner: Mapping[str, str]) -> None:
    """Set the planner's settings for this transaction, and reset those of the other strategy.

    They are sent with the next statement.
    """
    others = (COMPARED_PLANNER | POINT_PLANNER).keys() - planner.keys()
    lines = [f"SET LOCAL {name} = '{value}'" for name, value in planner.items()]
    lines += [f"SET LOCAL {name} TO DEFAULT" for name in sorted(others)]
    later(connection, "; ".join(lines))
