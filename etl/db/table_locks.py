"""Locks on tables that other clients read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from etl.db.sql import statements
from etl.model.errors import DatasetRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOCK_FAILED = ("55P03", "40P01")


class Patience(NamedTuple):
    """How long an attempt waits, how many there are, and how long the pause between them is."""

    seconds: float
    attempts: int
    pause_seconds: float


PATIENCE = Patience(seconds=2, attempts=5, pause_seconds=1)


def lock_dataset(connection: Connection, dataset: str, tables: Sequence[str]) -> None:
    """Lock the tables of a dataset, so that no other session uses them until the commit.

    Raises:  DatasetRefused with the sessions that use them.
    """
    sessions = lock(connection, tables, "ACCESS EXCLUSIVE", PATIENCE) if tables else []
    if sessions:
        raise DatasetRefused(
            f"The tables of dataset {dataset!r} stay in use by other sessions, so they were not"
            f" changed: {', '.join(sessions)}.",
            hint="End these sessions, for example by `SELECT pg_terminate_backend(PROCESS)`, and"
            " repeat the command.",
        )


def lock(connection: Connection, tables: Sequence[str], mode: str, patience: Patience) -> list[str]:
    """Lock the tables, in this order, without stopping their readers for long.

    While the lock is not free, readers that come later wait for it too; so the attempt is given up
    soon, and repeated after a pause. Returns the sessions that still use the tables
    after the last attempt; none if they are locked. Names are quoted.
    """
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{int(patience.seconds * 1000)}ms'")
    for attempt in range(patience.attempts):
        if attempt:
            time.sleep(patience.pause_seconds)  # so that readers queued after the attempt can run
        nested = connection.begin_nested()
        try:
            connection.exec_driver_sql(f"LOCK TABLE {', '.join(tables)} IN {mode} MODE")
        except DBAPIError as error:
            nested.rollback()
            if getattr(error.orig, "pgcode", None) not in _LOCK_FAILED:
                raise
        else:
            nested.commit()
            connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
            return []
    users = text(statements("dependents")["users_of"])
    return [
        f"{one.pid} ({one.application_name or one.usename})"
        for one in connection.execute(users, {"tables": list(tables)})
    ] or ["a session that has just ended"]
