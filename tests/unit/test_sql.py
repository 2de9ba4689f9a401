"""The statements in SQL files."""

from __future__ import annotations

from importlib.resources import files
from itertools import pairwise

import pytest

import etl.db.sql
from etl.db.sql import statements

FILES = [
    found.name.removesuffix(".sql") for found in files(etl.db.sql).iterdir() if ".sql" in found.name
]


@pytest.mark.parametrize("file", sorted(FILES))
def test_no_value_is_ever_put_into_a_comment(file: str):
    """A value in a comment could end the comment with a line break."""
    source = files(etl.db.sql).joinpath(f"{file}.sql").read_text("utf-8")
    assert "Parameters: :" not in "".join(statements(file).values())
    assert not any("--" in statement for statement in statements(file).values())
    assert source.count("-- name: ") == len(statements(file))


@pytest.mark.parametrize("file", ["manifest", "merge", "first_load"])
def test_statement_that_analyzes_a_table_follows_the_one_that_writes_it(file: str):
    """The merge executes these files in order, and skips it if that statement wrote few rows."""
    for before, name in pairwise(statements(file)):
        if name.startswith("analyze_"):
            assert before.partition("_")[2] == name.removeprefix("analyze_")
