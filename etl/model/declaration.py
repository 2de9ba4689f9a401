"""Declarations as values: their JSON, what of them decides rows, and how two of them differ.

`bucketline.dataset` stores the JSON, and each source object the hash of what decided its rows.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from etl.model.dataset import (
    Attachment,
    Constraints,
    Dataset,
    Derived,
    DerivedAs,
    Dialect,
    Field,
    FieldType,
    Moment,
    OnRemoved,
    ShortRows,
    UnknownColumns,
)
from etl.model.routing import path_names
from etl.model.types import SqlType, sql_type

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from _typeshed import DataclassInstance

_BOUNDS = ("minimum", "maximum", "exclusive_minimum", "exclusive_maximum")
_BOUND_READERS: dict[FieldType, Callable[[Any], Hashable]] = {
    FieldType.NUMBER: Decimal,
    FieldType.DATE: date.fromisoformat,
    FieldType.TIME: time.fromisoformat,
    FieldType.DATETIME: datetime.fromisoformat,
    FieldType.EPOCH_MS: lambda text: (
        Moment.TODAY if text == Moment.TODAY.value else date.fromisoformat(text)
    ),
}
_DECIDES_ROWS = (
    *("include", "exclude", "format", "sheet", "dialect", "path_columns", "fields"),
    *("missing_values", "id_from_name", "unknown_columns", "short_rows", "refuse_object_above"),
    *("primary_key", "prefer", "attachments"),
)
_KEYS = {"missing_values": "missingValues", "primary_key": "primaryKey"}  # as in the datasets file
_UNORDERED = frozenset(
    {"include", "exclude", "missing_values", "aliases", "true_values", "false_values", "enum"}
)
_TEXT, _DATE = SqlType("text"), SqlType("date")
_FOR_PEOPLE = frozenset({"title", "description"})


def to_json(dataset: Dataset) -> dict[str, Any]:
    """The declaration as JSON, without what has its default value."""
    found = _attributes(dataset)
    found["fields"] = [_field_json(field) for field in dataset.fields]
    return found


def from_json(stored: dict[str, Any]) -> Dataset:
    """The declaration of which `to_json` returned this."""
    values = _tuples(stored)
    values["fields"] = tuple(_field(field) for field in stored["fields"])
    for name, read in _READERS.items():
        if name in values:
            values[name] = read(stored[name])
    return Dataset(**values)


def reading_hash(dataset: Dataset) -> str:
    """The hash of what decides which rows an object has and which of them win.

    It does not depend on the order of fields, patterns and other lists without a meaning of order,
    nor on the bucket, because a manifest entry belongs to one bucket anyway.
    """
    text = json.dumps(_reading(dataset), sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()


class Effect(StrEnum):
    """What a change of a declaration requires.

    `add-column`: a new nullable column. `in-place`: an alteration without a rewrite of the table.
    `reread`: the objects are read again. `refused`: a command must rebuild the tables.
    """

    ADD_COLUMN = "add-column"
    IN_PLACE = "in-place"
    REREAD = "reread"
    REFUSED = "refused"


class Alteration(StrEnum):
    """How a table is altered in place."""

    DROP_NOT_NULL = "drop-not-null"
    WIDEN_TYPE = "widen-type"
    ADD_INDEX = "add-index"
    DROP_INDEX = "drop-index"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclarationChange:
    """One difference between two declarations of a dataset, in a sentence for people.

    `columns` are those to add or alter, or of the index. `remedy` is what to do if it is refused.
    """

    effect: Effect
    sentence: str
    columns: tuple[str, ...] = ()
    alteration: Alteration | None = None
    remedy: str = ""


def compare(old: Dataset, new: Dataset) -> list[DeclarationChange]:
    """What the change from one declaration to another requires; empty if nothing.

    Refused changes come first; if there are any, the table stays as it is.
    """
    found = [
        *_changed_identity(old, new),
        *_changed_columns(old, new),
        *_changed_indexes(old, new),
        *_changed_reading(old, new),
    ]
    return sorted(found, key=lambda change: change.effect is not Effect.REFUSED)


# -- JSON


def _attributes(value: DataclassInstance) -> dict[str, Any]:
    found = {}
    for one in fields(value):
        attribute = getattr(value, one.name)
        if one.default is MISSING or attribute != one.default:
            found[one.name] = _plain(attribute)
    return found


def _plain(value: Any) -> Any:  # noqa: ANN401 - any attribute of a declaration
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    if isinstance(value, (Constraints, Dialect, Derived, Attachment, Field)):
        return _attributes(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (Decimal, Fraction)):
        return str(value)
    return value.value if isinstance(value, StrEnum) else value


def _field_json(field: Field) -> dict[str, Any]:
    found = _attributes(field)
    if field.type is FieldType.NUMBER and "constraints" in found:
        constraints = found["constraints"]
        found["constraints"] = constraints | {
            name: str(constraints[name]) for name in _BOUNDS if name in constraints
        }
        if "enum" in constraints:
            found["constraints"]["enum"] = list(map(str, constraints["enum"]))
    return found


def _tuples(stored: dict[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in stored.items()
    }


def _field(stored: dict[str, Any]) -> Field:
    values = _tuples(stored)
    type_ = FieldType(stored.get("type", Field(name="").type))
    constraints = _tuples(stored.get("constraints", {}))
    read = _BOUND_READERS.get(type_)
    if read is not None:
        constraints |= {name: read(constraints[name]) for name in _BOUNDS if name in constraints}
        if "enum" in constraints:
            constraints["enum"] = tuple(map(read, constraints["enum"]))
    return Field(**values | {"type": type_, "constraints": Constraints(**constraints)})


def _derived(stored: list[dict[str, Any]]) -> tuple[Derived, ...]:
    return tuple(Derived(**one | {"computed_as": DerivedAs(one["computed_as"])}) for one in stored)


_READERS: dict[str, Callable[[Any], Any]] = {
    "on_removed": OnRemoved,
    "unknown_columns": UnknownColumns,
    "short_rows": ShortRows,
    "refuse_object_above": Fraction,
    "dialect": lambda stored: Dialect(**stored),
    "derived": _derived,
    "attachments": lambda stored: tuple(Attachment(**one) for one in stored),
    "indexes": lambda stored: tuple(map(tuple, stored)),
}


# -- what decides rows


def _reading(dataset: Dataset) -> dict[str, Any]:
    stored = to_json(dataset)
    found = {name: stored[name] for name in _DECIDES_ROWS if name in stored}
    found["fields"] = [
        {name: value for name, value in field.items() if name not in _FOR_PEOPLE}
        | {"sql": str(sql_type(declared.type, declared.sql))}
        for field, declared in zip(stored["fields"], dataset.fields, strict=True)
    ]
    found["fields"].sort(key=lambda field: field["name"])
    if "attachments" in found:
        found["attachments"].sort(key=lambda one: one["column"])
    return {name: _sorted(name, value) for name, value in found.items()}


def _sorted(name: str, value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return {key: _sorted(key, one) for key, one in value.items()}
    if not isinstance(value, list):
        return value
    items = [_sorted("", one) for one in value]
    return sorted(items, key=str) if name in _UNORDERED else items


# -- comparing


@dataclass(frozen=True, slots=True)
class _Column:
    """A stored column; `source` says what fills it, if that is neither file nor key."""

    sql: SqlType
    is_required: bool = False
    source: tuple[str, ...] = ()


def _refused(dataset: Dataset, sentence: str, *columns: str) -> DeclarationChange:
    return DeclarationChange(
        effect=Effect.REFUSED,
        sentence=sentence,
        columns=columns,
        remedy=rebuilding(dataset.name),
    )


def rebuilding(name: str) -> str:
    """How the tables of a dataset get another shape that PostgreSQL cannot give them in passing."""
    return (
        f"Undo the change, or make it with `./run.sh datasets apply --rebuild {name}`, which reads"
        " all objects of the dataset again. Until then it is not synced."
    )


def _changed_identity(old: Dataset, new: Dataset) -> list[DeclarationChange]:
    found = []
    if old.table != new.table:
        sentence = f"The table of {new.name} is {new.table} instead of {old.table}."
        found.append(_refused(new, sentence))
    if old.primary_key != new.primary_key:
        keys = [", ".join(one.primary_key) or "none" for one in (old, new)]
        sentence = f"The primary key of {new.name} is {keys[1]} instead of {keys[0]}."
        found.append(_refused(new, sentence, *new.primary_key))
    return found


def _changed_columns(old: Dataset, new: Dataset) -> list[DeclarationChange]:
    before, after = _columns(old), _columns(new)
    found = [
        _refused(new, f"The column {name} is no longer declared.", name)
        for name in before
        if name not in after
    ]
    for name, column in after.items():
        if name not in before:
            found.append(_added(new, name, column))
        else:
            found += _changed_column(new, name, before[name], column)
    return found


def _columns(dataset: Dataset) -> dict[str, _Column]:
    """The stored columns by name, except those that data added and our own."""
    found = {name: _Column(_TEXT) for name in path_names(dataset)}
    for field in dataset.fields:
        is_required = field.constraints.required or field.name in dataset.primary_key
        found[field.name] = _Column(sql_type(field.type, field.sql), is_required)
    for derived in dataset.derived:
        if derived.computed_as is DerivedAs.DATE:
            found[derived.name] = _Column(_DATE, source=("derived", derived.source))
    for attachment in dataset.attachments:
        found[attachment.column] = _Column(_TEXT, source=("attachment",))
    return found


def _added(new: Dataset, name: str, column: _Column) -> DeclarationChange:
    if column.source[:1] == ("derived",):
        return _refused(new, f"The new column {name} is computed for all stored rows.", name)
    if column.is_required:
        return _refused(new, f"The new column {name} is required, and stored rows lack it.", name)
    return DeclarationChange(
        effect=Effect.ADD_COLUMN, sentence=f"The column {name} is new.", columns=(name,)
    )


def _changed_column(
    new: Dataset, name: str, before: _Column, after: _Column
) -> list[DeclarationChange]:
    if before.source != after.source:
        return [_refused(new, f"The column {name} has another source.", name)]
    found = []
    if before.sql != after.sql:
        sentence = f"The type of {name} is {after.sql} instead of {before.sql}."
        if _is_widened(before.sql, after.sql):
            found.append(_in_place(Alteration.WIDEN_TYPE, sentence, name))
        else:
            found.append(_refused(new, sentence, name))
    if before.is_required and not after.is_required:
        sentence = f"The column {name} is no longer required."
        found.append(_in_place(Alteration.DROP_NOT_NULL, sentence, name))
    elif after.is_required and not before.is_required:
        sentence = f"The column {name} is required, and stored rows may lack it."
        found.append(_refused(new, sentence, name))
    return found


def _in_place(alteration: Alteration, sentence: str, *columns: str) -> DeclarationChange:
    return DeclarationChange(
        effect=Effect.IN_PLACE, sentence=sentence, columns=columns, alteration=alteration
    )


def _is_widened(old: SqlType, new: SqlType) -> bool:
    """Whether PostgreSQL changes the type without reading the rows."""
    if old.name in {"text", "varchar"} and new.name in {"text", "varchar"}:
        return new.length is None or (old.length is not None and new.length > old.length)
    if old.name == new.name == "numeric" and old.precision is not None:
        is_longer = new.precision is not None and new.precision > old.precision
        return new.precision is None or (is_longer and new.scale == old.scale)
    return False


def _changed_indexes(old: Dataset, new: Dataset) -> list[DeclarationChange]:
    changes = [
        (Alteration.DROP_INDEX, "no longer declared", old.indexes, new.indexes),
        (Alteration.ADD_INDEX, "new", new.indexes, old.indexes),
    ]
    return [
        _in_place(alteration, f"The index on {', '.join(index)} is {state}.", *index)
        for alteration, state, indexes, others in changes
        for index in dict.fromkeys(indexes)
        if index not in others
    ]


def _changed_reading(old: Dataset, new: Dataset) -> list[DeclarationChange]:
    before, after = _reading(old), _reading(new)
    names = [name for name in _DECIDES_ROWS if before.get(name) != after.get(name)]
    if not names:
        return []
    words = ", ".join(_KEYS.get(name, name) for name in names)
    sentence = f"The next full run reads all objects of {new.name} again. Changed: {words}."
    return [DeclarationChange(effect=Effect.REREAD, sentence=sentence)]
