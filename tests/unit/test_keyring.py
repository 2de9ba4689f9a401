"""The keys of a running API, through every change of their file."""

from __future__ import annotations

import os
import resource
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from api.security.keyring import LiveKeyring
from etl.model.roles import Role, entry_for, new_key
from etl.settings import Settings, key_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def keyring(folder: Path) -> LiveKeyring:
    return LiveKeyring(Settings(_env_file=None, local_dir=folder))


def add_key(folder: Path, name: str) -> str:
    key = new_key()
    key_file.add(folder / "api-keys", entry_for(name, Role.READER, key))
    return key


def is_valid(ring: LiveKeyring, key: str) -> bool:
    assert ring.is_locked()
    return ring.find(key) is not None


def remove(file: Path) -> None:
    file.unlink()


def remove_folder(file: Path) -> None:
    shutil.rmtree(file.parent)


def rename_folder(file: Path) -> None:
    file.parent.rename(file.parent.with_name("old"))


def truncate(file: Path) -> None:
    os.truncate(file, 0)


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def replace_by_loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file)


def damage(file: Path) -> None:
    file.write_bytes(b"\xff\0nonsense\n")


LOSSES = [
    remove,
    remove_folder,
    rename_folder,
    truncate,
    replace_by_folder,
    replace_by_loop,
    damage,
]


@pytest.mark.parametrize("lose", LOSSES, ids=lambda lose: lose.__name__)
def test_a_lost_file_locks_and_a_new_one_is_read(tmp_path: Path, lose: Callable[[Path], None]):
    folder = tmp_path / "local"
    ring, ann = keyring(folder), add_key(folder, "ann")
    assert is_valid(ring, ann)
    lose(folder / "api-keys")
    assert not is_valid(ring, ann)
    if (folder / "api-keys").is_dir():
        (folder / "api-keys").rmdir()
    else:
        (folder / "api-keys").unlink(missing_ok=True)
    assert not is_valid(ring, ann)
    bob = add_key(folder, "bob")
    assert is_valid(ring, bob)
    assert not is_valid(ring, ann)


def test_recreated_key_directory_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    ring, ann = keyring(Path(".local")), add_key(work / ".local", "ann")
    assert is_valid(ring, ann)
    shutil.rmtree(work)
    assert not is_valid(ring, ann)
    bob = add_key(work / ".local", "bob")
    assert is_valid(ring, bob)


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Let every open() fail, while stat() works."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_file_that_could_not_be_read_is_read_later(tmp_path: Path):
    ring, ann = keyring(tmp_path), add_key(tmp_path, "ann")
    with no_descriptors():
        assert not is_valid(ring, ann)
        assert not is_valid(ring, ann)
    assert is_valid(ring, ann)


def test_a_backup_with_the_old_times_is_noticed(tmp_path: Path):
    file = tmp_path / "api-keys"
    ring, ann = keyring(tmp_path), add_key(tmp_path, "ann")
    assert is_valid(ring, ann)
    found = file.stat()
    other = new_key()
    heading = file.read_text().partition("ann:")[0]
    file.write_text(f"{heading}{entry_for('ann', Role.READER, other)}\n")
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert not is_valid(ring, ann)
    assert is_valid(ring, other)


def test_an_api_without_keys_stays_open_until_there_is_one(tmp_path: Path):
    ring = keyring(tmp_path)
    assert not ring.is_locked()
    add_key(tmp_path, "ann")
    assert ring.is_locked()
