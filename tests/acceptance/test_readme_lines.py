"""The lines that README.md and `up` print to try out, run as printed in an empty folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from etl.local.record import running_record
from tests.documents import Shell, expect, run_steps, shell_next_to_up, steps


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    with shell_next_to_up() as shell:
        yield shell


def test_examples_of_the_readme_print_what_it_shows(shell: Shell):
    started, *others = steps("README.md", "Quick start")
    for line in started.output.splitlines():
        expect(line.replace("http://127.0.0.1:5000", "http://127.0.0.1:0"), shell.up_output)
    assert len(others) == 3
    run_steps(shell, others)
    user = json.loads(shell.run(shell.run("./run.sh env"), others[-1].lines))
    assert (user["first_name"], user["last_name"]) == ("Ada", "Lovelace")


def test_examples_of_the_tutorial_print_what_it_shows(shell: Shell):
    started, *others = steps("docs/tutorial/first-sync.md", "Start")
    for line in started.output.splitlines():
        expect(line, shell.up_output)
    assert len(others) == 14
    run_steps(shell, others)
    listed = shell.run(shell.run("./run.sh env"), others[-1].lines)
    assert len(re.findall(r"\d{4}-\d\d-\d\d .*src-data/", listed)) == 3
    assert "ada.csv" in listed
    assert "people.csv" not in listed


def test_lines_that_up_prints_work_as_printed(shell: Shell):
    lines = re.findall(r"^  (curl .*|eval .*|psql .*|aws .*)$", shell.up_output, re.MULTILINE)
    assert [line.split()[0] for line in lines] == ["curl", "curl", "eval", "psql", "aws"]
    printed = shell.run(*lines)
    assert "1000.csv" in printed
    assert '"state": "succeeded"' in printed or '"state":"succeeded"' in printed
    assert "SELECT * FROM users LIMIT 3" in lines[3]
    assert "Changes in src-data arrive as events (the scheduler listens" in shell.up_output


def test_up_prints_the_notes_of_the_embedded_servers(shell: Shell):
    record = running_record((shell.folder / ".local").resolve())
    assert record is not None
    assert record.notes  # the usual port of the object store is taken
    words = " ".join(shell.up_output.split())
    assert [note for note in record.notes if " ".join(note.split()) not in words] == []
