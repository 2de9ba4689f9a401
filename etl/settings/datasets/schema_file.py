"""A schema in a JSON file next to datasets.toml, as `frictionless describe` writes it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from etl.settings.datasets.faults import FaultReport
from etl.settings.datasets.lines import json_lines

if TYPE_CHECKING:
    from pathlib import Path

    from etl.settings.datasets.lines import KeyPath
    from etl.settings.datasets.section import Section


def read_schema(
    section: Section, folder: Path
) -> tuple[dict[str, Any], KeyPath, FaultReport] | None:
    """The schema that `schema` of the section names: its table, its path in its file, its report.

    The file holds a Table Schema, or a Data Resource, of which only `schema` is used.
    """
    name: str = section.get("schema")
    text = _text(section, folder, name)
    if text is None:
        return None
    try:
        found = json.loads(text, parse_float=Decimal, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        line = f"line {error.lineno}: " if isinstance(error, json.JSONDecodeError) else ""
        said = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        section.fault("schema", f"{name} is not valid JSON: {line}{said}.", "Correct the file.")
        return None
    path: KeyPath = ()
    if isinstance(found, dict) and "fields" not in found and isinstance(found.get("schema"), dict):
        found, path = found["schema"], ("schema",)
    if not isinstance(found, dict) or "fields" not in found:
        section.fault(
            "schema",
            f"{name} contains no Table Schema.",
            "Write an object with fields, as `frictionless describe --json FILE` prints it.",
        )
        return None
    return found, path, FaultReport(name, json_lines(text), section.report.faults)


def _text(section: Section, folder: Path, name: str) -> str | None:
    root = folder.resolve()
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root):
            section.fault(
                "schema", f"{name} is outside of the folder {folder}.", "Move the file into it."
            )
            return None
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        section.fault("schema", f"{name} is not UTF-8.", "Save the file as UTF-8.")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        section.fault(
            "schema",
            f"{name} cannot be read: {reason}.",
            f"Name a JSON file in {folder}, or write the schema as a table.",
        )
    return None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} occurs twice in one object")
    return found
