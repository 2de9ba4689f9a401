"""An instance that has run for weeks, made by SQL in seconds: `python -m bench.large_instance`.

The bucket stays empty, so only pages and responses that read the database are as in such an
instance, and no run may follow: it would find every object removed.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import psycopg2

SQL = Path(__file__).with_suffix(".sql")
SCHEMAS = "public,bucketline"
ANALYZED = "users, problem, source_object, run, bucket_event, faulty_object, dataset_hour"


@dataclass(frozen=True)
class Size:
    """The numbers of an instance; `user_objects` users are in each object."""

    users: int = 1_000_000
    runs: int = 10_000
    problems: int = 100_000
    user_objects: int = 250


def fill(database_url: str, bucket: str, size: Size, schemas: str = SCHEMAS) -> None:
    """Fill the database of an instance that has made one run over its empty bucket.

    `schemas` are DATABASE_SCHEMA and STATE_SCHEMA.

    Raises:  ValueError if it has users, objects, or no dataset `users`.
    """
    options = f"-c search_path={schemas}"
    with closing(psycopg2.connect(database_url, options=options)) as connection:
        with connection, connection.cursor() as cursor:  # one transaction
            _check(cursor)
            cursor.execute(SQL.read_text("utf-8"), asdict(size) | {"bucket": bucket})
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"VACUUM (ANALYZE) {ANALYZED}")


def _check(cursor: Any) -> None:  # noqa: ANN401 - psycopg2's
    cursor.execute(
        "SELECT EXISTS (SELECT FROM dataset WHERE name = 'users'),"
        " EXISTS (SELECT FROM users) OR EXISTS (SELECT FROM source_object)"
    )
    is_declared, is_filled = cursor.fetchone()
    if is_filled:
        raise ValueError("The database has users or objects; use a new one.")
    if not is_declared:
        raise ValueError("No run has been made yet: make one over the empty bucket first.")


@click.command()
@click.argument("database_url")
@click.option("--bucket", default="src-data", show_default=True, help="SOURCE_BUCKET.")
@click.option("--users", default=Size.users, show_default=True, type=click.IntRange(min=1))
@click.option("--runs", default=Size.runs, show_default=True, type=click.IntRange(min=1))
@click.option("--problems", default=Size.problems, show_default=True, type=click.IntRange(min=1))
def main(database_url: str, bucket: str, users: int, runs: int, problems: int) -> None:
    """Fill the database of a new instance, whose scheduler is stopped."""
    try:
        fill(database_url, bucket, Size(users, runs, problems))
    except ValueError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
