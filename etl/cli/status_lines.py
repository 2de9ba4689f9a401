"""What `status` and `watch` print: the sentence, what needs attention, and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from etl.cli.render import indented, sentence
from etl.model.attention import AttentionKind
from etl.model.phrases import ShownTime, joined, span
from etl.model.sentences import OverviewState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from etl.cli.render import Lines
    from etl.model.attention import AttentionItem
    from etl.model.overview import DatasetLine, Overview

_STYLES = {
    OverviewState.DOWN: "red",
    OverviewState.LATE: "red",
    OverviewState.FAILED: "red",
    OverviewState.HELD: "magenta",
    OverviewState.ERRORS: "yellow",
    OverviewState.RUNNING: "blue",
}
_LABELS = {
    AttentionKind.OUTAGE: "Down",
    AttentionKind.LATE: "Late",
    AttentionKind.RUN_FAILED: "Failed",
    AttentionKind.DATASET_FAILED: "Failed",
    AttentionKind.DATASETS_FILE: "Failed",
    AttentionKind.NOT_PUBLISHED: "Failed",
    AttentionKind.HELD: "Held",
    AttentionKind.ERROR: "Error",
}
# The counts of rows in the table of runs, over all datasets; more do not fit into 80 columns.
_RUN_COUNTS = ("read", "loaded", "rejected", "retired")


def status(facts: Mapping[str, Any], found: Overview) -> Lines:
    """The overview, then the value of `etl.cli.status`, without what the overview has said."""
    lines = {
        **{name: text for name, text in _of_datasets(facts).items() if text},
        "objects": _objects(facts["objects"]),
        "images": _images(facts["images"]),
        "problems": _open_problems(facts["problems"]),
        "output": _output(facts["output"]),
    }
    columns = ("run", "trigger", "state", "started (UTC)", *_RUN_COUNTS)
    runs = Table(*columns, box=None)
    for run in facts["runs"]:
        runs.add_row(*map(str, _run_cells(run)))
    width = max(map(len, lines)) + 1
    return [
        *overview(found),
        Text(),
        *(sentence(f"{noun:{width}}{line}") for noun, line in lines.items()),
        Text(),
        runs,
    ]


def overview(found: Overview) -> Lines:
    """The sentence and its details, what needs attention, and a table of the datasets."""
    lines: Lines = [
        sentence(found.sentence.text(found.as_of), f"bold {_STYLES.get(found.state, 'green')}")
    ]
    if found.details:
        lines.append(sentence(joined(found.details).text(found.as_of)))
    if found.attention:
        lines += [Text(), Text(f"Needs attention: {found.attention_count:,}", "bold")]
        lines += [line for one in found.attention for line in _attention(one, found)]
        hidden = found.attention_count - len(found.attention)
        if hidden:
            more = f"  … and {hidden:,} more: `./run.sh problems` lists them."
            lines.append(sentence(more))
    if found.datasets:
        lines += [Text(), _datasets(found)]
    return lines


def _attention(one: AttentionItem, found: Overview) -> Lines:
    since = "" if one.since is None else f", since {ShownTime(one.since).text(found.as_of)}"
    place = "" if one.dataset is None else f"{one.dataset}: "
    first, *others = one.text.splitlines()
    first = first.removesuffix(".") if since else first
    return [
        sentence(f"  {_LABELS[one.kind]:7}{place}{first}{since}"),
        *indented("\n".join(f"       {line}" for line in (*others, one.hint) if line)),
    ]


def _datasets(found: Overview) -> Table:
    table = Table(box=None)
    for heading in ("dataset", "state", "rows", "objects", "errors", "warnings", "lag"):
        table.add_column(heading, justify="left" if heading in {"dataset", "state"} else "right")
    table.add_column("last change")
    for one in found.datasets:
        numbers = (one.rows, one.objects, one.errors, one.warnings)
        changed = ""
        if one.changed_at is not None:
            changed = ShownTime(one.changed_at, has_seconds=True).text(found.as_of)
        table.add_row(
            Text(one.name),
            one.state,
            *(f"{number:,}" for number in numbers),
            _lag(one),
            changed,
        )
    return table


def _lag(one: DatasetLine) -> str:
    if one.lag is None:
        return "unknown"
    return f"{span(one.lag)} or more" if one.is_lag_minimum else span(one.lag)


# -- what the overview does not say


def _of_datasets(facts: Mapping[str, Any]) -> dict[str, str]:
    """By dataset, its rows that are not live, and its tables that are missing."""
    users = facts["users"]
    found = {} if users is None else {"users": _users(users)}
    return found | {name: _rows(counts) for name, counts in facts["datasets"].items()}


def _users(counts: Mapping[str, int]) -> str:
    shadowed = f"{counts['shadowed_rows']:,} shadowed"
    return f"{counts['with_image']:,} with an image; {counts['retired']:,} retired, {shadowed}"


def _rows(counts: Mapping[str, Any]) -> str:
    retired = f"{counts['retired']:,} retired, " if "retired" in counts else ""
    missing = "".join(f"{name} is missing; " for name in counts.get("missing", ()))
    return f"{missing}{retired}{counts['shadowed']:,} shadowed"


def _objects(counts: Mapping[str, int]) -> str:
    return (
        f"{counts['known']} known = {counts['data']} data + {counts['image']} image"
        f" + {counts['other']} other; {counts['quarantined']} quarantined"
    )


def _images(counts: Mapping[str, int]) -> str:
    return (
        f"{counts['ready']} ready, {counts['corrupt']} corrupt, {counts['too_large']} too large,"
        f" {counts['unsupported']} unsupported, {counts['waiting']} waiting"
    )


def _open_problems(by_code: Mapping[str, int]) -> str:
    if not by_code:
        return "none"
    each = ", ".join(f"{count} {code}" for code, count in by_code.items())
    return f"{sum(by_code.values())} open (`./run.sh problems` explains each): {each}"


def _output(output: Mapping[str, Any] | None) -> str:
    if output is None:
        return "not published yet"
    return f"published {output['published_at']:%Y-%m-%d %H:%M:%S} UTC by run {output['run_id']}"


def _run_cells(run: Mapping[str, Any]) -> tuple[object, ...]:
    counts = run["counts"]
    return (
        run["id"],
        run["trigger"],
        run["error"]["code"] if run["error"] else run["state"],
        f"{run['started_at']:%m-%d %H:%M:%S}" if run["started_at"] else "",
        *(counts.get(f"rows_{name}", "") for name in _RUN_COUNTS),
    )
