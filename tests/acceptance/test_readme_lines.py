"""The lines that README.md and `up` print to try out, run as printed in an empty folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from etl.local.ports import any_free_port
from etl.local.record import living_record
from etl.runtime.program import PROGRAM
from tests.conftest import wait_until
from tests.processes import ROOT

README = (ROOT / "README.md").read_text("utf-8")

# Stand-ins for programs that this machine may lack: the same servers, through their drivers.
PSQL = """
import sys, psycopg2
connection = psycopg2.connect("")
cursor = connection.cursor()
cursor.execute(sys.argv[sys.argv.index("-c") + 1])
for row in cursor: print(*row, sep=" | ")
"""
AWS = """
import os, sys
from urllib.parse import urlsplit
from minio import Minio
endpoint = urlsplit(sys.argv[sys.argv.index("--endpoint-url") + 1])
store = Minio(endpoint.netloc, os.environ["AWS_ACCESS_KEY_ID"],
    os.environ["AWS_SECRET_ACCESS_KEY"], secure=False)
verb, *words = sys.argv[sys.argv.index("s3") + 1:]
bucket, _, key = words[-1].removeprefix("s3://").partition("/")
if verb == "cp": store.fput_object(bucket, key, words[0])
else: print(*(entry.object_name for entry in store.list_objects(bucket)), sep="\\n")
"""


@dataclass(frozen=True)
class Shell:
    """A shell of a new user in the folder where `up` runs."""

    folder: Path
    said_by_up: str

    def run(self, *lines: str) -> str:
        """Run the lines one after the other; their standard output."""
        done = subprocess.run(
            ["/bin/sh", "-eu", "-c", "\n".join(lines)],
            cwd=self.folder,
            env={"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "COLUMNS": "100"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def make_program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(0o755)


def make_programs(folder: Path) -> None:
    """Make run.sh, without an installation of its own, and whatever this machine lacks."""
    run = f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m etl "$@"\n'
    make_program(folder / "run.sh", run)
    for name, text in (("psql", PSQL), ("aws", AWS)):
        if shutil.which(name) is None:
            make_program(folder / "bin" / name, f"#!{sys.executable}\n{text}")


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    with tempfile.TemporaryDirectory(prefix="bucketline-readme-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        make_programs(folder)
        output = folder / "output"
        with output.open("wb") as file:
            process = subprocess.Popen(
                ["./run.sh", "up"],
                cwd=folder,
                env={
                    "PATH": os.environ["PATH"],
                    "API_PORT": str(any_free_port()),
                    PROGRAM: "./run.sh",
                },
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        wait_until(
            lambda: process.poll() is not None or "Ctrl-C ends" in output.read_text(), seconds=90
        )
        said = output.read_text("utf-8")
        assert process.poll() is None, said
        yield Shell(folder, said)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        wait_until(lambda: living_record(folder / ".local") is None)


def blocks() -> list[list[str]]:
    """The lines of README's shell examples that follow `up`."""
    section = README.split("## Two commands\n")[1].split("\n## ")[0]
    _, *others = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return [block.splitlines() for block in others]


def test_lines_of_the_readme_work_as_printed(shell: Shell):
    first, second = blocks()
    environment = first[0]
    shell.run(*first[:-1])
    user = json.loads(shell.run(environment, first[-1]))
    assert (user["first_name"], user["last_name"]) == ("Ada", "Lovelace")
    assert len(re.findall(r"\d{4}-\d\d-\d\d", shell.run(environment, second[0]))) == 3
    shell.run(environment, "rm my.csv", first[3], *second)
    listed = shell.run(environment, 'aws --endpoint-url "$S3_ENDPOINT" s3 ls s3://src-data')
    assert "my.csv" in listed


def test_lines_that_up_prints_work_as_printed(shell: Shell):
    lines = re.findall(r"^  (curl .*|eval .*|psql .*|aws .*)$", shell.said_by_up, re.MULTILINE)
    assert [line.split()[0] for line in lines] == ["curl", "curl", "eval", "psql", "aws"]
    said = shell.run(*lines)
    assert "1000.csv" in said
    assert '"state": "succeeded"' in said or '"state":"succeeded"' in said
    assert "WHERE retired_at IS NULL" in lines[3]
    assert "Changes in src-data arrive as events (the scheduler listens" in shell.said_by_up
