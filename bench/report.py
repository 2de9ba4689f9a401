"""Write docs/explanation/performance.md and its chart from saved results."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.figures import Figure, load
from bench.show import NAMES, markdown, number, on_store, summary

if TYPE_CHECKING:
    from collections.abc import Sequence

Result = dict[str, Any]

DOCS = Path(__file__).parents[1] / "docs" / "explanation"
PAGE = DOCS / "performance.md"
CHART = DOCS / "performance.svg"
# Only the text between these lines is replaced.
BEGIN, END = "<!-- figures: ./run.sh bench --report -->", "<!-- end of figures -->"

WIDTH, LEFT, LINE, BAR = 900, 390, 34, 11
SCALE_WIDTH = WIDTH - LEFT - 150
VALUE, BASELINE, INK, TARGET = "#1a7f5a", "#9aa5b1", "#24292f", "#c0392b"


def write_report(paths: Sequence[Path]) -> None:
    """Write the page's tables and the chart; if several files have a result, the last counts."""
    results = [load(path) for path in paths]
    figures = _latest(results)
    CHART.write_text(chart(figures), "utf-8")
    text = PAGE.read_text("utf-8") if PAGE.exists() else f"# Performance\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{_section(results, figures)}\n{END}{after}", "utf-8")


def _latest(results: Sequence[Result]) -> list[Figure]:
    """Each result once, from the last file that has it."""
    found: dict[tuple[str, ...], Figure] = {}
    for result in results:
        for item in result["figures"]:
            found[item.store, item.scenario, item.what, item.baseline] = item
    order = {place: number for number, place in enumerate(dict.fromkeys(key[:2] for key in found))}
    return sorted(found.values(), key=lambda item: order[item.store, item.scenario])


def _section(results: Sequence[Result], figures: Sequence[Figure]) -> str:
    used = [result for result in results if _kept(result, figures)]
    machines = dict.fromkeys(_machine(result) for result in used)
    heads = [f"- {_measured(result, _kept(result, figures))}" for result in used]
    chart_line = "![Bucketline compared with baselines and targets](performance.svg)"
    return "\n".join(
        [*machines, "", *heads, "", summary(figures), "", chart_line, "", markdown(figures)]
    )


def _kept(result: Result, figures: Sequence[Figure]) -> list[Figure]:
    """The figures of a file that no later file has replaced."""
    wanted = {id(item) for item in figures}
    return [item for item in result["figures"] if id(item) in wanted]


def _machine(result: Result) -> str:
    facts, versions = result["machine"], result.get("versions", {})
    cpu, kernel = (f" {facts[name]}" if name in facts else "" for name in ("cpu", "kernel"))
    parts = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"{facts['cores']} cores{cpu}, {facts['memory_gb']} GB of memory, {facts['system']}{kernel}"
        f" {facts['architecture']}, Python {facts['python']}; servers, clients and baseline"
        f" tools on the same machine{f', with {parts}' if parts else ''}."
    )


def _measured(result: Result, kept: Sequence[Figure]) -> str:
    facts = result["machine"]
    parts = dict.fromkeys((NAMES[item.store], item.scenario) for item in kept)
    stores = dict.fromkeys(store for store, _ in parts)
    names = "; ".join(
        f"{', '.join(f'`{name}`' for on, name in parts if on == store)} on {store}"
        for store in stores
    )
    repeats = max((len(item.samples) for item in kept), default=0)
    return (
        f"{names}: measured on {result['date']}, size {result['mode']}, medians of up to {repeats};"
        f" load average {facts['load_at_start']} at the start, {facts['load_at_end']} at the end."
    )


def chart(figures: Sequence[Figure]) -> str:
    """Two bars per result, Bucketline's above the baseline, and the target as a line."""
    shown = [item for item in figures if item.value is not None and item.baseline_value]
    height = LINE * (len(shown) + 1) + 10
    body = "\n".join(_bars(item, LINE * place + 40) for place, item in enumerate(shown))
    legend = _text(LEFT, 20, "green: Bucketline · gray: baseline · red: target")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
        f' viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n{legend}\n{body}\n</svg>\n'
    )


def _bars(item: Figure, top: int) -> str:
    """Two bars, scaled so that the longest of both and the target fills the width."""
    value, baseline, bound = item.value or 0.0, item.baseline_value or 1.0, item.bound
    unit = SCALE_WIDTH / max(value, baseline, bound or 0.0)
    parts = [
        _text(LEFT - 8, top + 9, item.what + on_store(item), anchor="end"),
        _text(LEFT - 8, top + 21, item.baseline, anchor="end", color="#57606a"),
        _bar(top, value * unit, VALUE),
        _bar(top + BAR + 1, baseline * unit, BASELINE),
        _text(LEFT + value * unit + 5, top + 9, number(value, item.unit)),
        _text(LEFT + baseline * unit + 5, top + 21, number(baseline, item.unit), color="#57606a"),
    ]
    if bound is not None:
        place = LEFT + bound * unit
        parts.append(
            f'<line x1="{place:.1f}" x2="{place:.1f}" y1="{top - 2}" y2="{top + BAR + 1}"'
            f' stroke="{TARGET}" stroke-width="2"/>'
        )
    return "\n".join(parts)


def _bar(top: int, width: float, color: str) -> str:
    return f'<rect x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR}" fill="{color}"/>'


def _text(left: float, top: int, words: str, *, anchor: str = "start", color: str = INK) -> str:
    return (
        f'<text x="{left:.1f}" y="{top}" text-anchor="{anchor}" fill="{color}">'
        f"{escape(words)}</text>"
    )
