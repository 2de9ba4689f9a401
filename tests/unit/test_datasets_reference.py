"""docs/reference/datasets.md matches the parser: keys, types, defaults and examples."""

from __future__ import annotations

import re
from pathlib import Path

from etl.model.dataset import Constraints, Dataset, Dialect, Field, FieldType
from etl.model.types import TYPE_TRAITS, Constraint
from etl.settings import Settings
from etl.settings.datasets import keys
from etl.settings.datasets.keys import ValueKind
from etl.settings.datasets_file import read_datasets
from tests.declaration_schema import TABLES

TEXT = (Path(__file__).parents[2] / "docs" / "reference" / "datasets.md").read_text("utf-8")
TYPES = {
    ValueKind.TEXT: "text",
    ValueKind.TEXTS: "list of texts",
    ValueKind.TEXT_OR_TEXTS: "text or list of texts",
    ValueKind.LISTS: "list of lists of texts",
    ValueKind.FLAG: "boolean",
    ValueKind.INTEGER: "integer",
    ValueKind.TABLE: "table",
    ValueKind.TABLES: "list of tables",
    ValueKind.TEXT_OR_TABLE: "table or text",
    ValueKind.TEXT_OR_INTEGER: "text or integer",
    ValueKind.INTEGERS: "list of integers",
    ValueKind.MISSING_VALUES: "list of texts",
    ValueKind.ANY: "as the field",
    ValueKind.LIST: "list",
}


def rows(heading: str) -> list[list[str]]:
    """The rows of the table whose first column has this heading."""
    body = TEXT.split(f"\n| {heading} |")[1].split("\n\n")[0]
    return [[cell.strip() for cell in line.split(" | ")] for line in body.splitlines()[2:] if line]


def documented() -> dict[str, list[str]]:
    return {row[0].lstrip("| ").split("`")[1]: row for row in rows("Key")}


def known(*, refused: bool) -> dict[str, ValueKind | None]:
    """The keys of the parser as the reference writes them."""
    found: dict[str, ValueKind | None] = {}
    for table, rules in TABLES.items():
        prefix = "" if table in {"", "dataset"} else f"{table}."
        if refused:
            found |= {f"{prefix}{key}": None for key in rules.refused or {}}
        else:
            found |= {f"{prefix}{key}": rule.kind for key, rule in rules.keys.items()}
    return found


def test_every_key_is_in_the_reference_with_its_type_and_vice_versa():
    types = {name: row[1] for name, row in documented().items()}
    assert types == {name: TYPES[kind] for name, kind in known(refused=False).items() if kind}


def test_every_unsupported_key_is_in_the_reference_and_vice_versa():
    names = re.findall(r"`([\w.]+)`", "".join(row[0] for row in rows("Unsupported key")))
    assert sorted(names) == sorted(known(refused=True))


def test_required_keys_are_marked():
    required = {
        f"{table}.{key}" if table not in {"", "dataset"} else key
        for table, rules in TABLES.items()
        for key in rules.required
    }
    assert {name for name, row in documented().items() if row[2].startswith("required")} == required


def test_keys_of_presets_are_marked():
    marked = {name for name, row in documented().items() if "†" in row[0]}
    assert marked == set(keys.PRESET.keys) - {"preset"}


def test_defaults_are_those_of_the_values():
    field, dataset = Field(name=""), Dataset(name="", table="", fields=(), include=())
    values = {
        "on_removed": dataset.on_removed.value,
        "unknown_columns": dataset.unknown_columns.value,
        "short_rows": dataset.short_rows.value,
        "schema.missingValues": list(dataset.missing_values),
        "dialect.quoteChar": Dialect().quote_char,
        "fields.decimalChar": field.decimal_char,
        "fields.trueValues": list(field.true_values),
        "fields.falseValues": list(field.false_values),
        "paused": dataset.is_paused,
        "fields.trim": field.trim,
        "constraints.required": Constraints().required,
    }
    written = {"paused": "false", "fields.trim": "true", "constraints.required": "false"}
    for name, value in values.items():
        shown = str(value).replace("'", '"') if isinstance(value, list) else f'"{value}"'
        shown = '"\\""' if value == '"' else shown
        assert documented()[name][2] == f"`{written.get(name, shown)}`", name
        assert name not in written or written[name] == str(value).lower()


def test_types_are_those_of_the_parser():
    bounds = {one for one in Constraint if "imum" in one}
    found = {}
    for row in rows("Type"):
        name = row[0].lstrip("| ").split("`")[1]
        constraints = set(re.findall(r"`(\w+)`", row[2]))
        found[name] = (
            tuple(re.findall(r"`([\w ]+)`", row[1])),
            constraints | (bounds if "bounds" in row[2] else set()),
        )
    assert found == {
        type_.value: (traits.sql, set(traits.constraints)) for type_, traits in TYPE_TRAITS.items()
    }
    assert set(found) == {one.value for one in FieldType}


def test_the_example_can_be_used(tmp_path: Path):
    (example,) = re.findall(r"```toml\n(version.*?)```", TEXT, re.DOTALL)
    (tmp_path / "datasets.toml").write_text(example)
    found = read_datasets(tmp_path / "datasets.toml", Settings(_env_file=None))
    assert [one.name for one in found] == ["users", "orders"]
