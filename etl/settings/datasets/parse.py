"""One dataset of a datasets file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from etl.model.dataset import (
    UPDATED_AT,
    USERS,
    Dataset,
    DerivedAs,
    Field,
    FieldType,
    OnRemoved,
    ShortRows,
    UnknownColumns,
)
from etl.model.patterns import NAME
from etl.settings.datasets import parts
from etl.settings.datasets.faults import shown
from etl.settings.datasets.fields import NAME_RULE, check_headers, missing_values, parse_field
from etl.settings.datasets.keys import DATASET, PRESET, SCHEMA
from etl.settings.datasets.schema_file import read_schema
from etl.settings.datasets.section import Section

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from etl.settings.datasets.faults import FaultReport
    from etl.settings.datasets.lines import KeyPath

MOST_COLUMNS = 1_000
MOST_INDEX_COLUMNS = 32  # as PostgreSQL
_STAGING_NAMES = frozenset({"object", "problem"})  # staging_<name> are tables of their own
_UNORDERED = frozenset({FieldType.OBJECT, FieldType.ARRAY, FieldType.ANY})
_PRESET_OUTPUTS = ("output.csv", "output.parquet")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a declaration depends on: its folder, and our own buckets with their settings."""

    folder: Path
    own_buckets: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Schema:
    section: Section
    fields: tuple[Field, ...] = ()
    places: tuple[int, ...] = ()  # of the fields in the list of the file
    is_complete: bool = False


def parse_dataset(
    name: str, table: dict[str, Any], report: FaultReport, surroundings: Surroundings
) -> Dataset:
    """The dataset, without its faulty parts, which are reported."""
    section = Section(table, ("datasets", name), report, PRESET if "preset" in table else DATASET)
    _check_name(section, name, is_preset="preset" in table)
    if "preset" in table:
        return _preset(section, surroundings)
    format_ = parts.format_name(section)
    include = parts.include(section)
    schema = _schema(section, surroundings.folder)
    template, path_names = parts.path_columns(section, include)
    fields = {one.name: one for one in schema.fields}
    derived = parts.derived(section, fields)
    attachments = parts.attachments(section, fields)
    dataset = Dataset(
        name=name,
        table=_table(section, name),
        fields=schema.fields,
        include=include,
        exclude=parts.patterns(section, "exclude"),
        bucket=parts.bucket(section, surroundings.own_buckets),
        format=format_,
        missing_values=_missing_values(schema),
        on_removed=parts.choice(section, "on_removed", OnRemoved.RETIRE),
        is_paused=section.get("paused", False),
        unknown_columns=parts.choice(section, "unknown_columns", UnknownColumns.EXTRA),
        short_rows=parts.choice(section, "short_rows", ShortRows.REFUSE),
        refuse_object_above=parts.share(section),
        sheet=parts.sheet(section),
        dialect=parts.dialect(section, format_),
        path_columns=template,
        derived=derived,
        attachments=attachments,
        publish=parts.publish(section),
    )
    _check_columns(section, schema, dataset, path_names)
    if not schema.is_complete:  # else each name of a faulty field would be reported as unknown
        return dataset
    return _with_columns(section, schema, dataset, path_names)


def _check_name(section: Section, name: str, *, is_preset: bool) -> None:
    report, path = section.report, section.path
    if not NAME.fullmatch(name):
        report.add(path, f"{name!r} cannot be the name of a dataset.", f"{NAME_RULE}.")
    elif name.lower() in _STAGING_NAMES:
        report.add(path, f"Bucketline uses the name staging_{name} itself.", "Rename the dataset.")
    elif name.lower() == USERS.name and not is_preset:
        report.add(
            path,
            f"The name {name} belongs to the preset.",
            'Write preset = "users" for it, or rename the dataset.',
        )


def _preset(section: Section, surroundings: Surroundings) -> Dataset:
    name = section.path[-1]
    if section.get("preset", USERS.name) != USERS.name:
        section.fault("preset", "There is no such preset.", 'Write preset = "users".')
    if name != USERS.name:
        section.fault(
            "preset", f"{shown(str(name))} cannot be a preset.", "Write it in [datasets.users]."
        )
    outputs = parts.publish(section) if "publish" in section else USERS.publish
    for place, output in enumerate(outputs):
        if output not in _PRESET_OUTPUTS:
            section.fault(
                "publish",
                f"{output!r} is not an output of users.",
                f"Use {' or '.join(_PRESET_OUTPUTS)}.",
                place,
            )
    dataset = replace(
        USERS,
        exclude=parts.patterns(section, "exclude"),
        bucket=parts.bucket(section, surroundings.own_buckets),
        on_removed=parts.choice(section, "on_removed", USERS.on_removed),
        is_paused=section.get("paused", False),
        refuse_object_above=parts.share(section),
        publish=outputs,
    )
    if "include" in section:
        dataset = replace(dataset, include=parts.include(section))
    if "indexes" not in section:
        return dataset
    return replace(dataset, indexes=_indexes(section, dataset, ()))


def _table(section: Section, name: str) -> str:
    table: str = section.get("table", name)
    if "table" in section and not NAME.fullmatch(table):
        section.fault("table", f"{table!r} cannot be the name of a table.", f"{NAME_RULE}.")
    return table


def _schema(section: Section, folder: Path) -> _Schema:
    found = section.get("schema")
    report, path = section.report, (*section.path, "schema")
    if isinstance(found, str):
        read = read_schema(section, folder)
        if read is None:
            return _Schema(section)
        found, path, report = read
    if found is None:
        return _Schema(section)
    inner = Section(found, path, report, SCHEMA)
    tables = inner.get("fields", [])
    if "fields" in inner and not tables:
        inner.fault("fields", "fields is empty.", "Declare at least one field.")
    parsed = [
        parse_field(table, (*path, "fields", place), report) for place, table in enumerate(tables)
    ]
    places = tuple(place for place, one in enumerate(parsed) if one is not None)
    fields = tuple(one for one in parsed if one is not None)
    return _Schema(inner, fields, places, is_complete=bool(fields) and None not in parsed)


def _missing_values(schema: _Schema) -> tuple[str, ...]:
    found = missing_values(schema.section) if "missingValues" in schema.section else None
    return ("",) if found is None else found


def _check_columns(
    section: Section, schema: _Schema, dataset: Dataset, path_names: tuple[str, ...]
) -> None:
    """Report columns with the same name; a path column may be a declared field."""
    report, path = schema.section.report, schema.section.path
    names: list[tuple[str, FaultReport, KeyPath]] = []
    for place, field in zip(schema.places, schema.fields, strict=True):
        at = (*path, "fields", place)
        names.append((field.name, report, (*at, "name")))
        names += [
            (alias, report, (*at, "aliases", number)) for number, alias in enumerate(field.aliases)
        ]
    own = section.path
    names += [
        (name, section.report, (*own, "path_columns"))
        for name in path_names
        if name not in dataset.field_names
    ]
    names += [(one.name, section.report, (*own, "derived")) for one in dataset.derived]
    names += [(one.column, section.report, (*own, "attachments")) for one in dataset.attachments]
    check_headers(names)
    count = len(dataset.fields) + len(path_names) + len(dataset.derived) + len(dataset.attachments)
    if count > MOST_COLUMNS:
        section.fault(
            "schema", f"The dataset has more than {MOST_COLUMNS:,} columns.", "Remove some."
        )


def _with_columns(
    section: Section, schema: _Schema, dataset: Dataset, path_names: tuple[str, ...]
) -> Dataset:
    """The dataset with what names columns: primaryKey, prefer and indexes."""
    columns = _columns(dataset, path_names)
    key = _primary_key(schema, columns)
    required = _with_required(dataset.fields, key)
    return replace(
        dataset,
        fields=required,
        primary_key=key,
        prefer=_prefer(section, dataset, columns, has_key="primaryKey" in schema.section),
        indexes=_indexes(section, dataset, path_names),
    )


def _with_required(fields: tuple[Field, ...], key: tuple[str, ...]) -> tuple[Field, ...]:
    """The fields, of which those of the key are required, as Table Schema says."""
    return tuple(
        replace(one, constraints=replace(one.constraints, required=True))
        if one.name in key
        else one
        for one in fields
    )


def _columns(dataset: Dataset, path_names: tuple[str, ...]) -> dict[str, FieldType]:
    """The types of the fields and path columns."""
    fields = {one.name: one.type for one in dataset.fields}
    return dict.fromkeys(path_names, FieldType.STRING) | fields


def _primary_key(schema: _Schema, columns: Mapping[str, FieldType]) -> tuple[str, ...]:
    section = schema.section
    if "primaryKey" not in section:
        return ()
    written = section.get("primaryKey")
    names = (written,) if isinstance(written, str) else tuple(written)
    if not names:
        return ()
    is_valid = [
        _check_column(section, "primaryKey", name, columns, () if written == name else (place,))
        for place, name in enumerate(names)
    ]
    if len(set(names)) < len(names):
        section.fault("primaryKey", "primaryKey has a field twice.", "Remove it once.")
    return names if all(is_valid) else ()


def _prefer(
    section: Section, dataset: Dataset, columns: Mapping[str, FieldType], *, has_key: bool
) -> str | None:
    name: str | None = section.get("prefer")
    if name is None:
        return None
    if not has_key:
        section.fault(
            "prefer",
            "prefer chooses among rows with the same key, and there is no primaryKey.",
            "Declare primaryKey, or remove prefer.",
        )
    is_valid = _check_column(section, "prefer", name, columns, ())
    if is_valid and columns[name] is FieldType.BOOLEAN:
        section.fault(
            "prefer",
            f"{name} is true or false, which does not order rows of {dataset.name}.",
            "Use a number, a date or a text.",
        )
    return name


def _indexes(
    section: Section, dataset: Dataset, path_names: tuple[str, ...]
) -> tuple[tuple[str, ...], ...]:
    stored = [one.name for one in dataset.derived if one.computed_as is not DerivedAs.AGE]
    more = chain(stored, (one.column for one in dataset.attachments))
    columns = _columns(dataset, path_names) | dict.fromkeys(more, FieldType.STRING)
    columns[UPDATED_AT] = FieldType.DATETIME
    found = tuple(map(tuple, section.get("indexes", [])))
    for place, index in enumerate(found):
        for number, name in enumerate(index):
            _check_column(section, "indexes", name, columns, (place, number))
        if not index or len(set(index)) < len(index) or len(index) > MOST_INDEX_COLUMNS:
            section.fault(
                "indexes",
                f"An index must have 1 to {MOST_INDEX_COLUMNS} different columns.",
                "Correct it.",
                place,
            )
        elif index in found[:place]:
            section.fault("indexes", "The index is declared twice.", "Remove it once.", place)
    return found


def _check_column(
    section: Section, key: str, name: str, columns: Mapping[str, FieldType], more: tuple[int, ...]
) -> bool:
    """Whether the name is that of a column that can be ordered; if not, report it."""
    if name not in columns:
        parts.unknown_field(section, key, name, columns, *more)
        return False
    if columns[name] in _UNORDERED:
        section.fault(
            key,
            f"{name} has the type {columns[name]}, whose values have no order.",
            "Use another field.",
            *more,
        )
        return False
    return True
