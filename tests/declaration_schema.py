"""The JSON Schema of datasets.toml for editors, made from the parser's keys and the reference.

The keys, types and closed lists of values are those of the parser; the descriptions are those of
docs/reference/datasets.md. It uses only keywords that drafts 4 and 7 have in common.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etl.model.dataset import USERS, DerivedAs, FieldType, OnRemoved, ShortRows, UnknownColumns
from etl.model.formats import FORMATS
from etl.settings.datasets import keys
from etl.settings.datasets.keys import TableRules, ValueKind
from etl.settings.datasets_file import FORMAT_VERSION

if TYPE_CHECKING:
    from collections.abc import Collection

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
PUBLISHED = REFERENCE / "datasets.schema.json"
DRAFT = "http://json-schema.org/draft-07/schema#"

TABLES: dict[str, TableRules] = {
    "": keys.ROOT,
    "dataset": keys.DATASET,
    "dialect": keys.DIALECT,
    "schema": keys.SCHEMA,
    "fields": keys.FIELD,
    "constraints": keys.CONSTRAINTS,
    "derived": keys.DERIVED,
    "attachments": keys.ATTACHMENT,
}
_CHOICES: dict[str, Collection[object]] = {
    "version": [FORMAT_VERSION],
    "preset": [USERS.name],
    "format": FORMATS,
    "on_removed": OnRemoved,
    "unknown_columns": UnknownColumns,
    "short_rows": ShortRows,
    "fields.type": FieldType,
    "derived.as": DerivedAs,
}
_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_LABELLED = {
    "type": "object",
    "properties": {"value": _TEXT, "label": {}},
    "required": ["value"],
    "additionalProperties": False,
}
_KINDS: dict[ValueKind, dict[str, Any]] = {
    ValueKind.TEXT: _TEXT,
    ValueKind.TEXTS: _TEXTS,
    ValueKind.TEXT_OR_TEXTS: {"anyOf": [_TEXT, _TEXTS]},
    ValueKind.LISTS: {"type": "array", "items": _TEXTS},
    ValueKind.FLAG: {"type": "boolean"},
    ValueKind.INTEGER: {"type": "integer"},
    ValueKind.TEXT_OR_INTEGER: {"type": ["string", "integer"]},
    ValueKind.INTEGERS: {"type": "array", "items": {"type": "integer"}},
    ValueKind.MISSING_VALUES: {"type": "array", "items": {"anyOf": [_TEXT, _LABELLED]}},
    ValueKind.ANY: {"type": ["string", "number", "boolean"]},
    ValueKind.LIST: {"type": "array"},
}


def declaration_schema() -> dict[str, Any]:
    """The JSON Schema of a datasets file."""
    root = _table("")
    datasets = root["properties"]["datasets"]
    datasets |= {
        "type": "object",
        "properties": {USERS.name: {"$ref": "#/definitions/preset"}},
        "additionalProperties": {"$ref": "#/definitions/dataset"},
    }
    names = [name for name in TABLES if name]
    preset = _closed("dataset", keys.PRESET, keys.PRESET.keys, required=("preset",))
    return {
        "$schema": DRAFT,
        "title": "datasets.toml of Bucketline",
        **root,
        "definitions": {"preset": preset, **{name: _table(name) for name in names}},
    }


def written(schema: dict[str, Any]) -> str:
    """The text of the published file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def descriptions() -> dict[str, str]:
    """The descriptions of the keys in the reference, without links and footnotes."""
    text = (REFERENCE / "datasets.md").read_text("utf-8")
    body = text.split("\n| Key |")[1].split("\n\n")[0]
    found = {}
    for line in body.splitlines()[2:]:
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        said = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", cells[3]).replace("`", "")
        said = ". ".join(one for one in said.split(". ") if "†" not in one)
        default = cells[2].replace("`", "")
        if not default.startswith(("required", "none")):
            said += f". Default: {default}"
        found[cells[0].split("`")[1]] = said[:1].upper() + said[1:] + "."
    return found


def path_of(table: str, key: str) -> str:
    """The key as the reference writes it."""
    return key if table in {"", "dataset"} else f"{table}.{key}"


def _table(name: str) -> dict[str, Any]:
    rules = TABLES[name]
    used = [key for key in rules.keys if (name, key) != ("dataset", "preset")]
    return _closed(name, rules, used, required=rules.required)


def _closed(
    name: str, rules: TableRules, used: Collection[str], *, required: tuple[str, ...]
) -> dict[str, Any]:
    """A table with these keys, what others read of it, and no others."""
    properties = {key: _value(name, key, rules.keys[key].kind) for key in used}
    for key, refusal in (rules.refused or {}).items():
        if refusal.harmless:
            properties[key] = {"enum": list(refusal.harmless), "description": refusal.remedy}
    properties |= {key: {} for key in sorted(rules.informational)}
    found = {"type": "object", "properties": properties, "additionalProperties": False}
    return found | ({"required": list(required)} if required else {})


def _value(table: str, key: str, kind: ValueKind) -> dict[str, Any]:
    described = {"description": descriptions()[path_of(table, key)]}
    choices = _CHOICES.get(path_of(table, key))
    if choices is not None:
        return {"enum": list(choices), **described}
    inner = {"$ref": f"#/definitions/{key}"}
    if kind is ValueKind.TABLE and key in TABLES:
        return {"allOf": [inner], **described}
    if kind is ValueKind.TABLE:
        return described
    if kind is ValueKind.TABLES:
        return {"type": "array", "items": inner, **described}
    if kind is ValueKind.TEXT_OR_TABLE:
        return {"anyOf": [_TEXT, inner], **described}
    return {**_KINDS[kind], **described}
