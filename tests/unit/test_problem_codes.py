"""docs/reference/problem-codes.md and the closed list of codes are equal."""

from __future__ import annotations

import re
from pathlib import Path

from etl.model.problem_help import PROBLEM_HELP
from etl.model.values import ProblemCode

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "problem-codes.md"


def sections() -> dict[str, str]:
    """The text below each heading that is a code."""
    parts = re.split(r"^### `(.+)`$", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_problem_codes_match_their_documentation():
    assert list(sections()) == [code.value for code in ProblemCode]


def test_every_code_has_its_meaning_an_example_and_a_remedy():
    for code, section in sections().items():
        for part in ("**Means.**", "**Example.**", "**Do.**"):
            assert section.count(part) == 1, (code, part)


def paragraph(section: str, label: str) -> str:
    """The paragraph that begins with a label, as plain text."""
    (_, text) = section.split(f"**{label}.** ")
    one_line = " ".join(text.split("\n\n")[0].split())
    return re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", one_line)


def test_the_dashboard_explains_codes_as_their_documentation_does():
    for code, section in sections().items():
        shown = PROBLEM_HELP[ProblemCode(code)]
        assert shown.means == paragraph(section, "Means"), code
        assert shown.remedy == paragraph(section, "Do"), code
