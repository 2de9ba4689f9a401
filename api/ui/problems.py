"""The open problems by dataset and code, with their lines and remedies."""

from __future__ import annotations

import csv
from contextlib import ExitStack
from dataclasses import dataclass, replace
from http import HTTPStatus
from io import StringIO
from itertools import chain, groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import orjson
from apiflask import APIBlueprint
from flask import Response, request, url_for

from api.http import downloads
from api.http.errors import Refused, WrongParameters
from api.rows.streaming import until_deadline
from api.security.auth import OF_CALLER, caller, limited, needs
from api.state.services import services
from api.ui import forms, words
from api.ui.parameters import given, number, one_of
from api.ui.queries import problems as queries
from api.ui.queries.instance import open_problems
from api.ui.render import now, page, panel, query
from api.ui.source_lines import marked, source_lines
from api.ui.states import of_problem
from etl.db.manifest import read_again
from etl.db.runs import request_run as request_a_run
from etl.db.tallies import NO_DATASET
from etl.model.roles import Role
from etl.model.safe_text import printable
from etl.model.values import IMAGE_PROBLEM_CODES, ObjectState, ProblemCode, Severity, Trigger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection

    from api.state.catalog import Installed
    from api.state.services import Services
    from api.ui.queries.problems import ProblemFilter, ProblemGroup
    from api.ui.source_lines import Marked

MOST_GROUPS = 50
EXAMPLES = 3
MOST_LINES = 50  # of a group that is shown alone
NONE = "-"  # the dataset, in a URL, of objects that belong to none
COLUMNS = (
    *("dataset", "bucket", "key", "etag", "line", "column", "code", "severity", "value", "note"),
    "run_id",
)
_BATCH = 1_000  # problems in a chunk of an export
_CODES = [one.value for one in ProblemCode]
_SEVERITIES = [one.value for one in Severity]

bp = APIBlueprint("problems", __name__, enable_openapi=False)


@dataclass(frozen=True, slots=True)
class ProblemExample:
    """A problem with the line that it is about, as far as it is known."""

    bucket: str
    key: str
    line: int | None
    raw: Marked | None
    column: str | None
    note: str


@bp.get("/problems")
@needs(Role.READER, dataset=OF_CALLER)
def list_problems() -> Response:
    """Show the groups of open problems, the largest open; the URL has the filters."""
    wanted = _wanted()
    with services().database() as connection:
        installed = services().catalog.read(connection).datasets
        found = queries.groups(connection, wanted, now())
        totals = open_problems(connection, caller().datasets)
        closed_at = None if found else queries.last_closed(connection, wanted)
        names = _visible({*installed, *(one.dataset for one in found)})
        most = MOST_LINES if len(found) == 1 else EXAMPLES
        examples = _first(connection, _only(wanted, found[0]), most) if found else []
    chosen = _parameters(wanted)
    count = sum(one.problems for one in found)
    return page(
        "problems/list.html",
        title=words.counted(count, "problem"),
        json_url="/problems",
        groups=found[:MOST_GROUPS],
        more_groups=max(len(found) - MOST_GROUPS, 0),
        problems=count,
        shown=_by_severity(found),
        totals=totals,
        closed_at=closed_at,
        examples=_examples(examples, {}),
        effect=effect_of(examples),
        most=most,
        most_lines=MOST_LINES,
        wanted=wanted,
        chosen=chosen,
        chosen_of=lambda one: _parameters(_only(wanted, one)),
        datasets=[("", "any"), *((name or NONE, name or "no dataset") for name in names)],
        severities=[("", "any"), *((one, one) for one in _SEVERITIES)],
        codes=[("", "any"), *((one, one) for one in _shown_codes(found, wanted))],
        applied=[
            (f"{name} {printable(value)}", query(**{name: None})) for name, value in chosen.items()
        ],
        of_problem=of_problem,
        panel_version="",
    )


@bp.get("/problems/examples")
@needs(Role.READER, dataset=OF_CALLER)
def show_examples() -> Response:
    """The panel with the first problems of a group, and their lines in the bucket."""
    wanted = _wanted()
    most = min(number("most") or EXAMPLES, MOST_LINES)
    with services().database() as connection:
        installed = services().catalog.read(connection).datasets
        found = _first(connection, wanted, most)
    return panel(
        "problems/_examples.html",
        examples=_examples(found, _lines(found, installed)),
        effect=effect_of(found),
        group=wanted,
        trigger="",
    )


@bp.post("/problems/replay")
@needs(Role.WRITER)
def replay() -> Response:
    """Read the objects of a group again by a run that is requested now."""
    dataset, code = request.form.get("dataset", ""), request.form.get("code", "")
    with services().database() as connection:
        count = read_again(connection, dataset=dataset, key=None, code=code)
        if not count:
            raise Refused(
                HTTPStatus.CONFLICT,
                "nothing-to-replay",
                "No object has such a problem any more, so no run was requested.",
                "The page Problems lists those that are open now.",
            )
        run_id = request_a_run(connection, Trigger.REQUEST)
    return forms.see(url_for("ui.overview.show_overview", run=run_id))


# -- exports


@bp.get("/problems/export.csv")
@needs(Role.READER, dataset=OF_CALLER)
def export_csv() -> Response:
    """The problems that match as CSV, streamed."""
    return _export(_csv_chunks(services(), _wanted()), "text/csv", "problems.csv")


@bp.get("/problems/export.json")
@needs(Role.READER, dataset=OF_CALLER)
def export_json() -> Response:
    """The problems that match as a JSON array, streamed."""
    return _export(_json_chunks(services(), _wanted()), "application/json", "problems.json")


def _export(chunks: Iterator[bytes], mimetype: str, name: str) -> Response:
    """Raises:  TransientError when too many responses are being streamed."""
    with ExitStack() as stack:
        stack.enter_context(downloads.held_stream())
        first = next(chunks)  # errors so far can still set the status
        response = Response(until_deadline(chain([first], chunks)), mimetype=mimetype)
        response.call_on_close(stack.pop_all().close)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _csv_chunks(shared: Services, wanted: ProblemFilter) -> Iterator[bytes]:
    batches = _batches(shared, wanted)
    first: list[tuple[Any, ...]] = next(batches, [])
    for batch in chain([[COLUMNS, *first]], batches):
        text = StringIO()
        csv.writer(text, lineterminator="\n").writerows(batch)
        yield text.getvalue().encode()


def _json_chunks(shared: Services, wanted: ProblemFilter) -> Iterator[bytes]:
    separator = b"[\n"
    for batch in _batches(shared, wanted):
        yield separator + b",\n".join(
            orjson.dumps(dict(zip(COLUMNS, row, strict=True))) for row in batch
        )
        separator = b",\n"
    yield b"[]\n" if separator == b"[\n" else b"\n]\n"


def _batches(shared: Services, wanted: ProblemFilter) -> Iterator[list[tuple[Any, ...]]]:
    """The problems that match as tuples of COLUMNS."""
    with shared.database() as connection:
        rows = (_row(one) for one in queries.problems(connection, wanted))
        while batch := list(islice(rows, _BATCH)):
            yield batch


def _row(problem: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(problem[name] or None if name == "dataset" else problem[name] for name in COLUMNS)


# -- parts of pages


def _wanted() -> ProblemFilter:
    """The filters of the URL.

    Raises:  WrongParameters; Refused if the caller's key is limited to other datasets.
    """
    dataset, prefix = given("dataset"), given("prefix")
    if dataset == NONE:
        dataset = NO_DATASET
    if dataset is not None and not caller().may_see(dataset):
        raise limited(dataset)
    if any("\0" in one for one in (dataset or "", prefix or "")):
        raise WrongParameters([("prefix", "must not have a NUL character")])
    return queries.ProblemFilter(
        dataset,
        one_of("code", _CODES),
        one_of("severity", _SEVERITIES),
        prefix,
        caller().datasets,
    )


def _parameters(wanted: ProblemFilter) -> dict[str, str]:
    """The filters as parameters of a URL."""
    dataset = NONE if wanted.dataset == NO_DATASET else wanted.dataset
    values = {
        "dataset": dataset,
        "code": wanted.code,
        "severity": wanted.severity,
        "prefix": wanted.prefix,
    }
    return {name: value for name, value in values.items() if value is not None}


def _only(wanted: ProblemFilter, group: ProblemGroup) -> ProblemFilter:
    """The filters that only this group matches."""
    return replace(wanted, dataset=group.dataset, code=group.code, severity=group.severity)


def _by_severity(found: list[ProblemGroup]) -> str:
    """How many errors and warnings there are: 32 errors, 3 warnings."""
    counts = dict.fromkeys(Severity, 0)
    for group in found:
        counts[Severity(group.severity)] += group.problems
    return ", ".join(words.counted(count, one) for one, count in counts.items() if count)


def _visible(names: set[str]) -> list[str]:
    return sorted(name for name in names if caller().may_see(name))


def _shown_codes(found: list[ProblemGroup], wanted: ProblemFilter) -> list[str]:
    """The codes to choose from: those that are open, and the one that was chosen."""
    return sorted({one.code for one in found} | ({wanted.code} if wanted.code else set()))


def _first(connection: Connection, wanted: ProblemFilter, most: int) -> list[dict[str, Any]]:
    """The first problems that match."""
    return list(queries.problems(connection, wanted, most))


def effect_of(problems: list[dict[str, Any]]) -> str:
    """What such problems cost, by the first ones."""
    if not problems:
        return ""
    if all(one["severity"] == Severity.WARNING for one in problems):
        return "Nothing is left out, but check the object."
    if all(one["code"] in IMAGE_PROBLEM_CODES.values() for one in problems):
        return "The image has no thumbnails; its row is loaded."
    if all(one["state"] == ObjectState.QUARANTINED for one in problems):
        return "The object is refused: none of its rows is loaded."
    left_out = "The row is left out" if len(problems) == 1 else "These rows are left out"
    return f"{left_out}; other rows of the same object are loaded."


def _lines(
    problems: list[dict[str, Any]], installed: Mapping[str, Installed]
) -> dict[tuple[str, str, int], str]:
    """The lines of these problems, by bucket, key and number; one GET for each object."""
    found: dict[tuple[str, str, int], str] = {}
    for (bucket, key, etag, name), group in groupby(
        problems, itemgetter("bucket", "key", "etag", "dataset")
    ):
        if name in installed:
            numbers = [one["line"] for one in group if one["line"] is not None]
            read = source_lines(installed[name].dataset, bucket, key, etag, numbers)
            found |= {(bucket, key, number): line for number, line in read.lines.items()}
    return found


def _examples(
    problems: list[dict[str, Any]], lines: Mapping[tuple[str, str, int], str]
) -> list[ProblemExample]:
    return [_example(one, lines.get((one["bucket"], one["key"], one["line"]))) for one in problems]


def _example(problem: Mapping[str, Any], line: str | None) -> ProblemExample:
    is_of_object = problem["line"] is None and not problem["value"]
    return ProblemExample(
        problem["bucket"],
        problem["key"],
        problem["line"],
        None if is_of_object else marked(line, problem["value"]),
        problem["column"],
        problem["note"],
    )
