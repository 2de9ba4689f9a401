"""What the type of a field decides outside the reader: column type, JSON, filters, constraints.

Column types are keyed by their name in PostgreSQL; `sql` of a field may override the default.
Only types are supported for which the reader can prove that COPY accepts each accepted value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from etl.model.dataset import DerivedAs, FieldType

if TYPE_CHECKING:
    from etl.model.dataset import Field

MAX_PRECISION = 1000  # of numeric(p,s) in PostgreSQL
MAX_LENGTH = 10_485_760  # of varchar(n) and char(n) in PostgreSQL

TIMESTAMP_FORMAT = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'

_COLLATION = 'COLLATE "C"'


class Operator(StrEnum):
    """The operators of filters, with the names of PostgREST."""

    EQ = "eq"
    NEQ = "neq"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"
    IS = "is"
    LIKE = "like"


class Constraint(StrEnum):
    """The constraints of Table Schema that are supported, by their names in a schema."""

    REQUIRED = "required"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    EXCLUSIVE_MINIMUM = "exclusiveMinimum"
    EXCLUSIVE_MAXIMUM = "exclusiveMaximum"
    MIN_LENGTH = "minLength"
    MAX_LENGTH = "maxLength"
    PATTERN = "pattern"
    ENUM = "enum"


_EQUALITY = frozenset({Operator.EQ, Operator.NEQ, Operator.IN, Operator.IS})
_ORDER = _EQUALITY | {Operator.GT, Operator.GTE, Operator.LT, Operator.LTE}
_TEXT = _ORDER | {Operator.LIKE}

# Like to_json(), but it looks up the type of its argument once per statement, not per value.
# The text of a date depends on DateStyle; its JSON does not.
_SCALAR = "json_scalar({column})::text"
_PLAIN = "{column}::text"
_QUOTED = "'\"' || {column}::text || '\"'"  # for digits and punctuation that need no escaping
_INSTANT = f"to_char({{column}} AT TIME ZONE 'UTC', '{TIMESTAMP_FORMAT}')"
_TIMESTAMP = f"to_char({{column}}, '{TIMESTAMP_FORMAT}')"


@dataclass(frozen=True, slots=True)
class ColumnTraits:
    """A column type: the SQL of its JSON and of its cell in CSV, and its filters.

    In `json`, {column} is a quoted identifier of a column that is not null. `is_quoted`: the JSON
    is a string; NaN and the infinities of floats are strings although floats are not quoted.
    Cells have the texts of the JSON, so that the files that Bucketline writes are files it reads.
    """

    json: str
    is_quoted: bool
    operators: frozenset[Operator]
    is_text: bool = False
    cell: str = "{column}"


COLUMN_TRAITS: dict[str, ColumnTraits] = {
    "text": ColumnTraits(_SCALAR, is_quoted=True, operators=_TEXT, is_text=True),
    "varchar": ColumnTraits(_SCALAR, is_quoted=True, operators=_TEXT, is_text=True),
    "char": ColumnTraits(_SCALAR, is_quoted=True, operators=_TEXT, is_text=True),
    "uuid": ColumnTraits(_QUOTED, is_quoted=True, operators=_ORDER),
    "smallint": ColumnTraits(_PLAIN, is_quoted=False, operators=_ORDER),
    "integer": ColumnTraits(_PLAIN, is_quoted=False, operators=_ORDER),
    "bigint": ColumnTraits(_PLAIN, is_quoted=False, operators=_ORDER),
    "numeric": ColumnTraits(_PLAIN, is_quoted=False, operators=_ORDER),
    "real": ColumnTraits(_SCALAR, is_quoted=False, operators=_ORDER),
    "double precision": ColumnTraits(_SCALAR, is_quoted=False, operators=_ORDER),
    "boolean": ColumnTraits(_PLAIN, is_quoted=False, operators=_EQUALITY, cell=_PLAIN),
    "date": ColumnTraits(_SCALAR, is_quoted=True, operators=_ORDER),
    "time": ColumnTraits(_QUOTED, is_quoted=True, operators=_ORDER),
    "timestamptz": ColumnTraits(
        f"'\"' || {_INSTANT} || '\"'", is_quoted=True, operators=_ORDER, cell=_INSTANT
    ),
    "timestamp": ColumnTraits(
        f"'\"' || {_TIMESTAMP} || '\"'", is_quoted=True, operators=_ORDER, cell=_TIMESTAMP
    ),
    "jsonb": ColumnTraits(_PLAIN, is_quoted=False, operators=frozenset({Operator.IS})),
}

_BOUNDS = frozenset(
    {
        Constraint.MINIMUM,
        Constraint.MAXIMUM,
        Constraint.EXCLUSIVE_MINIMUM,
        Constraint.EXCLUSIVE_MAXIMUM,
    }
)
_LENGTHS = frozenset({Constraint.MIN_LENGTH, Constraint.MAX_LENGTH})
_ANY = frozenset({Constraint.REQUIRED})
_ORDERED = _ANY | _BOUNDS | {Constraint.ENUM}


@dataclass(frozen=True, slots=True)
class TypeTraits:
    """A field type: the column types that can hold it, the default first, and its constraints."""

    sql: tuple[str, ...]
    constraints: frozenset[Constraint]


TYPE_TRAITS: dict[FieldType, TypeTraits] = {
    FieldType.STRING: TypeTraits(
        ("text", "varchar", "char", "uuid"),
        _ANY | _LENGTHS | {Constraint.PATTERN, Constraint.ENUM},
    ),
    FieldType.INTEGER: TypeTraits(("bigint", "integer", "smallint", "numeric"), _ORDERED),
    FieldType.NUMBER: TypeTraits(("numeric", "double precision", "real"), _ORDERED),
    FieldType.BOOLEAN: TypeTraits(("boolean",), _ANY | {Constraint.ENUM}),
    FieldType.DATE: TypeTraits(("date",), _ORDERED),
    FieldType.TIME: TypeTraits(("time",), _ORDERED),
    FieldType.DATETIME: TypeTraits(("timestamptz", "timestamp"), _ORDERED),
    FieldType.YEAR: TypeTraits(("integer", "smallint", "bigint"), _ORDERED),
    FieldType.OBJECT: TypeTraits(("jsonb",), _ANY | _LENGTHS),
    FieldType.ARRAY: TypeTraits(("jsonb",), _ANY | _LENGTHS),
    FieldType.ANY: TypeTraits(("jsonb",), _ANY),
    FieldType.EPOCH_MS: TypeTraits(("bigint",), _ANY | _BOUNDS),
}
DERIVED_SQL = {DerivedAs.DATE: "date", DerivedAs.AGE: "integer"}

_ALIASES = {
    "int2": "smallint",
    "int": "integer",
    "int4": "integer",
    "int8": "bigint",
    "decimal": "numeric",
    "float4": "real",
    "float8": "double precision",
    "bool": "boolean",
    "character varying": "varchar",
    "character": "char",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
    "time without time zone": "time",
}
_SQL = re.compile(r"([a-z][a-z0-9 ]*?)\s*(?:\(\s*([0-9]{1,8})\s*(?:,\s*([0-9]{1,8})\s*)?\))?")
_TAKES_LENGTH = frozenset({"varchar", "char"})


class UnsupportedSqlType(ValueError):
    """An `sql` that the type of the field does not support; the message lists what it supports."""


@dataclass(frozen=True, slots=True)
class SqlType:
    """A column type; `length` of varchar and char, `precision` and `scale` of numeric."""

    name: str
    length: int | None = None
    precision: int | None = None
    scale: int | None = None

    @property
    def traits(self) -> ColumnTraits:
        """Its JSON and its filters."""
        return COLUMN_TRAITS[self.name]

    def __str__(self) -> str:
        """The type as SQL."""
        if self.length is not None:
            return f"{self.name}({self.length})"
        if self.precision is not None:
            return f"{self.name}({self.precision},{self.scale})"
        return self.name


@lru_cache(maxsize=1024)
def sql_type(type_: FieldType, sql: str | None) -> SqlType:
    """The column type of a field with this type and `sql`; None stands for the default.

    Raises:  UnsupportedSqlType.
    """
    if sql is None:
        return SqlType(TYPE_TRAITS[type_].sql[0])
    found = _SQL.fullmatch(" ".join(sql.lower().split()))
    if found is None:
        raise _unsupported(type_, sql)
    name = _ALIASES.get(found[1], found[1])
    numbers = [int(number) for number in found.groups()[1:] if number is not None]
    parsed = _with_numbers(name, numbers)
    if parsed is None or name not in TYPE_TRAITS[type_].sql:
        raise _unsupported(type_, sql)
    return parsed


def column_type(field: Field, *, is_key: bool = False) -> str:
    """The SQL of a field's column type.

    The texts of keys compare in byte order, as keys of the object store and cursors of the API do.

    Raises:  UnsupportedSqlType.
    """
    parsed = sql_type(field.type, field.sql)
    return f"{parsed} {_COLLATION}" if is_key and parsed.traits.is_text else str(parsed)


def _with_numbers(name: str, numbers: list[int]) -> SqlType | None:
    if not numbers:
        return SqlType(name, length=1) if name == "char" else SqlType(name)
    if name in _TAKES_LENGTH and len(numbers) == 1 and 1 <= numbers[0] <= MAX_LENGTH:
        return SqlType(name, length=numbers[0])
    if name == "numeric":
        precision, scale = (*numbers, 0)[:2]
        if 1 <= precision <= MAX_PRECISION and scale <= precision:
            return SqlType(name, precision=precision, scale=scale)
    return None


def _unsupported(type_: FieldType, sql: str) -> UnsupportedSqlType:
    forms = {"varchar": "varchar(n)", "char": "char(n)", "numeric": "numeric, numeric(p,s)"}
    supported = ", ".join(forms.get(name, name) for name in TYPE_TRAITS[type_].sql)
    return UnsupportedSqlType(f"{sql} is not supported for the type {type_}; use {supported}")
