"""The README lists exactly the commands, settings, routes and codes that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
MOST_LINES = 120
MOST_WORDS = 450


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub creates for a document's headings."""
    found: dict[str, int] = {}
    for heading in re.findall(
        r"^#+ (.+)$", without_code(document.read_text("utf-8")), re.MULTILINE
    ):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
        if found[slug]:
            found[f"{slug}-{found[slug]}"] = 0
    return set(found)


def links() -> list[tuple[Path, str]]:
    """Every link to a file of the repository, by document."""
    found = []
    for document in DOCUMENTS:
        text = without_code(document.read_text("utf-8"))
        text += "\n" + "\n".join(re.findall(r"^\[[^]]+\]: \S+$", text, re.MULTILINE))
        for target in re.findall(r"\]\(([^)\s]+)\)|^\[[^]]+\]: (\S+)$", text, re.MULTILINE):
            link = target[0] or target[1]
            if not re.match(r"[a-z]+:", link):
                found.append((document, link))
    return found


@pytest.mark.parametrize(
    ("document", "link"), links(), ids=lambda value: str(value).removeprefix(f"{ROOT}/")
)
def test_every_relative_link_and_anchor_exists(document: Path, link: str):
    path, _, anchor = link.partition("#")
    target = (document.parent / path).resolve() if path else document
    assert target.exists()
    assert target.is_relative_to(ROOT)
    if anchor:
        assert anchor in anchors(target)


def test_readme_is_short():
    text = README.read_text("utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert len(without_code(text).split()) <= MOST_WORDS


def test_every_document_is_in_the_index():
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link).resolve() for document, link in links() if document == index}
    assert linked == {path for path in DOCUMENTS if path.is_relative_to(ROOT / "docs")} - {index}


def test_code_names_only_documents_that_exist():
    for folder in ("etl", "api", "bench", "tests"):
        for file in (ROOT / folder).rglob("*.py"):
            if ".venv" in file.parts:
                continue
            for path in re.findall(r"\bdocs/[\w./-]+\.(?:md|json|svg)\b", file.read_text("utf-8")):
                assert (ROOT / path).exists(), f"{file.relative_to(ROOT)} names {path}"
    for name in (".env.example", "docker-compose.yml", "run.sh", "api/static/docs.html"):
        for path in re.findall(r"\bdocs/[\w./-]+\.md\b", (ROOT / name).read_text("utf-8")):
            assert (ROOT / path).exists(), f"{name} names {path}"
