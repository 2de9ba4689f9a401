"""The statement that compares each object's row counts: it finds lost rows and stays fast."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, Engine, text

from etl.db.dataset_sql import DatasetSql, StagedIn
from etl.model.dataset import USERS

OBJECTS = 2_000
UNBALANCED = DatasetSql(USERS, "public").statements("figures")["unbalanced"]
TAKEN = DatasetSql(USERS, "public", staged_in=StagedIn.TABLE).statements("figures")["unbalanced"]
OF_USERS = {"dataset": "users"}

# Objects 0000001.csv to 0002000.csv, with one row each, all of them staged.
STAGE = (
    (
        "INSERT INTO staging_object (change, bucket, key, dataset, kind, etag, size, last_modified,"
        " state, rows_read, rows_rejected) SELECT 'added', 'b', lpad(n::text, 7, '0') || '.csv',"
        " 'users', 'data', 'etag', 50, now(), 'loaded', 1, 0"
        f" FROM generate_series(1, {OBJECTS}) AS n"
    ),
    "INSERT INTO staging_users SELECT key, 'Ann', 'Lee', 0, NULL, key, 2 FROM staging_object",
    "ANALYZE staging_object",
    "ANALYZE staging_users",
)


@pytest.fixture
def staged(engine: Engine):
    """A connection to many objects in staging, each with its one row."""
    with engine.connect() as connection:
        for statement in STAGE:
            connection.execute(text(statement))
        yield connection


def test_objects_with_all_their_rows_are_not_named(staged: Connection):
    assert staged.execute(text(UNBALANCED), OF_USERS).one_or_none() is None


def test_one_object_that_lost_a_row_is_named(staged: Connection):
    staged.execute(text("DELETE FROM staging_users WHERE _source_key = '0000007.csv'"))
    row = staged.execute(text(UNBALANCED), OF_USERS).one()
    assert (row.key, row.rows_read, row.rows_rejected, row.rows_staged) == ("0000007.csv", 1, 0, 0)


def test_rows_in_a_new_table_of_an_object_that_was_not_read_are_named(staged: Connection):
    """So that the rows of the table are counted by those of its objects."""
    columns = "user_id, first_name, last_name, birthts, _extra, _source_key, _source_line"
    staged.execute(
        text(
            f"INSERT INTO users ({columns}, _run_id, _updated_at)"
            f" SELECT {columns}, 1, now() FROM staging_users"
        )
    )
    assert staged.execute(text(TAKEN), OF_USERS).one_or_none() is None
    staged.execute(text("UPDATE users SET _source_key = 'x' WHERE _source_key = '0000007.csv'"))
    staged.execute(text("DELETE FROM staging_object WHERE key = '0000007.csv'"))
    row = staged.execute(text(TAKEN), OF_USERS).one()
    assert (row.key, row.rows_read, row.rows_rejected, row.rows_staged) == ("x", None, None, 1)


@pytest.mark.planner
def test_no_object_is_compared_with_every_other(staged: Connection):
    plan = "\n".join(staged.scalars(text(f"EXPLAIN {UNBALANCED}"), OF_USERS))
    assert "Nested Loop" not in plan
