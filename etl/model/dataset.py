"""A dataset: which objects of a bucket become which rows of which table.

`USERS` is the built-in one. Others are declared in datasets.toml, in the terms of Frictionless
Table Schema; see docs/reference/datasets.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable


class FieldType(StrEnum):
    """The type of a field. All but `epoch-ms` are those of Table Schema."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    TIME = "time"
    DATETIME = "datetime"
    YEAR = "year"
    OBJECT = "object"
    ARRAY = "array"
    ANY = "any"
    EPOCH_MS = "epoch-ms"


class OnRemoved(StrEnum):
    """What becomes of a row that left the bucket."""

    RETIRE = "retire"
    DELETE = "delete"


class UnknownColumns(StrEnum):
    """What becomes of the columns of a file that are not declared."""

    EXTRA = "extra"
    ADD = "add"
    REFUSE = "refuse"


class ShortRows(StrEnum):
    """What becomes of a row with fewer cells than the header."""

    REFUSE = "refuse"
    PAD = "pad"


class Moment(StrEnum):
    """A bound that moves with the clock."""

    TODAY = "today"


class DerivedAs(StrEnum):
    """How a derived column is computed: `date` is stored, `age` is computed by each query."""

    DATE = "date"
    AGE = "age"


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """What the values of a field must satisfy.

    The bounds and the values of `enum` have the type of the field: int, Decimal, date, time,
    datetime (aware) or str; those of epoch-ms are dates, and its maximum may be Moment.TODAY.
    `pattern` is an RE2 expression that must match the whole value.
    """

    required: bool = False
    minimum: Hashable | None = None
    maximum: Hashable | None = None
    exclusive_minimum: Hashable | None = None
    exclusive_maximum: Hashable | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    enum: tuple[Hashable, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One declared column.

    `sql` overrides the column type in PostgreSQL. `format` is a strptime pattern of a date, time
    or datetime; None stands for ISO 8601. `timezone` is the zone of datetimes without an offset;
    None stands for UTC. `missing_values` are the texts that mean null; None stands for those of
    the dataset. With `trim`, space around a text is removed before anything else.
    """

    name: str
    type: FieldType = FieldType.STRING
    constraints: Constraints = Constraints()
    sql: str | None = None
    aliases: tuple[str, ...] = ()
    format: str | None = None
    timezone: str | None = None
    decimal_char: str = "."
    group_char: str = ""
    true_values: tuple[str, ...] = ("true", "True", "TRUE", "1")
    false_values: tuple[str, ...] = ("false", "False", "FALSE", "0")
    missing_values: tuple[str, ...] | None = None
    trim: bool = True
    title: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How the files of a dataset are written. No delimiter: detected in each file.

    `header_row` is the line or row, from 1, from which on the header is searched: it is the first
    one that is not blank. `member` is that of a JSON object whose array has the rows; None: the
    file is the array.
    """

    delimiter: str | None = None
    quote_char: str = '"'
    header_row: int = 1
    member: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """A column computed from the field `source`."""

    name: str
    source: str
    computed_as: DerivedAs


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """An image joined to a row by name; `match` contains one field of the dataset as {field}."""

    column: str
    match: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One dataset.

    Without `primary_key`, a row is identified by its object and line. `bucket` is empty for the
    bucket in SOURCE_BUCKET. An object with a greater share of faulty rows than
    `refuse_object_above` is refused as a whole. `format` is csv or tsv, whatever the extension of
    the file; None: by its extension. `path_columns` is a template with {name}
    placeholders, or "hive"; its columns that are not declared are text. `id_from_name` is the
    field that takes the base name of a file without that column.
    """

    name: str
    table: str
    fields: tuple[Field, ...]
    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    bucket: str = ""
    format: str | None = None
    sheet: str | int | None = None
    is_preset: bool = False
    primary_key: tuple[str, ...] = ()
    missing_values: tuple[str, ...] = ("",)
    prefer: str | None = None
    on_removed: OnRemoved = OnRemoved.RETIRE
    is_paused: bool = False
    unknown_columns: UnknownColumns = UnknownColumns.EXTRA
    short_rows: ShortRows = ShortRows.REFUSE
    refuse_object_above: Fraction = Fraction(1)
    dialect: Dialect = Dialect()
    path_columns: str | None = None
    derived: tuple[Derived, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    indexes: tuple[tuple[str, ...], ...] = ()
    publish: tuple[str, ...] = ()
    id_from_name: str | None = None

    def field(self, name: str) -> Field:
        """The declared field of that name.

        Raises:  KeyError when there is none.
        """
        for one in self.fields:
            if one.name == name:
                return one
        raise KeyError(name)

    @property
    def field_names(self) -> tuple[str, ...]:
        """The names of the declared fields, in their order."""
        return tuple(one.name for one in self.fields)

    @property
    def time_column(self) -> str:
        """The column that says which rows are the newest: `prefer`, or the first with times.

        Without any, the time of the last change of a row.
        """
        times = [
            one.name for one in self.fields if one.type in (FieldType.DATE, FieldType.DATETIME)
        ]
        return self.prefer if self.prefer in times else next(iter(times), UPDATED_AT)


UPDATED_AT = "_updated_at"  # the only column of ours that indexes may name
EARLIEST_BIRTHDATE = date(1900, 1, 1)

_REQUIRED = Constraints(required=True)

USERS = Dataset(
    name="users",
    table="users",
    is_preset=True,
    include=("**/*.csv",),
    primary_key=("user_id",),
    id_from_name="user_id",
    fields=(
        Field(name="user_id", constraints=_REQUIRED),
        Field(name="first_name", constraints=_REQUIRED),
        Field(name="last_name", constraints=_REQUIRED),
        Field(
            name="birthts",
            type=FieldType.EPOCH_MS,
            constraints=Constraints(
                required=True, minimum=EARLIEST_BIRTHDATE, maximum=Moment.TODAY
            ),
        ),
    ),
    derived=(
        Derived(name="birthdate", source="birthts", computed_as=DerivedAs.DATE),
        Derived(name="age", source="birthts", computed_as=DerivedAs.AGE),
    ),
    attachments=(Attachment(column="img_path", match="**/{user_id}.{png,jpg,jpeg,webp,gif}"),),
    indexes=(("birthdate",),),
    publish=("output.csv",),
)
