"""Some vague words are not used in the product, its names and its documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs",
    "etl",
    "api",
    "run.sh",
    ".env.example",
)
SUFFIXES = {".css", ".html", ".js", ".json", ".md", ".mako", ".py", ".sql", ".svg"}
BANNED = re.compile(
    r"(?<![A-Za-z])(nobody|somebody|whoever|everybody|told|untold|mend(s|ed|ing)?|anew|afresh"
    r"|for ever|all the same)(?![A-Za-z])",
    re.IGNORECASE,
)
# The Unix account. This list may only shrink.
ALLOWED = {("etl/local/accounts.py", "nobody")}


def files() -> Iterator[Path]:
    for place in PLACES:
        path = ROOT / place
        if path.is_dir():
            yield from (one for one in sorted(path.rglob("*")) if one.suffix in SUFFIXES)
        else:
            yield path


def test_no_banned_word_is_used():
    found = []
    for path in files():
        name = path.relative_to(ROOT).as_posix()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
            found += [
                f"{name}:{number}: {match[0]}: {line.strip()[:80]}"
                for match in BANNED.finditer(line)
                if (name, match[0].lower()) not in ALLOWED
            ]
    assert not found, "\n" + "\n".join(found)
