"""docs/reference/datasets.schema.json accepts what the parser accepts, and rejects wrong keys."""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model.errors import ConfigurationError
from etl.settings import Settings
from etl.settings.datasets_file import read_datasets
from tests.declaration_schema import PUBLISHED, REFERENCE, declaration_schema, written
from tests.orders_data import DECLARATION
from tests.unit.test_datasets_fuzz import ANYTHING, TAME, WILD, document, toml

SETTINGS = Settings(_env_file=None)
SCHEMA = declaration_schema()
VALIDATOR = jsonschema_rs.validator_for(SCHEMA)
OF_FORM = re.compile(
    r": (?:[\w.\" -]+ (?:must be|is missing\.|is not supported\.|is not a key of this table)"
    r"|'[^']*' is not a (?:value of|supported type|format)|The version is not supported"
    r"|There is no such preset|.* is not a table\.)"
)


def as_json(value: Any) -> Any:  # noqa: ANN401 - any TOML
    """The value as an editor gives it to a JSON Schema: dates as texts, floats as numbers."""
    if isinstance(value, dict):
        return {key: as_json(one) for key, one in value.items()}
    if isinstance(value, list):
        return [as_json(one) for one in value]
    if isinstance(value, (date, datetime, time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return 0.5  # JSON Schema takes 1.0 for an integer
    return value


def faults_of(text: str) -> list[str] | None:
    """The faults that the parser finds; None if the text is not TOML."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "datasets.toml"
        path.write_text(text, "utf-8")
        try:
            read_datasets(path, SETTINGS)
        except ConfigurationError as error:
            return error.message.splitlines()
    return []


def check(text: str) -> None:
    faults = faults_of(text)
    is_valid = VALIDATOR.is_valid(as_json(tomllib.loads(text, parse_float=Decimal)))
    if faults:
        assert not is_valid or not any(map(OF_FORM.search, faults)), faults
    else:
        assert is_valid


def test_the_published_schema_is_current():
    """Write it with UPDATE_GOLDEN=1 and review the difference."""
    if os.environ.get("UPDATE_GOLDEN"):
        PUBLISHED.write_text(written(SCHEMA), "utf-8")
    assert PUBLISHED.read_text("utf-8") == written(SCHEMA)


def test_the_schema_is_valid_in_its_draft_and_in_draft_4():
    """Taplo supports draft 4; the keywords used mean the same in both."""
    assert jsonschema_rs.meta.is_valid(SCHEMA)
    assert jsonschema_rs.meta.is_valid(
        SCHEMA | {"$schema": "http://json-schema.org/draft-04/schema#"}
    )


@given(TAME | WILD)
def test_the_schema_agrees_with_the_parser_on_datasets(datasets: dict[str, dict[str, object]]):
    check(document(datasets))


@given(st.dictionaries(st.sampled_from(["version", "datasets", "x"]), ANYTHING, max_size=3))
def test_the_schema_agrees_with_the_parser_on_documents(found: dict[str, object]):
    check("\n".join(f"{key} = {toml(value)}" for key, value in found.items()))


def declarations() -> list[str]:
    """The declarations of the reference and of the tests."""
    texts = [DECLARATION.read_text("utf-8")]
    reference = (REFERENCE / "datasets.md").read_text("utf-8")
    texts += re.findall(r"```toml\n(.*?)```", reference, re.DOTALL)
    return [text for text in texts if "version" in text]


@pytest.mark.parametrize("text", declarations())
def test_the_schema_accepts_the_declarations_of_reference_and_tests(text: str):
    VALIDATOR.validate(as_json(tomllib.loads(text, parse_float=Decimal)))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"includ": ["**"]}, []),
        ({"unknown_columns": "drop"}, ["unknown_columns"]),
        ({"indexes": ["a"]}, ["indexes", 0]),
        ({"schema": {"fields": [{"name": "a"}]}}, ["schema"]),
        ({"schema": {"fields": [{"name": "a", "type": "text"}]}}, ["schema"]),
        ({"dialect": {"header": False}}, ["dialect", "header"]),
        ({"preset": "users"}, []),
    ],
)
def test_the_schema_rejects_a_wrong_key_or_value(change: dict[str, object], path: list[object]):
    right = {"include": ["**"], "schema": {"fields": [{"name": "a", "type": "string"}]}}
    VALIDATOR.validate({"version": 1, "datasets": {"x": right}})
    errors = list(VALIDATOR.iter_errors({"version": 1, "datasets": {"x": right | change}}))
    assert [list(one.instance_path) for one in errors] == [["datasets", "x", *path]]


def test_every_key_has_a_description_without_markup():
    found = json.dumps(SCHEMA, ensure_ascii=False)
    assert "](" not in found
    assert "†" not in found
    assert SCHEMA["definitions"]["dataset"]["properties"]["prefer"]["description"].startswith(
        "Field whose greatest value"
    )
