"""The results as a table for the terminal and for Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from bench.stack import EMBEDDED, SEAWEEDFS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.figures import Figure

NAMES = {EMBEDDED: "JuiceFS, embedded", SEAWEEDFS: "SeaweedFS"}
COLUMNS = ("scenario", "Bucketline", "compared with", "baseline", "ratio", "target", "")
_STYLES = {True: "green", False: "red", None: ""}
_LARGE = 100


def number(value: float | None, unit: str) -> str:
    """Three significant digits and the unit."""
    if value is None:
        return "–"
    digits = 0 if value >= _LARGE else 1 if value >= _LARGE / 10 else 2
    return f"{value:,.{digits}f} {unit}"


def ratio(item: Figure) -> str:
    """Bucketline's value divided by the baseline."""
    if item.value is None or not item.baseline_value:
        return ""
    return f"{item.value / item.baseline_value:.2f}"


def target(item: Figure) -> str:
    """The target, and its value if it depends on a baseline."""
    if not item.says or not item.baseline or item.bound is None:
        return item.says
    return f"{item.says} = {number(item.bound, item.unit)}"


def verdict(item: Figure) -> str:
    """Whether the target is met, or by how much it is missed."""
    if item.passed is None or item.value is None or not item.bound:
        return ""
    return "pass" if item.passed else f"miss, {item.value / item.bound - 1:+.0%}"


def cells(item: Figure) -> tuple[str, ...]:
    """One line of the table."""
    return (
        item.what,
        number(item.value, item.unit),
        item.baseline,
        number(item.baseline_value, item.unit) if item.baseline else "",
        ratio(item),
        target(item),
        verdict(item),
    )


def table(figures: Sequence[Figure]) -> Table:
    """The table for the terminal."""
    shown = Table(*COLUMNS, box=None)
    for item in figures:
        what, *rest, last = (escape(cell) for cell in cells(item))
        style = _STYLES[item.passed]
        shown.add_row(what + on_store(item), *rest, f"[{style}]{last}[/{style}]" if style else last)
    return shown


def on_store(item: Figure) -> str:
    """The object store, unless it is the embedded one."""
    return "" if item.store == EMBEDDED else f" · {NAMES[item.store]}"


def summary(figures: Sequence[Figure]) -> str:
    """How many targets are met, and which are missed."""
    held = [item for item in figures if item.passed is not None]
    missed = [item for item in held if not item.passed]
    lines = [f"{len(held) - len(missed)} of {len(held)} targets are met."]
    lines += [f"- missed: {item.what}{on_store(item)}{_compared(item)}" for item in missed]
    return "\n".join(lines)


def line(item: Figure) -> str:
    """One result in one line, with its note."""
    return "  ".join(filter(None, (*cells(item), item.note)))


def markdown(figures: Sequence[Figure]) -> str:
    """The tables for a document, one section per scenario, with notes."""
    lines = []
    for scenario, store in dict.fromkeys((item.scenario, item.store) for item in figures):
        some = [item for item in figures if (item.scenario, item.store) == (scenario, store)]
        lines += [
            f"### {scenario} · {NAMES[store]}",
            "",
            _row(COLUMNS),
            _row(["---"] * len(COLUMNS)),
        ]
        lines += [_row(cells(item)) for item in some]
        notes = [f"- {item.what}{_compared(item)}: {item.note}" for item in some if item.note]
        lines += ["", *notes, ""] if notes else [""]
    return "\n".join(lines).strip() + "\n"


def _compared(item: Figure) -> str:
    return f" (compared with {item.baseline})" if item.baseline else ""


def _row(values: Sequence[str]) -> str:
    return f"| {' | '.join(value.replace('|', '/') for value in values)} |"
