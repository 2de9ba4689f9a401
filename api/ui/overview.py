"""The overview: whether all is well, what needs someone, and what moves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from apiflask import APIBlueprint
from flask import Response, g, request, url_for

from api.http.bodies import with_sources
from api.http.errors import NotFound, Refused
from api.routes.health import reason_for_caller
from api.security.auth import OF_CALLER, caller, needs
from api.state.services import services
from api.ui import forms
from api.ui.parameters import number
from api.ui.progress import Progress, of_active, of_run
from api.ui.queries import overview as queries
from api.ui.queries.instance import Instance, ProblemCounts
from api.ui.render import can_open, may, page, panel, reload
from api.ui.states import ShownState, StateShape
from etl.db import overview as facts
from etl.db.runs import request_run as request_a_run
from etl.model.attention import AttentionKind
from etl.model.errors import DatabaseMisconfigured, DatabaseUnavailable
from etl.model.overview import DatasetState, overview
from etl.model.phrases import phrase
from etl.model.roles import Role
from etl.model.safe_text import printable
from etl.model.sentences import OverviewState
from etl.model.snapshot import Part
from etl.model.values import Trigger
from etl.storage.seed import sample_files, seed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from etl.model.attention import AttentionItem
    from etl.model.dataset import Dataset
    from etl.model.errors import EtlError
    from etl.model.overview import DatasetLine, Overview
    from etl.model.snapshot import DatasetFacts, Snapshot

REFRESH_SECONDS = 2
OUTAGE_REFRESH_SECONDS = 10

SHAPES = {
    OverviewState.DOWN: StateShape.FAILED,
    OverviewState.LATE: StateShape.FAILED,
    OverviewState.FAILED: StateShape.FAILED,
    OverviewState.HELD: StateShape.HELD,
    OverviewState.ERRORS: StateShape.WARNING,
    OverviewState.RUNNING: StateShape.RUNNING,
    OverviewState.WAITING: StateShape.WAITING,
    OverviewState.EMPTY: StateShape.OK,
    OverviewState.IN_SYNC: StateShape.OK,
}
DATASET_STATES = {
    DatasetState.UNKNOWN: ShownState(StateShape.WAITING, "Unknown"),
    DatasetState.FAILED: ShownState(StateShape.FAILED, "Failed"),
    DatasetState.HELD: ShownState(StateShape.HELD, "Held"),
    DatasetState.LATE: ShownState(StateShape.WARNING, "Late"),
    DatasetState.WAITING: ShownState(StateShape.WAITING, "Waiting"),
    DatasetState.IN_SYNC: ShownState(StateShape.OK, "In sync"),
}
_EMPTY = "empty"
_TEMPLATES = {OverviewState.DOWN: "outage", OverviewState.EMPTY: _EMPTY}  # else "overview"
_ATTENTION_STATES = {
    AttentionKind.OUTAGE: ShownState(StateShape.FAILED, "Down"),
    AttentionKind.LATE: ShownState(StateShape.FAILED, "Late"),
    AttentionKind.RUN_FAILED: ShownState(StateShape.FAILED, "Failed"),
    AttentionKind.DATASET_FAILED: ShownState(StateShape.FAILED, "Failed"),
    AttentionKind.DATASETS_FILE: ShownState(StateShape.FAILED, "Fault"),
    AttentionKind.NOT_PUBLISHED: ShownState(StateShape.FAILED, "Failed"),
    AttentionKind.HELD: ShownState(StateShape.HELD, "Held"),
    AttentionKind.ERROR: ShownState(StateShape.FAILED, "Error"),
}
_STRIP_WORDS = {
    "failed": " failed",
    "interrupted": " was interrupted",
    "held": " held retirements",
}

bp = APIBlueprint("overview", __name__, enable_openapi=False)


@dataclass(frozen=True, slots=True)
class AttentionLine:
    """A line of what needs attention: where it leads, and the key of its object, if it has one."""

    item: AttentionItem
    state: ShownState
    text: str
    key: str | None
    url: str | None
    label: str


@bp.get("/")
@needs(Role.READER, dataset=OF_CALLER)
def show_overview() -> Response:
    """Show the state of the instance."""
    shared = services()
    run_id = number("run")
    try:
        with shared.database(shared.autocommit) as connection:
            found = snapshot_for_caller(connection)
            values = _values(connection, found)
            progress = progress_of(connection, found, run_id)
            day = _day(connection, found)
    except DatabaseMisconfigured:
        raise
    except DatabaseUnavailable as error:
        return _without_database(error)
    is_moving = progress is not None and not progress.has_ended
    return page(
        f"overview/{values['shown']}.html",
        title=values["found"].title,
        json_url="/health",
        refresh_seconds=REFRESH_SECONDS if is_moving else None,
        **values,
        **day,
        progress=progress,
        sample_count=len(sample_files()) if values["shown"] == _EMPTY else 0,
        endpoint=shared.settings.s3_endpoint if may(Role.ADMIN) else None,
        panel_version="",
    )


@bp.get("/overview/now")
@needs(Role.READER, dataset=OF_CALLER)
def show_now() -> Response:
    """The panel with the sentence, what needs attention and the datasets.

    `shown` is the template of the page, which is loaded again if the state needs another one.
    """
    shared = services()
    try:
        with shared.database(shared.autocommit) as connection:
            values = _values(connection, snapshot_for_caller(connection))
    except DatabaseUnavailable:
        return reload()
    if request.args.get("shown") != values["shown"]:
        return reload()
    if values["shown"] == _EMPTY:  # that page has no panel
        return Response(status=HTTPStatus.NO_CONTENT)
    return panel("overview/_now.html", **values)


@bp.get("/overview/day")
@needs(Role.READER)
def show_day() -> Response:
    """The panel with the runs of a day and the parts of the instance."""
    shared = services()
    with shared.database(shared.autocommit) as connection:
        found = snapshot_for_caller(connection)
        values = _day(connection, found)
    return panel("overview/_day.html", **values, facts=found, found=overview(found))


@bp.get("/overview/progress")
@needs(Role.READER, dataset=OF_CALLER)
def show_progress() -> Response:
    """The panel with the progress of a run."""
    shared = services()
    with shared.database(shared.autocommit) as connection:
        progress = progress_of(connection, snapshot_for_caller(connection), number("run"))
    return panel("overview/_progress.html", progress=progress)


@bp.post("/run")
@needs(Role.WRITER)
def request_run() -> Response:
    """Request a run, and show its progress, or the page that the form names."""
    with services().database() as connection:
        run_id = request_a_run(connection, Trigger.REQUEST)
    return forms.back(url_for("ui.overview.show_overview", run=run_id))


@bp.post("/sample")
@needs(Role.WRITER)
def load_sample() -> Response:
    """Upload the sample, if the source bucket is empty."""
    shared = services()
    bucket = shared.settings.source_bucket
    if "w" not in with_sources(shared.settings, shared.sources.get()).get(bucket, ""):
        raise Refused(
            HTTPStatus.FORBIDDEN,
            "bucket-read-only",
            f"OBJECT_BUCKETS does not let clients write to {bucket}.",
            "Upload the sample from a terminal: `./run.sh seed`.",
        )
    if not shared.store.is_empty(bucket):
        raise Refused(
            HTTPStatus.CONFLICT,
            "bucket-not-empty",
            f"{bucket} is not empty, so the sample was not uploaded.",
            "The overview shows what it has.",
        )
    seed(shared.store, shared.settings, sample_files())
    return forms.see(url_for("ui.overview.show_overview"))


# -- what is shown


def snapshot_for_caller(connection: Connection) -> Snapshot:
    """The facts that the caller may see."""
    settings = services().settings
    error = services().store_watch.last().error
    found = _for_caller(facts.read(connection, settings, store_error=error), error)
    return queries.limited_to(found, caller().datasets)


def dataset_line(
    connection: Connection, totals: DatasetFacts, known: Sequence[Dataset]
) -> DatasetLine:
    """The state of one dataset with these totals; `known` are the installed datasets."""
    error = services().store_watch.last().error
    settings = services().settings
    found = facts.read_dataset(connection, settings, totals, known, store_error=error)
    return overview(_for_caller(found, error)).datasets[0]


def _for_caller(found: Snapshot, store_error: EtlError | None) -> Snapshot:
    """The facts with as much of the reason of an outage as the caller may know."""
    if found.outage is None or store_error is None:
        return found
    return replace(found, outage=replace(found.outage, reason=reason_for_caller(store_error)))


def _values(connection: Connection, found: Snapshot) -> dict[str, Any]:
    """What the panel of the overview shows."""
    said = _said(found)
    errors = sum(one.errors for one in found.datasets)
    problems = errors + sum(one.warnings for one in found.datasets)
    open_problems = ProblemCounts(problems, errors, found.faulty_count)
    g.shell = Instance(open_problems, SHAPES[said.state])
    return {
        "facts": found,
        "found": said,
        "shape": SHAPES[said.state],
        "shown": _TEMPLATES.get(said.state, "overview"),
        "attention": [_attention(item) for item in said.attention],
        "dataset_states": DATASET_STATES,
        "held_url": _url("ui.holds.show_hold", dataset=found.holds[0].dataset)
        if found.holds
        else None,
        "run_label": _run_label(said),
        "activity": queries.activity(connection, found.now),
        "no_activity": queries.Activity(),
    }


def _said(found: Snapshot) -> Overview:
    """What to say; of a limited key, the bucket may have more than its datasets."""
    said = overview(found)
    if said.state is OverviewState.EMPTY and caller().datasets:
        sentence = phrase("These datasets have no rows yet.")
        return replace(said, state=OverviewState.IN_SYNC, title="In sync", sentence=sentence)
    return said


def _run_label(said: Overview) -> str:
    """The label of the button that requests a run."""
    is_worrying = said.state in {OverviewState.DOWN, OverviewState.LATE, OverviewState.FAILED}
    return "Try now" if is_worrying else "Run now"


def _day(connection: Connection, found: Snapshot) -> dict[str, Any]:
    """The runs of a day, and the parts of the instance."""
    strip = queries.strip(connection, found.now)
    return {
        "strip": strip,
        "strip_words": _STRIP_WORDS,
        **parts(connection, found),
    }


def parts(connection: Connection, found: Snapshot) -> dict[str, Any]:
    """The state of the parts of the instance, which the overview and the settings show."""
    settings = services().settings
    return {
        "parts": queries.parts(connection, found.now),
        "store": services().store_watch.last(),
        "database_seconds": queries.round_trip(connection),
        "source_bucket": settings.source_bucket,
        "interval": settings.etl_interval,
    }


def _attention(item: AttentionItem) -> AttentionLine:
    """The item with the page that shows more."""
    key = None if item.key is None else printable(item.key)
    text = item.text if key is None else item.text.removeprefix(f"{key}: ")
    url, label = _leads_to(item)
    return AttentionLine(item, _ATTENTION_STATES[item.kind], text, key, url, label)


def _leads_to(item: AttentionItem) -> tuple[str | None, str]:
    if item.kind is AttentionKind.HELD:
        return _url("ui.holds.show_hold", dataset=item.dataset), "Review"
    if item.kind is AttentionKind.ERROR:
        url = _url("ui.objects.show_object", bucket=item.bucket, key=item.key)
        if url is not None:
            return url, "View lines"
        return _url("ui.problems.list_problems", dataset=item.dataset), "View problems"
    if item.run_id is not None:
        return _url("ui.runs.show_run", run_id=item.run_id), f"Run {item.run_id:,}"
    return None, ""


def _url(endpoint: str, **values: Any) -> str | None:  # noqa: ANN401 - as url_for
    """The URL of a page, if the caller may open it."""
    return url_for(endpoint, **values) if can_open(endpoint) else None


def progress_of(connection: Connection, found: Snapshot, run_id: int | None) -> Progress | None:
    """The progress of the requested run, else of the active one; none for a limited key.

    Raises:  NotFound.
    """
    if caller().datasets:
        return None
    if run_id is None:
        return None if found.running is None else of_active(found.running, found.now)
    row = queries.requested_run(connection, run_id)
    if row is None:
        raise NotFound("unknown-run", f"There is no run {run_id}.", "The page Runs lists the runs.")
    if found.running is not None and found.running.run_id == run_id:
        return of_active(found.running, found.now)
    return of_run(row, found.now)


def _without_database(error: DatabaseUnavailable) -> Response:
    """The overview while the database does not answer."""
    found = facts.without_database(services().settings, error)
    if found.outage is not None:
        outage = replace(found.outage, reason=reason_for_caller(error), part=Part.DATABASE)
        found = replace(found, outage=outage)
    response = page(
        "overview/no-database.html",
        title="Database down",
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        has_shell=False,
        shape=StateShape.FAILED,
        found=overview(found),
        facts=found,
        store=services().store_watch.last(),
        refresh_seconds=None,
        reload_seconds=OUTAGE_REFRESH_SECONDS,
    )
    response.headers["Retry-After"] = str(OUTAGE_REFRESH_SECONDS)
    return response
