"""The tables of field types are complete and agree with each other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from etl.model.dataset import DerivedAs, Field, FieldType
from etl.model.time_formats import SUPPORTED_DIRECTIVES
from etl.model.types import (
    COLUMN_TRAITS,
    DERIVED_SQL,
    TYPE_TRAITS,
    Constraint,
    Operator,
    UnsupportedSqlType,
    column_type,
    sql_type,
)
from etl.read.types.check import PARSERS

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "field-types.md"


def test_every_field_type_has_a_column_type_and_a_parser():
    assert set(TYPE_TRAITS) == set(PARSERS) == set(FieldType)
    assert set(DERIVED_SQL) == set(DerivedAs)


def test_every_column_type_has_traits_and_is_used():
    used = {name for traits in TYPE_TRAITS.values() for name in traits.sql}
    assert used == set(COLUMN_TRAITS)


def test_every_operator_and_constraint_is_used():
    assert {one for traits in COLUMN_TRAITS.values() for one in traits.operators} == set(Operator)
    assert {one for traits in TYPE_TRAITS.values() for one in traits.constraints} == set(Constraint)


@pytest.mark.parametrize(
    ("type_", "sql", "rendered"),
    [
        (FieldType.STRING, None, "text"),
        (FieldType.STRING, "VARCHAR (20)", "varchar(20)"),
        (FieldType.STRING, "character  varying", "varchar"),
        (FieldType.STRING, "char", "char(1)"),
        (FieldType.INTEGER, "int4", "integer"),
        (FieldType.NUMBER, "decimal(12, 2)", "numeric(12,2)"),
        (FieldType.NUMBER, "numeric(5)", "numeric(5,0)"),
        (FieldType.NUMBER, "float8", "double precision"),
        (FieldType.DATETIME, "timestamp without time zone", "timestamp"),
        (FieldType.DATETIME, None, "timestamptz"),
    ],
)
def test_sql_types_are_written_in_one_way(type_: FieldType, sql: str | None, rendered: str):
    assert column_type(Field(name="x", type=type_, sql=sql)) == rendered


@pytest.mark.parametrize(
    ("type_", "sql"),
    [
        (FieldType.STRING, "integer"),
        (FieldType.STRING, "varchar(0)"),
        (FieldType.STRING, "varchar(10485761)"),
        (FieldType.STRING, "text; DROP TABLE users"),
        (FieldType.STRING, "text(5)"),
        (FieldType.INTEGER, "bigint(3)"),
        (FieldType.NUMBER, "numeric(0)"),
        (FieldType.NUMBER, "numeric(1001,2)"),
        (FieldType.NUMBER, "numeric(3,4)"),
        (FieldType.NUMBER, "numeric(3,-1)"),
        (FieldType.NUMBER, "money"),
        (FieldType.OBJECT, "json"),
        (FieldType.DATETIME, "timestamptz(3)"),
    ],
)
def test_other_sql_types_are_refused_with_the_supported_ones(type_: FieldType, sql: str):
    with pytest.raises(UnsupportedSqlType, match=f"use .*{TYPE_TRAITS[type_].sql[0]}"):
        sql_type(type_, sql)


def test_texts_of_keys_compare_in_byte_order():
    assert column_type(Field(name="x"), is_key=True) == 'text COLLATE "C"'
    assert column_type(Field(name="x", sql="varchar(5)"), is_key=True) == 'varchar(5) COLLATE "C"'
    assert column_type(Field(name="x", sql="uuid"), is_key=True) == "uuid"


def documented(heading: str) -> dict[str, str]:
    """The first two cells of each row of the table with this heading, without code marks."""
    _, _, rest = DOCUMENT.read_text("utf-8").partition(f"| {heading} |")
    table = rest.partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip().replace("`", "") for cell in row.split("|")[1:3]] for row in table]
    return dict(cells)


def test_types_match_their_documentation():
    found = {
        name: tuple(sql.partition("(")[0] for sql in column_types.split(", "))
        for name, column_types in documented("Type").items()
    }
    assert found == {type_.value: traits.sql for type_, traits in TYPE_TRAITS.items()}


def test_constraints_match_their_documentation():
    found: dict[str, set[str]] = {type_.value: set() for type_ in FieldType}
    for constraints, types in documented("Constraint").items():
        for type_ in found if types == "all" else re.sub(r" \(\w+\)", "", types).split(", "):
            found[type_].update(constraints.split(", "))
    assert found == {type_.value: set(traits.constraints) for type_, traits in TYPE_TRAITS.items()}


def test_directives_match_their_documentation():
    listed = re.search(r"`format` is a pattern of `([^`]+)`", DOCUMENT.read_text("utf-8"))
    assert listed is not None
    assert sorted(listed[1].split()) == sorted(SUPPORTED_DIRECTIVES.split())


def test_tables_do_not_import_pyarrow():
    code = "import sys, etl.model.types, etl.model.time_formats; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert {"pyarrow", "numpy", "pandas", "sqlalchemy"}.isdisjoint(done.stdout.split())
