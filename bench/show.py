"""The figures as a table on the terminal and as one in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.figures import Figure

COLUMNS = ("what", "ours", "beside", "its", "ratio", "limit", "")
_VERDICTS = {True: "pass", False: "miss", None: ""}
_STYLES = {True: "green", False: "red", None: ""}
_LARGE = 100


def number(value: float | None, unit: str) -> str:
    """Three digits that count, and the unit."""
    if value is None:
        return "–"
    digits = 0 if value >= _LARGE else 1 if value >= _LARGE / 10 else 2
    return f"{value:,.{digits}f} {unit}"


def ratio(item: Figure) -> str:
    """Ours over the rival's."""
    if item.value is None or not item.rival_value:
        return ""
    return f"{item.value / item.rival_value:.2f}"


def cells(item: Figure) -> tuple[str, ...]:
    """One line of the table."""
    return (
        item.what,
        number(item.value, item.unit),
        item.rival,
        number(item.rival_value, item.unit) if item.rival else "",
        ratio(item),
        item.says,
        _VERDICTS[item.passed],
    )


def table(figures: Sequence[Figure]) -> Table:
    """The table for the terminal."""
    shown = Table(*COLUMNS, box=None)
    for item in figures:
        *rest, verdict = cells(item)
        style = _STYLES[item.passed]
        shown.add_row(*rest, f"[{style}]{verdict}[/{style}]" if style else verdict)
    return shown


def line(item: Figure) -> str:
    """One figure in one line, note and all."""
    return "  ".join(filter(None, (*cells(item), item.note)))


def markdown(figures: Sequence[Figure]) -> str:
    """The table for a document, in sections by scenario, notes below."""
    lines = []
    for scenario in dict.fromkeys(item.scenario for item in figures):
        some = [item for item in figures if item.scenario == scenario]
        lines += [f"### {scenario}", "", _row(COLUMNS), _row(["---"] * len(COLUMNS))]
        lines += [_row(cells(item)) for item in some]
        notes = [f"- {item.what}{_beside(item)}: {item.note}" for item in some if item.note]
        lines += ["", *notes, ""] if notes else [""]
    return "\n".join(lines).strip() + "\n"


def _beside(item: Figure) -> str:
    return f" (beside {item.rival})" if item.rival else ""


def _row(values: Sequence[str]) -> str:
    return f"| {' | '.join(value.replace('|', '/') for value in values)} |"
