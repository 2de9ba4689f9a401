"""The tutorial of declared tables, and the programs that read them, run as printed."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator

import pytest

from tests.documents import Shell, run_steps, shell_next_to_up, steps
from tests.processes import ROOT

PROGRAMS = re.findall(
    r"^```python\n(.*?)^```",
    (ROOT / "docs/how-to/analyze-with-python.md").read_text("utf-8"),
    re.DOTALL | re.MULTILINE,
)


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    """A shell in which the table of the tutorial exists."""
    with shell_next_to_up() as shell:
        _, *others = steps("docs/tutorial/your-own-table.md", "Start")
        assert len(others) == 15
        run_steps(shell, others)
        yield shell


def test_examples_of_the_tutorial_print_what_it_shows(shell: Shell):
    assert (shell.folder / "datasets.toml").exists()


@pytest.mark.parametrize(
    ("number", "expected"), list(enumerate(["1421.9", "1389.40", "1389.40", "1389.40", "4"]))
)
def test_programs_that_read_the_table_print_its_sums(shell: Shell, number: int, expected: str):
    program = f"{shlex.quote(sys.executable)} -c {shlex.quote(PROGRAMS[number])}"
    assert expected in shell.run(shell.run("./run.sh env"), program)


def test_all_programs_of_the_page_are_run():
    assert len(PROGRAMS) == 5
