"""Completion in real shells: of commands, options, values and datasets, through run.sh or not."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner

from etl.cli.completion import VARIABLE
from etl.cli.main import commands
from etl.runtime.program import PROGRAM

ROOT = Path(__file__).parents[2]
BASH, ZSH, FISH = (shutil.which(name) or "" for name in ("bash", "zsh", "fish"))
DECLARED = """
version = 1

[datasets.orders]
include = ["orders/*.csv"]

[datasets.orders.schema]
fields = [{ name = "id", type = "string" }]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with run.sh, whose program is this one, and a file that declares orders."""
    folder = tmp_path / "a project"
    python = folder / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    shutil.copy(ROOT / "run.sh", folder)
    (folder / "datasets.toml").write_text(DECLARED)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return folder


def environment(**extra: str) -> dict[str, str]:
    home = os.environ.get("HOME", "/")
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": home, **extra}


def script(shell: str, folder: Path, program: str) -> Path:
    """The printed script, in a file."""
    path = folder / f"completion.{shell}"
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setenv(PROGRAM, program)
        path.write_text(CliRunner().invoke(commands, ["completion", shell]).stdout)
    return path


def in_bash(
    folder: Path, *words: str, program: str = "./run.sh", cwd: Path | None = None
) -> list[str]:
    """What bash offers for the last word."""
    source = script("bash", folder, program)
    function = f"_{Path(program).name.replace('.', '_')}_completion"
    quoted = " ".join(f"'{word}'" for word in (program, *words))
    lines = (
        f"source '{source}'; compopt() {{ echo \"files: $2\"; }}",
        f"COMP_WORDS=({quoted}) COMP_CWORD={len(words)}",
        f"{function} '{program}'; printf '%s\\n' \"${{COMPREPLY[@]}}\" | grep .",
    )
    done = subprocess.run(
        [BASH, "--norc", "-c", "\n".join(lines)],
        cwd=cwd or folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr, done.stderr
    return done.stdout.split("\n")[:-1]


@pytest.fixture
def offered(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What the program offers for the last word, asked as a shell asks it."""
    monkeypatch.chdir(project)

    def ask(*words: str, program: str = "./run.sh") -> list[str]:
        monkeypatch.setenv(PROGRAM, program)
        completing = BashComplete(commands, {}, program, VARIABLE)
        found = completing.get_completions(list(words[:-1]), words[-1])
        return [one.value if one.type == "plain" else one.type for one in found]

    return ask


def test_commands_options_and_values_are_offered(offered: Callable[..., list[str]]):
    assert offered("ru") == ["run", "runs"]
    assert offered("runs", "list", "--s") == ["--state"]
    assert offered("runs", "list", "--state", "can") == ["canceled"]
    assert offered("completion", "") == ["bash", "zsh", "fish"]
    assert offered("check", "a") == ["file"]
    assert offered("seed", "a") == ["file"]


def test_datasets_of_the_file_are_offered(offered: Callable[..., list[str]], project: Path):
    assert offered("rows", "") == ["orders"]
    assert offered("run", "--dataset", "o") == ["orders"]
    (project / "datasets.toml").write_text("broken")
    assert offered("rows", "") == ["users"]


def test_commands_of_the_launcher_are_offered_through_it(offered: Callable[..., list[str]]):
    assert offered("te") == ["test"]
    assert offered("te", program="bucketline") == []


def test_bash_completes_what_run_sh_takes(project: Path):
    assert in_bash(project, "ru") == ["run", "runs"]
    assert in_bash(project, "check", "a") == ["files: default"]


def test_bash_asks_no_other_run_sh(project: Path, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "run.sh").write_text("#!/bin/sh\ntouch was-called\n")
    (other / "run.sh").chmod(0o755)
    assert in_bash(project, "ru", cwd=other) == []
    assert not (other / "was-called").exists()


def test_before_anything_is_installed_nothing_is_offered(project: Path):
    (project / ".venv/bin/python").unlink()
    asked = {VARIABLE: "bash_complete", "COMP_WORDS": "./run.sh ru", "COMP_CWORD": "1"}
    done = subprocess.run(
        ["./run.sh"], cwd=project, env=environment(**asked), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with the installed program on PATH, and a datasets file."""
    program = tmp_path / "bin" / "bucketline"
    program.parent.mkdir()
    main = "from etl.runtime.program import PROGRAM; import os; os.environ[PROGRAM] = 'bucketline'"
    program.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "{main}; from etl.cli.main import main; main()"\n'
    )
    program.chmod(0o755)
    (tmp_path / "datasets.toml").write_text(DECLARED)
    return tmp_path


def test_bash_completes_the_installed_program(installed: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", f"{installed / 'bin'}:{os.environ['PATH']}")
    assert in_bash(installed, "ru", program="bucketline") == ["run", "runs"]


# -- shells in a terminal


@contextmanager
def terminal(words: list[str], folder: Path) -> Iterator[int]:
    """A shell in a terminal of its own; yields the other end."""
    pid, screen = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(words[0], words, environment(TERM="dumb", HOME=str(folder)))  # noqa: S606
    try:
        yield screen
    finally:
        os.close(screen)
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def read_until(screen: int, expected: str, seconds: float = 30) -> str:
    seen, deadline = "", time.monotonic() + seconds
    while expected not in seen:
        ready, _, _ = select.select([screen], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"no {expected!r} in {seen!r}"
        seen += os.read(screen, 65_536).decode("utf-8", "replace")
    return seen


def test_bash_completes_a_word_that_is_typed(project: Path):
    source = script("bash", project, "./run.sh")
    with terminal([BASH, "--norc", "-i"], project) as screen:
        os.write(screen, f"source '{source}'; echo rea''dy\n".encode())
        read_until(screen, "ready")
        os.write(screen, b"./run.sh stat\t--js\t\n")
        read_until(screen, "./run.sh status --json ")


@pytest.mark.skipif(not ZSH, reason="zsh is not installed")
def test_zsh_completes_a_word_that_is_typed(project: Path):
    source = script("zsh", project, "./run.sh")
    with terminal([ZSH, "-f", "-i"], project) as screen:
        os.write(screen, f"autoload -U compinit; compinit -D; source '{source}'\n".encode())
        os.write(screen, b"echo rea''dy\n")
        read_until(screen, "ready\r\n")
        os.write(screen, b"./run.sh stat\t")
        read_until(screen, "./run.sh status ")
        os.write(screen, b"\x15./run.sh rows or\t")
        read_until(screen, "./run.sh rows orders ")


@pytest.mark.skipif(not FISH, reason="fish is not installed")
def test_fish_completes_what_is_typed(project: Path):
    source = script("fish", project, "./run.sh")
    asked = [f"complete -C '{typed}'" for typed in ("./run.sh stat", "./run.sh rows ")]
    done = subprocess.run(
        [FISH, "--no-config", "-c", "; ".join([f"source '{source}'", *asked])],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["status", "orders"]
