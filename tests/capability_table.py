"""The table of docs/reference/object-stores.md, from what both stores answer.

`python -m tests.capability_table` starts both, tries them and writes the table.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench import seaweed
from etl import local
from etl.model.capabilities import Capability, Finding
from etl.settings import Settings
from etl.storage.client import ObjectStore
from etl.storage.probe import StoreProbe
from tests.stores import EMBEDDED, SEAWEEDFS

DOCUMENT = Path(__file__).parents[1] / "docs" / "reference" / "object-stores.md"
TITLES = {EMBEDDED: "Embedded", SEAWEEDFS: "SeaweedFS"}
BEGIN, END = "<!-- begin capabilities", "<!-- end capabilities -->"


def cell(found: Finding) -> str:
    """The answer, and what was seen."""
    return f"{found.answer}: {found.detail}" if found.detail else found.answer.value


def table(columns: Mapping[str, Iterable[Finding]]) -> str:
    """The table, with a column for each store."""
    titles = ["Capability", *(TITLES[name] for name in columns), "Without it"]
    lines = [titles, ["---"] * len(titles)]
    cells = [[cell(one) for one in findings] for findings in columns.values()]
    for capability, answers in zip(Capability, zip(*cells, strict=True), strict=True):
        meaning = f"`{capability}`: {capability.meaning}"
        lines.append([meaning, *answers, capability.without])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def documented(name: str) -> list[str]:
    """The column of a store in the document."""
    lines = [line for line in DOCUMENT.read_text("utf-8").splitlines() if line.startswith("| ")]
    place = [one.strip() for one in lines[0].split("|")].index(TITLES[name])
    return [line.split(" | ")[place - 1] for line in lines[2:]]


def meanings() -> list[tuple[str, str]]:
    """The first and the last column of the document."""
    lines = [line for line in DOCUMENT.read_text("utf-8").splitlines() if line.startswith("| ")]
    rows = [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in lines[2:]]
    return [(row[0], row[-1]) for row in rows]


def _tried(settings: Settings) -> list[Finding]:
    for bucket in settings.buckets:
        ObjectStore(settings).ensure_bucket(bucket)
    return StoreProbe(settings).run().findings


def _write() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        settings = Settings(_env_file=None, local_dir=Path(folder) / "local")
        with local.running(settings) as filled:
            embedded = _tried(filled)
        with seaweed.running(settings, Path(folder) / "seaweedfs") as filled:
            second = _tried(filled)
    text = DOCUMENT.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    mark, _, rest = rest.partition("\n")
    after = rest.partition(END)[2]
    made = table({EMBEDDED: embedded, SEAWEEDFS: second})
    DOCUMENT.write_text(f"{before}{BEGIN}{mark}\n\n{made}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    _write()
