"""Run the examples of documents as printed, in a shell next to `up` in an empty folder."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from etl.local.object_store import EmbeddedObjectStore
from etl.local.ports import LOOPBACK, any_free_port
from etl.local.record import running_record
from etl.runtime.program import PROGRAM
from tests.conftest import wait_until
from tests.processes import ROOT

# Stand-ins for psql and aws if this machine lacks them; they use the drivers.
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
elif verb == "mb": store.make_bucket(bucket)
elif verb == "rm": store.remove_object(bucket, key)
else: print(*(entry.object_name for entry in store.list_objects(bucket)), sep="\\n")
"""
# Makes the change of a diff, which has no line numbers.
CHANGE = """
import sys
from pathlib import Path
path, lines = Path("datasets.toml"), sys.stdin.read().splitlines()
old, new = ("\\n".join(line[1:] for line in lines if line[0] in kept) for kept in (" -", " +"))
text = path.read_text("utf-8")
assert text.count(old) == 1, text
path.write_text(text.replace(old, new), "utf-8")
"""

# In examples after which a run may find something: changes of the store and of declarations.
CHANGES = re.compile(r" -[TX] |aws|seed|run\.sh run|apply|replay|datasets\.toml|make-change")


@dataclass(frozen=True)
class Shell:
    """A shell in the folder where `up` runs."""

    folder: Path
    up_output: str

    def run(self, *lines: str) -> str:
        """Run the lines and return their standard output."""
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
    """Create run.sh, which uses this installation, and stand-ins for missing programs."""
    run = f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m etl "$@"\n'
    make_program(folder / "run.sh", run)
    for name, text in (("psql", PSQL), ("aws", AWS), ("make-change", CHANGE)):
        if shutil.which(name) is None:
            make_program(folder / "bin" / name, f"#!{sys.executable}\n{text}")


@contextmanager
def shell_next_to_up() -> Iterator[Shell]:
    """A shell next to `up`, whose object store finds its usual port taken."""
    with (
        tempfile.TemporaryDirectory(prefix="bucketline-readme-") as made,
        socket.socket() as held,
    ):
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # another process has it
            held.bind((LOOPBACK, EmbeddedObjectStore.usual_port))
            held.listen()
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
        printed = output.read_text("utf-8")
        assert process.poll() is None, printed
        try:
            yield Shell(folder, printed)
        finally:
            process.send_signal(signal.SIGINT)
            ended = process.wait(60)
            wait_until(lambda: running_record(folder / ".local") is None)
        assert ended == 0


def blocks(text: str) -> list[tuple[str, str]]:
    """The kind and the text of each example that names its kind."""
    found = re.findall(r"^( *)```(\w+)\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return [
        (kind, re.sub(f"^{indent}", "", block, flags=re.MULTILINE)) for indent, kind, block in found
    ]


@dataclass(frozen=True)
class Step:
    """One shell example of a document, and the output printed below it."""

    lines: str
    output: str


def steps(document: str, heading: str) -> list[Step]:
    """The shell examples below a heading that follow `up`, each with its output, if any."""
    text = (ROOT / document).read_text("utf-8").split(f"\n## {heading}\n")[1]
    if document == "README.md":
        text = text.split("\n## ")[0]
    found: list[Step] = []
    for kind, block in blocks(text):
        if kind == "sh":
            found.append(Step(block, ""))
        else:
            found[-1] = Step(found[-1].lines, found[-1].output + block)
    return found


def guide_steps(document: str) -> list[Step]:
    """The examples of a how-to guide.

    Its TOML is what the reader adds to datasets.toml; a diff is what the reader changes there.
    """
    found: list[Step] = []
    for kind, block in blocks((ROOT / document).read_text("utf-8")):
        if kind == "toml":
            found.append(Step(f"cat >> datasets.toml <<'TOML'\n\n{block}TOML\n", ""))
        elif kind == "diff":
            found.append(Step(f"make-change <<'DIFF'\n{block}DIFF\n", ""))
        elif kind == "sh":
            found.append(Step(block, ""))
        else:
            found[-1] = Step(found[-1].lines, found[-1].output + block)
    return found


def pattern(expected: str) -> str:
    """A regular expression for an output: numbers may differ, and … is any text."""
    return re.sub(r"\d+", r"\\d+", re.escape(" ".join(expected.split()))).replace("…", ".*")


def expect(expected: str, output: str) -> None:
    """Check that the output of a program is what the document shows."""
    assert re.search(pattern(expected), " ".join(output.split()), re.DOTALL), (expected, output)


def run_steps(shell: Shell, steps: list[Step]) -> None:
    """Run the examples in order. What an example changes is loaded when the next one runs."""
    environment = shell.run("./run.sh env")
    loaded = 'curl -sS -X POST "$API_URL/data?wait=30" >loaded'
    for step in steps:
        output = shell.run(environment, step.lines)
        expect(step.output, output)
        if CHANGES.search(step.lines):
            shell.run(environment, loaded)
