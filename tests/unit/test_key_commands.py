"""`./run.sh keys`: a key is shown once, stored as a hash, and invalid once revoked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from etl.cli.main import commands
from etl.model.errors import ConfigurationError
from etl.model.roles import Keyring, Role, entry_for, new_key
from etl.settings.key_file import load

Keys = Callable[..., Result]


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keys:
    monkeypatch.chdir(tmp_path)

    def run(*words: str, **environment: str) -> Result:
        return CliRunner().invoke(commands, ["keys", *words], env={"LOCAL_DIR": "l"} | environment)

    return run


def test_new_key_is_printed_once_and_matches_the_stored_hash(keys: Keys):
    made = keys("new", "ann", "--role", "writer")
    assert made.exit_code == 0
    key = made.stdout.strip()
    entry = Keyring(load(Path("l/api-keys"))).find(key)
    assert (entry.name, entry.role) == ("ann", Role.WRITER)
    assert str(entry) in made.stderr
    assert key not in made.stderr


def test_only_show_saves_nothing(keys: Keys):
    made = keys("new", "ann", "--role", "writer", "--only-show")
    assert str(entry_for("ann", Role.WRITER, made.stdout.strip())) in made.stderr
    assert not Path("l/api-keys").exists()


def test_listing_shows_names_and_roles_and_where_they_are_from(keys: Keys):
    assert "no key" in keys("list").stdout
    keys("new", "ann", "--role", "reader")
    fixed = str(entry_for("bob", Role.ADMIN, new_key()))
    rows = json.loads(keys("list", "--json", API_KEYS=fixed).stdout)
    assert rows == [
        {"name": "bob", "role": "admin", "datasets": [], "kept_in": "API_KEYS"},
        {"name": "ann", "role": "reader", "datasets": [], "kept_in": "l/api-keys"},
    ]
    assert "bob" in keys("list", API_KEYS=fixed).stdout


def test_key_may_be_limited_to_datasets(keys: Keys):
    made = keys("new", "shop", "--role", "reader", "--dataset", "refunds", "--dataset", "orders")
    assert made.exit_code == 0
    (entry,) = load(Path("l/api-keys"))
    assert entry.datasets == ("orders", "refunds")
    assert str(entry) in made.stderr
    (row,) = json.loads(keys("list", "--json").stdout)
    assert row["datasets"] == ["orders", "refunds"]
    assert "orders, refunds" in keys("list").stdout


def test_dataset_that_the_file_does_not_declare_is_named(keys: Keys):
    Path("datasets.toml").write_text(
        'version = 1\n[datasets.orders]\ninclude = ["*.csv"]\n'
        '[datasets.orders.schema]\nfields = [{ name = "id", type = "string" }]\n'
    )
    words = ("--role", "reader", "--dataset", "orders", "--dataset", "order")
    made = keys("new", "shop", *words, DATASETS_FILE="datasets.toml")
    assert made.exit_code == 0, made.output
    assert "does not declare order." in made.stderr


def test_revoking_the_last_key_warns_that_no_key_is_left(keys: Keys):
    keys("new", "ann", "--role", "reader")
    keys("new", "bob", "--role", "reader")
    assert "locked" not in keys("revoke", "bob").stdout
    assert "locked" in keys("revoke", "ann").stdout
    assert "locked" in keys("list").stdout
    assert json.loads(keys("list", "--json").stdout) == []
    assert load(Path("l/api-keys")) == ()


@pytest.mark.parametrize("words", [["new", "bob", "--role", "reader"], ["revoke", "bob"]])
def test_keys_from_the_environment_are_not_changed(keys: Keys, words: list[str]):
    found = keys(*words, API_KEYS=str(entry_for("bob", Role.ADMIN, new_key())))
    assert isinstance(found.exception, ConfigurationError)
    assert "API_KEYS" in found.exception.message


@pytest.mark.parametrize(
    "words",
    [
        ["new", "a b", "--role", "reader"],
        ["new", "ann", "--role", "reader", "--dataset", "a b"],
        ["new", "ann"],
        ["new"],
    ],
)
def test_wrong_usage_creates_no_key(keys: Keys, words: list[str]):
    assert keys(*words).exit_code == 2
    assert not Path("l/api-keys").exists()
