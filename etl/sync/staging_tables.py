"""The staging tables: cleared before a run, inspected before the merge empties them."""

from __future__ import annotations

from sqlalchemy import Connection, text

STAGING = ("staging_row", "staging_object", "staging_problem")


def empty_staging(connection: Connection) -> None:
    """Remove the rows of an interrupted run; write nothing if there are none."""
    for table in STAGING:
        if connection.scalar(text(f"SELECT EXISTS (SELECT FROM {table})")):
            connection.execute(text(f"TRUNCATE {table}"))
    connection.commit()


def holds_images(connection: Connection) -> bool:
    """Whether staging contains an added, modified or removed image."""
    question = "SELECT EXISTS (SELECT FROM staging_object WHERE kind = 'image')"
    return bool(connection.scalar(text(question)))
