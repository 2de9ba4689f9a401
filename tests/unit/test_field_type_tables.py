"""The tables of field types are complete and agree with each other."""

from __future__ import annotations

import pytest

from etl.model.dataset import DerivedAs, Field, FieldType
from etl.model.types import (
    COLUMN_TRAITS,
    DERIVED_SQL,
    TYPE_TRAITS,
    Constraint,
    Operator,
    UnsupportedSqlType,
    column_type,
    json_of,
    sql_type,
)
from etl.read.types.check import PARSERS


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


def test_json_of_a_column_that_may_be_null():
    field = Field(name="x", type=FieldType.INTEGER)
    assert json_of(field, 'chosen."x"', is_not_null=True) == 'chosen."x"::text'
    assert json_of(field, 'chosen."x"') == "coalesce(chosen.\"x\"::text, 'null')"
