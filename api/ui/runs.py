"""The runs, the steps of one run, and held retirements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apiflask import APIBlueprint
from flask import Response, request, stream_with_context, url_for

from api.http.errors import NotFound, WrongParameters
from api.security.auth import OF_PATH, needs
from api.state.services import services
from api.ui import forms, words
from api.ui.charts import ticks
from api.ui.queries import runs as queries
from api.ui.render import page, query
from api.ui.states import StateShape, of_run
from etl.db.active_runs import cancel
from etl.db.run_list import RunFilter, details
from etl.db.runs import request_run as request_a_run
from etl.model.roles import Role
from etl.model.run_sentences import ending, note, totals
from etl.model.safe_text import printable
from etl.model.sums import sums
from etl.model.values import RunOutcome, RunState, Trigger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from etl.model.sums import SumTable
    from etl.model.values import RunReport

OUTCOMES = [one.value for one in (*RunOutcome, RunState.REQUESTED, RunState.RUNNING)]
TRIGGERS = [one.value for one in Trigger]
REFRESH_SECONDS = 2
SAMPLE_COLUMNS = 8
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
    """A step of a run that has ended: when it began, its end, and its own time, in seconds."""

    name: str
    began: float
    ended: float
    seconds: float
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
    return page(
        "runs/list.html",
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
    run = found.report
    took = None if run.finished_at is None else _took(run)
    is_waiting = run.state in {RunState.REQUESTED, RunState.RUNNING}
    failed = found.outcome in {RunOutcome.FAILED, RunOutcome.INTERRUPTED}
    bars = _bars(run)
    return page(
        "runs/show.html",
        title=f"Run {run_id:,}",
        json_url=f"/runs/{run_id}",
        refresh_seconds=REFRESH_SECONDS if is_waiting else None,
        found=found,
        run=run,
        heading=ending(run, found.outcome, words.duration(took)),
        kind=_KINDS[run.trigger],
        state=of_run(found.outcome),
        is_waiting=is_waiting,
        failed=failed,
        earlier=earlier,
        later=later,
        bars=bars,
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


# -- held retirements


@bp.get("/holds/<dataset>")
@needs(Role.READER, dataset=OF_PATH)
def show_hold(dataset: str) -> Response:
    """Show which rows of a dataset would be retired, and the two ways out."""
    with services().database() as connection:
        found = _hold(connection, dataset)
    rows = found.summary.get("sample") or [{}]
    columns = [name for name in rows[0] if not name.startswith("_")][:SAMPLE_COLUMNS]
    return page(
        "runs/hold.html",
        title=f"Held: {dataset}",
        shape=StateShape.HELD,
        hold=found,
        folders=_folders(found),
        pattern=_pattern(found),
        sample=found.summary.get("sample", []),
        columns=columns,
        heads=[(name, "") for name in columns],
    )


@bp.get("/holds/<dataset>/keys.txt")
@needs(Role.READER, dataset=OF_PATH)
def download_keys(dataset: str) -> Response:
    """The objects whose rows are held as text: rows, bucket and key, one per line."""
    with services().database() as connection:
        _hold(connection, dataset)

    def lines() -> Iterator[str]:
        with services().database() as connection:
            for bucket, key, rows in queries.held_keys(connection, dataset):
                yield f"{rows}\t{bucket}/{printable(key)}\n"

    response = Response(stream_with_context(lines()), mimetype="text/plain")
    response.headers["Content-Disposition"] = f'attachment; filename="held-{dataset}.txt"'
    return response


@bp.post("/holds/<dataset>")
@needs(Role.ADMIN, dataset=OF_PATH)
def allow_hold(dataset: str) -> Response:
    """Allow as many retirements as the page showed, by a run that is requested now.

    Raises:  WrongParameters unless the visitor typed the name of the dataset.
    """
    if request.form.get("confirm", "").strip() != dataset:
        raise WrongParameters([("confirm", f"must be the name of the dataset, {dataset}")])
    rows = _number(request.form.get("rows"), "rows") or 0
    with services().database() as connection:
        _hold(connection, dataset)
        allowed = {dataset: rows}
        run_id = request_a_run(connection, Trigger.REQUEST, allowed_retirements=allowed)
    return forms.see(url_for("ui.overview.show_overview", run=run_id))


# -- parts of pages


def _filter() -> RunFilter:
    """The filters of the URL.

    Raises:  WrongParameters.
    """
    args = request.args
    return RunFilter(
        outcome=_one_of(OUTCOMES, "outcome"),
        trigger=_one_of(TRIGGERS, "trigger"),
        dataset=args.get("dataset") or None,
        before=_number(args.get("before"), "before"),
    )


def _one_of(values: list[str], name: str) -> str | None:
    given = request.args.get(name) or None
    if given is not None and given not in values:
        raise WrongParameters([(name, f"must be one of {', '.join(values)}")])
    return given


def _number(given: str | None, name: str) -> int | None:
    if not given:
        return None
    digits = given.replace(",", "")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 19):  # noqa: PLR2004 - bigint
        raise WrongParameters([(name, "must be a whole number")])
    return int(digits)


def _unknown_run(run_id: int) -> NotFound:
    return NotFound("unknown-run", f"There is no run {run_id}.", "The page Runs lists the runs.")


def _hold(connection: Connection, dataset: str) -> queries.HeldRetirements:
    found = queries.hold(connection, dataset)
    if found is None:
        raise NotFound(
            "no-hold", f"No retirement of {dataset} is held.", "The overview lists what is held."
        )
    return found


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
                seconds,
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
        for row in table.rows
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


def _folders(found: queries.HeldRetirements) -> list[dict[str, Any]]:
    """The folders of the summary; those beyond the first hundred are one line."""
    folders = [dict(one) for one in found.summary.get("folders", [])]
    rest = found.summary.get("rest")
    if rest:
        folders.append({**rest, "folder": f"{rest['folders']:,} other folders"})
    for one in folders:
        one["folder"] = one["folder"] or "(no folder)"
    return folders


def _pattern(found: queries.HeldRetirements) -> str:
    """Whether whole folders are gone, or single objects here and there."""
    folders = found.summary.get("folders", [])
    if not folders:
        return ""
    whole = sum(bool(one["objects_held"] and not one["objects_kept"]) for one in folders)
    part = sum(bool(one["objects_held"] and one["objects_kept"]) for one in folders)
    kept = len(folders) - whole - part
    if whole and not part:
        rest = f" and {kept:,} complete" if kept else ""
        verb = "is" if whole == 1 else "are"
        return (
            f"{words.counted(whole, 'whole folder')} {verb} gone{rest}: as after an archive job or"
            " a moved folder, rather than single deletions."
        )
    return (
        f"Objects are gone from {words.counted(part + whole, 'folder')}, and {whole:,} lost all of"
        " theirs: as after single deletions or a filter that changed."
    )
