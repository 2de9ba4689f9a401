"""Keys, entries and roles, and the file that keeps entries."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.model.errors import ConfigurationError
from etl.model.roles import (
    Entry,
    Keyring,
    Role,
    digest_of,
    entry_for,
    new_key,
    parse_entries,
    parse_entry,
)
from etl.settings import Settings, key_file, read_settings

names = st.from_regex(r"(?!bl_)[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", fullmatch=True)
datasets = st.lists(st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,47}", fullmatch=True), max_size=3)
entries = st.builds(entry_for, names, st.sampled_from(Role), st.builds(new_key), datasets)


@given(st.lists(entries, unique_by=lambda entry: entry.name))
def test_entries_survive_being_written_and_read(some: list[Entry]):
    assert parse_entries(" , ".join(map(str, some))) == tuple(some)


@given(st.text(max_size=40))
def test_only_the_exact_key_finds_its_entry(guess: str):
    key = new_key()
    ring = Keyring([entry_for("ann", Role.READER, key)])
    assert ring.find(key).name == "ann"
    assert ring.find(guess) is None
    assert ring.find(digest_of(key).hex()) is None


def test_an_entry_may_be_limited_to_datasets():
    entry = entry_for("ann", Role.READER, new_key(), ["refunds", "orders", "orders"])
    assert entry.datasets == ("orders", "refunds")
    assert str(entry) == f"ann:reader@orders+refunds:{entry.digest.hex()}"
    with pytest.raises(ValueError, match="name of a dataset"):
        entry_for("ann", Role.READER, new_key(), ["or:ders"])


@pytest.mark.parametrize("role", ["reader@", "reader@+", "reader@orders+", "@orders", "reader@a b"])
def test_a_faulty_limit_grants_no_access(role: str):
    with pytest.raises(ValueError, match=r"dataset|role"):
        parse_entry(f"ann:{role}:{digest_of(new_key()).hex()}")


def test_of_entries_with_one_name_the_first_counts():
    first, second = new_key(), new_key()
    ring = Keyring([entry_for("ann", Role.READER, first), entry_for("ann", Role.ADMIN, second)])
    assert ring.find(first).role == Role.READER
    assert ring.find(second) is None


def test_each_role_includes_those_before_it():
    assert [[role.includes(other) for other in Role] for role in Role] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


def test_generated_keys_are_long_prefixed_and_unique():
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    assert all(key.startswith("bl_") and len(key) >= 43 for key in made)


@pytest.mark.parametrize(
    "text",
    [
        "secret",
        "ann:reader:secret",
        "ann:owner:" + "0" * 64,
        "a b:reader:" + "0" * 64,
        ":reader:" + "0" * 64,
        "bl_secret",
        "ann:reader:bl_secret",
        "ann:reader:" + "A" * 64,
    ],
)
def test_invalid_entry_is_rejected_and_not_quoted(text: str, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValueError, match=r".") as caught:
        parse_entry(text)
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("API_KEYS", text)
    with pytest.raises(ConfigurationError, match="API_KEYS") as wrong:
        read_settings()
    assert text not in wrong.value.message


def test_a_name_may_be_in_api_keys_only_once():
    twice = f"{entry_for('ann', Role.READER, new_key())},{entry_for('ann', Role.ADMIN, new_key())}"
    with pytest.raises(ValueError, match="entry 2"):
        parse_entries(twice)


# -- the keys file


def test_key_file_holds_only_hashes_and_is_readable_by_its_owner(tmp_path: Path):
    path, key = tmp_path / "below" / "api-keys", new_key()
    key_file.add(path, entry_for("ann", Role.WRITER, key))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key not in path.read_text()
    assert [(entry.name, entry.role) for entry in key_file.load(path)] == [("ann", Role.WRITER)]


def test_key_name_is_unique_and_reusable_after_revocation(tmp_path: Path):
    path = tmp_path / "api-keys"
    key_file.add(path, entry_for("ann", Role.WRITER, new_key()))
    with pytest.raises(ConfigurationError, match="already"):
        key_file.add(path, entry_for("ann", Role.READER, new_key()))
    assert key_file.remove(path, "ann") == 0
    with pytest.raises(ConfigurationError, match="no key named"):
        key_file.remove(path, "ann")
    key_file.add(path, entry_for("ann", Role.READER, new_key()))
    assert [entry.role for entry in key_file.load(path)] == [Role.READER]


def test_faulty_line_grants_no_access_and_is_not_overwritten(tmp_path: Path):
    path = tmp_path / "api-keys"
    good = entry_for("ann", Role.READER, new_key())
    path.write_text(f"# heading\n\n{good}\nbob:admin:typo\n")
    assert key_file.read(path) == key_file.KeyFile((good,), (4,))
    with pytest.raises(ConfigurationError, match="line 4"):
        key_file.add(path, entry_for("eve", Role.READER, new_key()))
    assert "bob:admin:typo" in path.read_text()


def test_no_entry_is_lost_when_several_add_at_once(tmp_path: Path):
    """Concurrent additions either fail or store their key."""
    path = tmp_path / "api-keys"

    def add(number: int) -> str | None:
        with suppress(ConfigurationError):
            key_file.add(path, entry_for(f"user{number}", Role.READER, new_key()))
            return f"user{number}"
        return None

    with ThreadPoolExecutor(8) as pool:
        added = {name for name in pool.map(add, range(40)) if name}
    assert added
    assert {entry.name for entry in key_file.load(path)} == added


def test_the_keys_file_is_in_local_dir_unless_it_is_named(tmp_path: Path):
    assert Settings(_env_file=None, local_dir=tmp_path).key_file == tmp_path / "api-keys"
    named = Settings(_env_file=None, local_dir=tmp_path, api_keys_file=tmp_path / "other")
    assert named.key_file == tmp_path / "other"


def test_a_name_that_begins_as_keys_do_is_refused():
    """Its entry would be parsed as a key, and could not be read again."""
    with pytest.raises(ValueError, match="does not begin with bl_"):
        entry_for("bl_ann", Role.READER, new_key())
