"""Bucketline names itself and its commands in messages as the user called it."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from rich.console import Console

from api.schemas.runs import Run, RunProblem
from etl.cli import render
from etl.cli.common import print_lines
from etl.model.errors import RunAlreadyActive
from etl.runtime.logs import set_up_logs
from etl.runtime.program import PROGRAM, named, program

ROOT = Path(__file__).parents[2]
TOO_LARGE = "Raise the limit and `./run.sh images --again`."


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROGRAM, "bucketline")


def test_program_is_the_module_unless_its_starter_names_it(monkeypatch: pytest.MonkeyPatch):
    assert program() == "bucketline"
    monkeypatch.setenv(PROGRAM, "")
    assert program() == "python -m etl"
    monkeypatch.delenv(PROGRAM)
    assert program() == "python -m etl"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("Run `./run.sh migrate`.", "Run `bucketline migrate`."),
        ("`./run.sh run`, or `./run.sh up`.", "`bucketline run`, or `bucketline up`."),
        ("Started by `./run.sh`.", "Started by `bucketline`."),
        ("There is no file ./run.sh migrate.", "There is no file ./run.sh migrate."),
        ("`./run.shx`", "`./run.shx`"),
    ],
)
def test_commands_in_backticks_are_named_and_data_is_not(written: str, expected: str):
    assert named(written) == expected


def test_program_name_is_taken_literally(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(PROGRAM, r"docker exec a\1 python -m etl")
    assert named("`./run.sh run`") == r"`docker exec a\1 python -m etl run`"


def test_errors_on_the_console_name_the_program():
    expected = io.StringIO()
    error = RunAlreadyActive("Another run is active.")
    print_lines(Console(file=expected, width=200), render.error(error))
    assert "(see `bucketline status`)" in expected.getvalue()


def test_log_hints_name_the_program(capsys: pytest.CaptureFixture[str]):
    set_up_logs("json")
    structlog.get_logger("test").warning("image skipped", hint=TOO_LARGE, key="`./run.sh run`")
    set_up_logs("console", quiet=True)
    line = json.loads(capsys.readouterr().err)
    assert line["hint"] == "Raise the limit and `bucketline images --again`."
    assert line["key"] == "`./run.sh run`"


def test_stored_hints_and_notes_name_the_program_in_responses():
    problem = RunProblem.model_validate(
        {
            "id": 1,
            "code": "image-too-large",
            "severity": "error",
            "bucket": "b",
            "key": "a.png",
            "dataset": "users",
            "etag": "e",
        }
        | {"line": None, "column": None, "value": "`./run.sh run`", "note": TOO_LARGE}
    )
    assert problem.note == "Raise the limit and `bucketline images --again`."
    assert problem.value == "`./run.sh run`"
    stored = RunAlreadyActive("Another run is active.").as_dict()
    run = Run.model_validate(
        {"id": 1, "trigger": "cli", "state": "failed", "counts": {}, "error": stored}
        | dict.fromkeys(("requested_at", "started_at", "finished_at"), "2026-01-02T03:04:05Z")
        | {"published_at": None, "step_seconds": {}, "step_rows": {}, "step_spans": {}}
    )
    expected = run.error or {}
    assert expected["hint"] == "Wait until it ends (see `bucketline status`), or pass --wait."
    assert expected["message"] == "Another run is active."


@pytest.mark.parametrize("name", ["./run.sh", "bucketline", ""])
def test_usage_and_usage_errors_name_the_program(name: str):
    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "etl", *words],
            cwd=ROOT,
            env={PROGRAM: name},
            capture_output=True,
            text=True,
            check=False,
        )

    expected = name or "python -m etl"
    assert call("run", "-h").stdout.startswith(f"Usage: {expected} run [OPTIONS]")
    assert f"'{expected} --help'" in call("fly").stderr


def literals(source: str) -> Iterator[str]:
    """Every string literal in the code that is not a docstring."""
    tree = ast.parse(source)
    documented = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in documented:
            yield str(node.value)


def test_commands_in_messages_use_the_program_name():
    sources = [path for folder in ("etl", "api") for path in (ROOT / folder).rglob("*.py")]
    unnamed = [
        (str(path.relative_to(ROOT)), text)
        for path in sources
        for text in literals(path.read_text("utf-8"))
        if "./run.sh " in named(text)
    ]
    assert unnamed == []
