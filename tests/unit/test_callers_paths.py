"""Relative paths are resolved against the folder the command was entered in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import bench.__main__
from etl.cli.common import CALLERS_FOLDER, CallersPath
from etl.cli.main import commands

ROOT = Path(__file__).parents[2]
EVERY_COMMAND = {**commands.commands, "bench": bench.__main__.main}


def parameters(command: click.Command) -> list[click.Parameter]:
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return command.params + [one for sub in below for one in parameters(sub)]


@pytest.mark.parametrize("command", EVERY_COMMAND.values(), ids=EVERY_COMMAND)
def test_every_path_of_a_command_counts_from_the_callers_folder(command: click.Command):
    paths = [one for one in parameters(command) if isinstance(one.type, click.Path | click.File)]
    assert all(isinstance(one.type, CallersPath) for one in paths)


def test_commands_with_paths_are_the_known_ones():
    found = {
        (name, one.name)
        for name, command in EVERY_COMMAND.items()
        for one in parameters(command)
        if isinstance(one.type, CallersPath)
    }
    assert found == {("seed", "sources"), ("serve", "url_file"), ("bench", "files")}


@pytest.mark.parametrize(
    ("folder", "given", "meant"),
    [
        (None, "my data", "my data"),
        ("/somewhere", "my data", "/somewhere/my data"),
        ("/somewhere", "../there/a.csv", "/somewhere/../there/a.csv"),
        ("/somewhere", "/a.csv", "/a.csv"),
    ],
)
def test_path_is_resolved(
    folder: str | None, given: str, meant: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv(CALLERS_FOLDER, raising=False)
    if folder is not None:
        monkeypatch.setenv(CALLERS_FOLDER, folder)
    assert CallersPath().convert(given, None, None) == Path(meant)


def test_seed_names_the_path_it_did_not_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "data/src").mkdir(parents=True)
    monkeypatch.setenv(CALLERS_FOLDER, str(tmp_path))
    found = CliRunner().invoke(commands, ["seed", "data/src"])
    assert f"{tmp_path}/data/src contains no files" in str(found.exception)


def collected(folder: Path, *words: str) -> list[str]:
    """The tests that `./run.sh test` would run when it is called in the folder."""
    command = [sys.executable, "-m", "pytest", "-p", "tests.callers_paths", "--noconftest"]
    found = subprocess.run(
        [*command, "--collect-only", "-q", "-p", "no:cacheprovider", *words],
        cwd=ROOT,
        env=os.environ | {CALLERS_FOLDER: str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return [line for line in found.stdout.splitlines() if "::" in line]


def test_paths_of_tests_count_from_the_callers_folder():
    everything = collected(ROOT / "tests/unit", "test_keys.py")
    assert len(everything) > 1
    assert all(line.startswith("tests/unit/test_keys.py::") for line in everything)
    first = everything[0]
    assert collected(ROOT.parent, f"{ROOT.name}/{first}") == [first]


def test_pytest_words_that_are_also_file_names_stay_unchanged(tmp_path: Path):
    (tmp_path / "keys").mkdir()
    paths = ["-k", "keys", str(ROOT / "tests/unit/test_keys.py")]
    assert collected(tmp_path, *paths) == collected(ROOT, *paths)
