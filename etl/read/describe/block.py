"""Write a description as a block of datasets.toml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from etl.model.safe_text import printable, safe_value
from etl.read.describe.toml import options, toml

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.model.dataset import Field
    from etl.read.describe.columns import DescribedField, Description

_INDENT = "  "


@dataclass(frozen=True, slots=True)
class DatasetPlace:
    """Where the objects of a dataset are, and how they are written, if not by their extension."""

    name: str
    include: tuple[str, ...]
    bucket: str = ""
    format: str | None = None
    sheet: str | int | None = None
    delimiter: str = ""
    header_row: int = 1
    member: str | None = None
    path_columns: str | None = None
    notes: tuple[str, ...] = ()


def block(place: DatasetPlace, found: Description) -> str:
    """The tables [datasets.NAME] and [datasets.NAME.schema], with comments."""
    lines = [*map(comment, place.notes), f"[datasets.{place.name}]", *_options(place, found), ""]
    lines += [f"[datasets.{place.name}.schema]", *_key(found)]
    if found.missing_values != ("",):
        errors = [one for one in found.missing_values if one.startswith("#")]
        if errors:
            shown = " and ".join(errors)
            lines.append(comment(f"without {shown} here, rows with such errors would be rejected"))
        lines.append(f"missingValues = {toml(found.missing_values)}")
    lines += ["fields = [", *(line for one in found.fields for line in _field(one)), "]"]
    lines += [
        comment(f"{safe_value(name).strip() or toml(name)} is not declared: {why}")
        for name, why in found.undeclared.items()
    ]
    return "\n".join(lines) + "\n"


def _options(place: DatasetPlace, found: Description) -> Iterator[str]:
    yield f"include = {toml(place.include)}"
    for key, value in (
        ("bucket", place.bucket),
        ("format", place.format),
        ("path_columns", place.path_columns),
        ("prefer", found.prefer),
    ):
        if value:
            yield f"{key} = {toml(str(value))}"
    if place.sheet is not None:
        yield f"sheet = {toml(place.sheet)}"
    if found.pads_rows:
        yield comment("some rows lack their last cells")
        yield 'short_rows = "pad"'
    dialect = [f"delimiter = {toml(place.delimiter)}"] if place.delimiter else []
    dialect += [f"headerRows = [{place.header_row}]"] if place.header_row > 1 else []
    dialect += [f"property = {toml(place.member)}"] if place.member is not None else []
    if dialect:
        yield f"dialect = {{ {', '.join(dialect)} }}"


def _key(found: Description) -> Iterator[str]:
    yield comment(found.key_note)
    if found.primary_key:
        yield f"primaryKey = {toml(found.primary_key)}"


def _field(one: DescribedField) -> Iterator[str]:
    for note in one.notes:
        yield comment(note, before=_INDENT)
    pairs = ", ".join(f"{key} = {value}" for key, value in _pairs(one.field))
    yield f"{_INDENT}{{ {pairs} }},"


def _pairs(one: Field) -> Iterator[tuple[str, str]]:
    yield "name", toml(one.name)
    yield "type", toml(one.type.value)
    if one.aliases:
        yield "aliases", toml(one.aliases)
    if one.sql is not None:
        yield "sql", toml(one.sql)
    yield from options(one)
    if one.constraints.required:
        yield "constraints", "{ required = true }"


def comment(text: str, *, before: str = "") -> str:
    """A comment of one line."""
    return f"{before}# {printable(text)}"
