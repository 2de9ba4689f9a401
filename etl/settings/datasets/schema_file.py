"""A schema in a JSON file next to datasets.toml, as `frictionless describe` writes it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from etl.model.column_names import column_name, is_column_name
from etl.settings.datasets.faults import FaultReport
from etl.settings.datasets.lines import json_lines, repeated_json_key

if TYPE_CHECKING:
    from pathlib import Path

    from etl.settings.datasets.lines import KeyPath
    from etl.settings.datasets.section import Section


def read_schema(
    section: Section, folder: Path
) -> tuple[dict[str, Any], KeyPath, FaultReport] | None:
    """The schema that `schema` of the section names: its table, its path in its file, its report.

    The file holds a Table Schema, or a Data Resource or a Data Package with one resource, of which
    only `schema` is used. A field whose name cannot be that of a column gets one that can, and its
    name becomes an alias.
    """
    name: str = section.get("schema")
    text = _text(section, folder, name)
    if text is None:
        return None
    report = FaultReport(name, {}, section.report.faults)
    found = _parsed(text, report)
    if found is None:
        return None
    report = FaultReport(name, json_lines(text), section.report.faults)
    schema, path = _table_schema(found.value)
    if isinstance(schema, dict) and "fields" in schema:
        return _with_legal_names(schema), path, report
    resources = found.value.get("resources") if isinstance(found.value, dict) else None
    if isinstance(resources, list) and len(resources) > 1:
        report.add(
            ("resources",),
            f"The package has {len(resources)} resources.",
            "Save each of their schemas in a file of its own.",
        )
    else:
        report.add(
            path,
            "The file contains no Table Schema.",
            "Write an object with fields, as `frictionless describe --json FILE` prints it.",
        )
    return None


class _Parsed(NamedTuple):
    value: Any


def _parsed(text: str, report: FaultReport) -> _Parsed | None:
    """The JSON value; if it is not valid, that is reported with its line."""
    path: KeyPath = ()
    line, fault = 1, ""
    try:
        found = json.loads(text, parse_float=Decimal)
        repeated = repeated_json_key(text)
    except json.JSONDecodeError as error:
        line, fault = error.lineno, f"not valid JSON in column {error.colno}: {error.msg}."
    except (ValueError, RecursionError) as error:
        fault = f"not valid JSON: {error}."
    else:
        if repeated is None:
            return _Parsed(found)
        path, line = repeated
        fault = "The key occurs twice in one object."
    FaultReport(report.file, {path: line, (): line}, report.faults).add(
        path, fault, "Correct the file."
    )
    return None


def _table_schema(found: Any) -> tuple[Any, KeyPath]:  # noqa: ANN401 - any JSON
    """The schema in a schema, a resource or a package with one resource, and its path."""
    path: KeyPath = ()
    if isinstance(found, dict) and isinstance(found.get("resources"), list):
        if len(found["resources"]) != 1:
            return None, path
        found, path = found["resources"][0], ("resources", 0)
    if isinstance(found, dict) and isinstance(found.get("schema"), dict):
        return found["schema"], (*path, "schema")
    return found, path


def _with_legal_names(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with names that columns may have; other names are aliases of their fields."""
    fields = schema["fields"]
    if not isinstance(fields, list):
        return schema
    names: dict[str, str] = {}
    for one in fields:
        name = one.get("name") if isinstance(one, dict) else None
        if isinstance(name, str) and name.strip() and not is_column_name(name):
            names[name] = column_name(name, name)
    if not names:
        return schema
    renamed = [_renamed(one, names) if isinstance(one, dict) else one for one in fields]
    key = schema.get("primaryKey")
    found = schema | {"fields": renamed}
    if isinstance(key, str):
        found["primaryKey"] = names.get(key, key)
    elif isinstance(key, list):
        found["primaryKey"] = [names.get(one, one) if isinstance(one, str) else one for one in key]
    return found


def _renamed(field: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    name, aliases = field.get("name"), field.get("aliases", [])
    if name not in names or not isinstance(aliases, list):
        return field
    return field | {"name": names[name], "aliases": [name, *aliases]}


def _text(section: Section, folder: Path, name: str) -> str | None:
    root = folder.resolve()
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            section.fault(
                "schema", f"{name!r} is outside of the folder {folder}.", "Move the file into it."
            )
            return None
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        section.fault("schema", f"{name!r} is not UTF-8.", "Save the file as UTF-8.")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        section.fault(
            "schema",
            f"{name!r} cannot be read: {reason}.",
            f"Name a JSON file in {folder}, or write the schema as a table.",
        )
    return None
