"""The runs, and the steps of one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apiflask import APIBlueprint
from flask import Response, request, url_for

from api.http.errors import NotFound
from api.security.auth import needs
from api.state.services import services
from api.ui import forms, overview, words
from api.ui.charts import ticks
from api.ui.parameters import given, number, one_of
from api.ui.queries import runs as queries
from api.ui.queries.overview import strip
from api.ui.render import now, page, query
from api.ui.states import of_run
from etl.db.active_runs import cancel
from etl.db.overview import read_schedule
from etl.db.run_list import RunFilter, details
from etl.model.roles import Role
from etl.model.run_sentences import ending, note, totals
from etl.model.sums import SumRow, sums
from etl.model.values import RunOutcome, RunState, Trigger

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from api.ui.progress import Progress
    from etl.model.sums import SumTable
    from etl.model.values import RunReport

OUTCOMES = [one.value for one in (*RunOutcome, RunState.REQUESTED, RunState.RUNNING)]
TRIGGERS = [one.value for one in Trigger]
REFRESH_SECONDS = 2
MOST_DATASETS = 6  # in a table of sums, if some are untouched
NO_BREAK = "\N{NO-BREAK SPACE}"
_STEPS = ("look", "list", "read", "stage", "merge", "publish")
_COUNTED = {"list": "object", "publish": "row"}
_KINDS = {
    Trigger.CLI: "Run by a command",
    Trigger.EVENT: "Event run",
    Trigger.INTERVAL: "Interval run",
    Trigger.REQUEST: "Requested run",
}
_NAMES = {"outcome": "state", "trigger": "trigger", "dataset": "dataset", "before": "before run"}

bp = APIBlueprint("runs", __name__, enable_openapi=False)


@dataclass(frozen=True, slots=True)
class StepBar:
    """A step of a run that has ended: when it began and its end, in seconds; its own time."""

    name: str
    began: float
    ended: float
    took: str
    share: str
    count: str
    rate: str


@bp.get("/runs")
@needs(Role.READER)
def list_runs() -> Response:
    """List the runs, newest first; event runs of which nothing has to be seen are folded."""
    asked = _filter()
    folds = not request.args.get("each") and asked == RunFilter(before=asked.before)
    with services().database() as connection:
        found = queries.page_of_runs(connection, asked, folds=folds)
        datasets = list(services().catalog.read(connection).datasets)
        day = strip(connection, now())
    return page(
        "runs/list.html",
        day=day,
        oldest_at=queries.oldest_at(found),
        title="Runs",
        json_url="/runs",
        found=found,
        folds=folds,
        asked=asked,
        outcomes=OUTCOMES,
        triggers=TRIGGERS,
        datasets=datasets,
        applied=[
            (f"{_NAMES[name]} {value}", query(**{name: None, "before": None}))
            for name, value in asked._asdict().items()
            if name in _NAMES and value is not None and name != "before"
        ],
        of_run=of_run,
        totals=totals,
        note=note,
    )


@bp.get("/runs/<run_id:run_id>")
@needs(Role.READER)
def show_run(run_id: int) -> Response:
    """Show how a run ended, its steps, and its counts as equations."""
    with services().database() as connection:
        found = details(connection, run_id)
        if found is None:
            raise _unknown_run(run_id)
        earlier, later = queries.neighbors(connection, run_id)
        faulty = queries.faulty_objects(connection, run_id) if found.report.counts.problems else []
        held = queries.open_holds(connection) if found.report.counts.retirements_held else []
        run = found.report
        is_waiting = run.state in {RunState.REQUESTED, RunState.RUNNING}
        progress = _progress(connection, run_id) if is_waiting else None
    took = None if run.finished_at is None else _took(run)
    failed = found.outcome in {RunOutcome.FAILED, RunOutcome.INTERRUPTED}
    bars = _bars(run)
    return page(
        "runs/show.html",
        title=f"Run {run_id:,}",
        json_url=f"/runs/{run_id}",
        refresh_seconds=REFRESH_SECONDS if is_waiting else None,
        found=found,
        run=run,
        heading=ending(run, found.outcome, words.duration(took).replace(" ", NO_BREAK)),
        kind=_KINDS[run.trigger],
        state=of_run(found.outcome),
        is_waiting=is_waiting,
        progress=progress,
        panel_version="",
        failed=failed,
        earlier=earlier,
        later=later,
        bars=bars,
        not_begun=[name for name in _STEPS[1:] if name not in run.step_seconds] if failed else [],
        faulty=faulty,
        held=[name for name, one in run.dataset_counts.items() if one.retirements_held],
        held_now=held,
        axis=ticks(max((one.ended for one in bars), default=0.0)),
        tables=[_table(table) for table in sums(run, found.before)],
    )


@bp.post("/runs/<run_id:run_id>/cancel")
@needs(Role.WRITER)
def cancel_run(run_id: int) -> Response:
    """Cancel a run that is requested or active."""
    with services().database() as connection:
        cancel(connection, run_id)
    return forms.see(url_for("ui.runs.show_run", run_id=run_id))


# -- parts of pages


def _filter() -> RunFilter:
    """The filters of the URL.

    Raises:  WrongParameters.
    """
    return RunFilter(
        outcome=one_of("outcome", OUTCOMES),
        trigger=one_of("trigger", TRIGGERS),
        dataset=given("dataset"),
        before=number("before"),
    )


def _progress(connection: Connection, run_id: int) -> Progress | None:
    """The progress of a run that has not ended."""
    return overview.progress_of(connection, read_schedule(connection, services().settings), run_id)


def _unknown_run(run_id: int) -> NotFound:
    return NotFound("unknown-run", f"There is no run {run_id}.", "The page Runs lists the runs.")


def _took(run: RunReport) -> float:
    started = run.started_at or run.requested_at
    return 0.0 if run.finished_at is None else (run.finished_at - started).total_seconds()


def _bars(run: RunReport) -> list[StepBar]:
    """The steps, in their order; runs of earlier versions have no spans, only times."""
    total = sum(run.step_seconds.values())
    bars, end = [], 0.0
    for name in sorted(run.step_seconds, key=_place):
        seconds = run.step_seconds[name]
        began, ended = run.step_spans.get(name, (end, end + seconds))
        end = max(end, ended)
        count = run.step_rows.get(name)
        unit = _COUNTED.get(name, "row")
        bars.append(
            StepBar(
                name,
                began,
                ended,
                words.duration(seconds) if seconds else "< 1 ms",
                words.percent(seconds, total),
                "" if count is None else words.counted(count, unit),
                f"{count / seconds:,.0f} {unit}s/s" if count and seconds else "",
            )
        )
    return bars


def _place(name: str) -> int:
    return _STEPS.index(name) if name in _STEPS else len(_STEPS)


def _table(table: SumTable) -> dict[str, Any]:
    """A table of equations for the macro `sums`."""
    signs = {"": "", "+": "+", "-": "−"}  # noqa: RUF001 - a minus sign
    terms = [(signs[sign], head.capitalize()) for sign, head in table.terms]
    if table.is_total_last:
        heads = [*terms, ("=", table.total.capitalize(), "whole")]
    else:
        first, *rest = terms
        heads = [("", table.total.capitalize(), "whole"), ("=", first[1]), *rest]
    rows = [
        (
            row.name.capitalize() if row.name == "all" else row.name,
            [*row.terms, row.total] if table.is_total_last else [row.total, *row.terms],
            row.off_by,
        )
        for row in touched(table)
    ]
    has_total = len(rows) > 1 and rows[-1][0] == "All"
    return {
        "title": table.title.capitalize(),
        "id": table.title.replace(" ", "-"),
        "adds_up": table.adds_up,
        "heads": heads,
        "rows": rows[:-1] if has_total else rows,
        "total": rows[-1] if has_total else None,
    }


def touched(table: SumTable) -> list[SumRow]:
    """The rows of the table; with many datasets, those that the run left as they were are one."""
    *rows, every = table.rows
    changes = slice(1, None) if table.is_total_last else slice(None)  # without those before
    idle = [row for row in rows if not any(row.terms[changes]) and not row.off_by]
    if len(rows) <= MOST_DATASETS or len(idle) < 2:  # noqa: PLR2004
        return list(table.rows)
    terms = tuple(sum(column) for column in zip(*(row.terms for row in idle), strict=True))
    others = SumRow(f"{len(idle):,} others", sum(row.total for row in idle), terms, 0)
    return [*(row for row in rows if row not in idle), others, every]
