"""The statements rendered for `users` and `orders` are those in tests/golden."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from etl.db import dataset_tables
from etl.db.dataset_sql import DatasetSql
from etl.db.identifiers import in_text
from etl.model.dataset import USERS, Dataset
from tests.sample_datasets import ORDERS, PARTS, READINGS

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = ("merge", "first_load", "successor", "figures")


def rendered(dataset: Dataset) -> str:
    sql = DatasetSql(dataset, "public")
    tables = [one for made in dataset_tables.created(sql).values() for one in made]
    tables += [dataset_tables.create_staging(sql), dataset_tables.create_successor(sql)]
    parts = ["-- tables", *(f"{one};" for one in tables)]
    compared = replace(sql, is_compared=True)
    for file in FILES:
        for name, statement in sql.statements(file).items():
            parts += [f"-- {file}: {name}", f"{statement};"]
            other = compared.statements(file)[name]
            if other != statement:
                parts += [f"-- {file}: {name}, of compared objects", f"{other};"]
    return "\n".join(parts) + "\n"


@pytest.mark.parametrize("dataset", [USERS, ORDERS], ids=lambda one: one.name)
def test_statements_are_the_golden_ones(dataset: Dataset):
    """Write them with UPDATE_GOLDEN=1 and review the difference."""
    path = GOLDEN / f"{dataset.name}.sql"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(rendered(dataset), "utf-8")
    assert rendered(dataset) == path.read_text("utf-8")


@pytest.mark.parametrize("dataset", [USERS, ORDERS, READINGS, PARTS], ids=lambda one: one.name)
def test_no_placeholder_or_directive_remains(dataset: Dataset):
    for file in FILES:
        for statement in DatasetSql(dataset, "public", is_compared=True).statements(file).values():
            assert "{" not in statement
            assert "--" not in statement


def test_names_are_quoted_everywhere():
    """Any text may be the name of an added column."""
    odd = 'a"b:c {key} --:end'
    for file in FILES:
        statements = DatasetSql(ORDERS, "public", (odd,)).statements(file)
        for statement in statements.values():
            rest = statement.replace(in_text(odd), "")
            assert 'a"b' not in rest
            assert "--" not in rest
