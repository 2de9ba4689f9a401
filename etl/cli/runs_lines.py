"""What `runs` prints: the list with uneventful event runs folded, and one run in detail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from etl.cli import run_lines
from etl.cli.render import indented, sentence
from etl.model.phrases import counted, listed, span
from etl.model.run_sentences import ending, note, totals
from etl.model.sums import sums
from etl.model.values import RunOutcome, RunState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from etl.cli.render import Lines
    from etl.db.run_list import FoldedRuns, RunDetails, RunFilter
    from etl.model.sums import SumRow, SumTable

_NUMBERS = ("objects", "read", "changed", "rejected")
_STYLES: dict[str, str] = {
    RunOutcome.FAILED: "red",
    RunOutcome.INTERRUPTED: "red",
    RunOutcome.HELD: "magenta",
    RunState.RUNNING: "blue",
}


def runs(found: Sequence[Mapping[str, Any]], gaps: Sequence[FoldedRuns], asked: RunFilter) -> Lines:
    """A table of runs, newest first, with a line for each gap that has event runs."""
    if not found and not any(gap.runs for gap in gaps):
        return [_none(asked)]
    table = Table("run", "state", "trigger", "started (UTC)", box=None)
    for heading in ("took", *_NUMBERS):
        table.add_column(heading, justify="right")
    table.add_column("note")
    for place in range(max(len(found) + 1, len(gaps))):
        if place < len(gaps) and gaps[place].runs:
            table.add_row(*_folded(gaps[place]))
        if place < len(found):
            style = _STYLES.get(found[place]["outcome"], "")
            table.add_row(*_cells(found[place]), style=style)
    lines: Lines = [table]
    if len(found) == asked.limit:
        more = f"Older ones: `./run.sh runs --before {found[-1]['id']}`."
        lines.append(sentence(more))
    return lines


def _none(asked: RunFilter) -> Text:
    filters = [
        f"{name} {value}"
        for name, value in asked._asdict().items()
        if value is not None and name != "limit"
    ]
    return Text(f"No run with {listed(filters)}." if filters else "No run yet.")


def _cells(run: Mapping[str, Any]) -> list[str]:
    numbers = totals(run["counts"])
    return [
        str(run["id"]),
        run["outcome"],
        run["trigger"],
        _clock(run["started_at"]),
        _took(run["started_at"], run["finished_at"]),
        *(["" for _ in _NUMBERS] if numbers is None else [f"{value:,}" for value in numbers]),
        note(run),
    ]


def _folded(gap: FoldedRuns) -> list[str]:
    """A line for the runs of a gap; a single one has its number."""
    first, last = gap.first_at, gap.last_at
    until = f"{last:%H:%M:%S}" if last.date() == first.date() else _clock(last)
    numbers = (gap.objects, gap.rows_read, gap.rows_changed, 0)
    return [
        str(gap.first_id) if gap.runs == 1 else f"{gap.runs:,} event runs",
        "succeeded",
        "event",
        _clock(first) if gap.runs == 1 else f"{_clock(first)} to {until}",
        f"{gap.took.total_seconds():.2f} s each" if gap.runs > 1 else _seconds(gap.took),
        *(f"{number:,}" for number in numbers),
        "",
    ]


def _clock(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone(UTC):%m-%d %H:%M:%S}"


def _took(started: datetime | None, finished: datetime | None) -> str:
    return "" if started is None or finished is None else _seconds(finished - started)


def _seconds(took: timedelta) -> str:
    is_short = took < timedelta(minutes=1)
    return f"{took.total_seconds():.2f} s" if is_short else span(took)


# -- one run


def details(found: RunDetails) -> Lines:
    """How a run ended, why it failed and what to do, its steps, and its counts as equations."""
    run = found.report
    style = _STYLES.get(found.outcome, "green")
    lines: Lines = [
        Text(ending(run, found.outcome, _took(run.started_at, run.finished_at)), f"bold {style}"),
        Text(_origin(found)),
    ]
    if run.error is not None:
        lines.append(Text())
        lines += indented(f"{run.error['message']}", "red")
        lines += indented(f"{run.error['hint']}" if run.error["hint"] else "")
    if found.recovered_by is not None:
        at = _clock(found.recovered_at)
        lines.append(sentence(f"  Recovered by run {found.recovered_by:,} at {at} UTC."))
    if run.step_seconds:
        lines += [Text(), run_lines.step_timings(run)]
    for table in sums(run, found.before):
        lines += [Text(), *_sums(table)]
    if run.counts.problems:
        count = counted(run.counts.problems, "problem")
        lines += [Text(), sentence(f"It found {count}: `./run.sh problems` lists those open.")]
    return lines


def _origin(found: RunDetails) -> str:
    run = found.report
    began = run.started_at or run.requested_at
    kind = {"cli": "Run by a command", "event": "Event run", "interval": "Interval run"}
    published = "" if run.published_at is None else f"; published at {_clock(run.published_at)} UTC"
    start = kind.get(run.trigger, "Requested run")
    return f"{start}, {began.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC{published}."


def _sums(table: SumTable) -> Lines:
    """A table of equations; one that does not add up is red."""
    shown = Table(table.title, box=None)
    headings = [f"{sign} {heading}".strip() for sign, heading in table.terms]
    total = table.total
    columns = [*headings, f"= {total}"] if table.is_total_last else [total, *_equal(headings)]
    for heading in columns:
        shown.add_column(heading, justify="right")
    for row in table.rows:
        style = "red" if row.off_by else ""
        shown.add_row(Text(row.name), *_terms(row, table), style=style)
    end = "adds up" if table.adds_up else ""
    off = [f"{row.name} is off by {row.off_by:,}" for row in table.rows if row.off_by]
    return [shown, Text(f"  {end or '; '.join(off)}", "" if end else "red")]


def _equal(headings: Sequence[str]) -> list[str]:
    first, *rest = headings
    return [f"= {first.removeprefix('+ ')}", *rest]


def _terms(row: SumRow, table: SumTable) -> list[str]:
    terms = [f"{value:,}" for value in row.terms]
    total = f"{row.total:,}"
    return [*terms, total] if table.is_total_last else [total, *terms]
