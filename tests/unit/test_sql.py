"""The statements in SQL files."""

from __future__ import annotations

from importlib.resources import files

import pytest

import etl.db.sql
from etl.db.sql import statements
from etl.sync.merge import FIRST_LOAD_STEPS, MANIFEST_STEPS, MERGE_STEPS, Step

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


@pytest.mark.parametrize(
    ("file", "steps"),
    [("manifest", MANIFEST_STEPS), ("merge", MERGE_STEPS), ("first_load", FIRST_LOAD_STEPS)],
)
def test_merge_steps_are_the_statements_of_its_files_in_order(file: str, steps: tuple[Step, ...]):
    names = [name for step in steps for name in step if name is not None]
    assert names == list(statements(file))
