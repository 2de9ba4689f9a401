"""What the command line prints: errors, reports, status, problems, differences, settings."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.table import Table

from etl.model.values import RunReport, RunState
from etl.runtime.program import named, program
from etl.settings.database_url import for_libpq

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from etl.images.indexer import IndexReport
    from etl.model.errors import EtlError
    from etl.model.values import Counts
    from etl.settings import Settings
    from etl.storage.notifications import Subscription
    from etl.verify import Difference

SHOWN_DIFFERENCES = 100
STEPS = ("list", "read", "stage", "merge", "publish")
SHOWN_PROBLEMS = 100


def iso(moment: datetime) -> str:
    """A moment as 2026-01-02T03:04:05.678Z."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def counted(count: int, noun: str) -> str:
    """`1 object`, `2 objects`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def error(console: Console, failure: EtlError) -> None:
    """The failure in one sentence, and what to do about it."""
    console.print(
        named(f"{failure.code}: {failure.message}"), style="red", markup=False, soft_wrap=True
    )
    if failure.hint:
        console.print(named(failure.hint), markup=False, soft_wrap=True)


def report(console: Console, run: RunReport) -> None:
    """A run's closing report: every figure, and how they add up."""
    counts = run.counts
    style = "green" if run.state is RunState.SUCCEEDED else "red"
    console.print(
        f"Run {run.id} ({run.trigger}) {run.state} in {_duration(run)}.", style=style, markup=False
    )
    console.print(
        f"  objects  {counts.objects_listed} listed = {counts.objects_added} added"
        f" + {counts.objects_modified} modified + {counts.objects_unchanged} unchanged"
        f" + {counts.objects_ignored} ignored{_lost(counts)}; {counts.objects_removed} removed,"
        f" {counts.objects_quarantined} quarantined{_untold(counts)}",
        soft_wrap=True,
    )
    console.print(
        f"  rows     {counts.rows_read} read = {counts.rows_loaded} loaded"
        f" + {counts.rows_unchanged} unchanged + {counts.rows_shadowed} shadowed"
        f" + {counts.rows_rejected} rejected",
        soft_wrap=True,
    )
    console.print(
        f"  users    {counts.users_live} live, {counts.users_with_image} with an image;"
        f" {counts.users_inserted} inserted, {counts.users_updated} updated,"
        f" {counts.users_restored} restored, {counts.users_retired} retired",
        soft_wrap=True,
    )
    if run.step_seconds:
        console.print(_profile(run))
    if counts.problems:
        console.print(
            f"  problems {counts.problems} (`{program()} problems` explains each)",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
    if run.error is not None:
        console.print(
            named(f"  {run.error['message']} {run.error['hint']}"),
            style="red",
            markup=False,
            soft_wrap=True,
        )


def _profile(run: RunReport) -> Table:
    """Seconds and rows by step, in the order of the steps."""
    table = Table("  step", box=None)
    for name in ("seconds", "share", "rows", "rows/s"):
        table.add_column(name, justify="right")
    total = sum(run.step_seconds.values()) or 1
    for name in sorted(run.step_seconds, key=_place):
        seconds, rows = run.step_seconds[name], run.step_rows.get(name, 0)
        pace = f"{rows / seconds:,.0f}" if rows and seconds else ""
        table.add_row(
            f"  {name}", f"{seconds:.3f}", f"{seconds / total:.0%}", f"{rows:,}" * bool(rows), pace
        )
    return table


def _place(step: str) -> int:
    """Where a step stands in a run; one unknown here is the last."""
    return STEPS.index(step) if step in STEPS else len(STEPS)


def images_waiting(console: Console, count: int) -> None:
    """How many images wait for their thumbnails; nothing when none does."""
    if count:
        console.print(
            f"  images   {count} waiting (`up` and `schedule` see to them;"
            f" `{program()} images` does so now)",
            markup=False,
            soft_wrap=True,
        )


def kept(console: Console, found: IndexReport) -> None:
    """What looking after the images came to."""
    faulty = found.corrupt + found.too_large + found.unsupported
    console.print(
        f"Looked at {counted(found.looked_at, 'image')} in {found.seconds:.2f} s.",
        style="green",
        markup=False,
    )
    console.print(
        f"  images   {found.looked_at} looked at = {found.ready} ready + {found.corrupt} corrupt"
        f" + {found.too_large} too large + {found.unsupported} unsupported;"
        f" {found.passed_over} passed over, {found.forgotten} forgotten",
        soft_wrap=True,
    )
    console.print(
        f"  thumbnails {found.thumbnails_put} put, {found.thumbnails_removed} removed",
        soft_wrap=True,
    )
    if faulty:
        console.print(
            f"  problems {faulty} (`{program()} problems` explains each)",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )


def _lost(counts: Counts) -> str:
    """Objects that could not be had; told only when there are any."""
    fates = {"unreadable": counts.objects_unreadable, "vanished": counts.objects_vanished}
    return "".join(f" + {count} {fate}" for fate, count in fates.items() if count)


def _untold(counts: Counts) -> str:
    """Changes that no event told of; told only when there are any."""
    return f", {counts.found_by_reconcile} found by reconcile" if counts.found_by_reconcile else ""


def _duration(run: RunReport) -> str:
    if run.started_at is None or run.finished_at is None:
        return "no time"
    return f"{(run.finished_at - run.started_at).total_seconds():.2f} s"


def welcome(console: Console, settings: Settings, url: str) -> None:
    """Lines to try, each of which works as it is printed."""
    needs_key = bool(settings.key_entries) or settings.key_file.exists()
    console.print(f"\nBucketline is up at {url}. Try, in another terminal:", style="bold")
    key = ' -H "X-API-Key: $KEY"' if needs_key else ""
    for line in (
        f"curl{key} '{url}/data?min_age=30&is_image_exists=true&limit=3'",
        f"curl{key} -X POST '{url}/data?wait=10'",
        f'eval "$({program()} env)"',
        "psql -c 'SELECT * FROM users WHERE retired_at IS NULL LIMIT 3'",
        f'aws --endpoint-url "$S3_ENDPOINT" s3 ls s3://{settings.source_bucket}',
    ):
        console.print(f"  {line}", markup=False, soft_wrap=True)
    last = f"{url}/docs describes the API. Ctrl-C ends everything; the data stay."
    console.print(last, markup=False, soft_wrap=True)


def status(console: Console, facts: Mapping[str, Any]) -> None:
    """What `etl.cli.status` found, as a few lines and a table of runs."""
    lines = {
        "users": _users(facts["users"]),
        "objects": _objects(facts["objects"]),
        "images": _images(facts["images"]),
        "problems": _open(facts["problems"]),
        "output": _published(facts["output"]),
    }
    for noun, line in lines.items():
        console.print(f"{noun:9}{line}", markup=False, soft_wrap=True)
    columns = ("run", "trigger", "state", "started (UTC)", "read", "loaded", "rejected")
    table = Table(*columns, box=None)
    for run in facts["runs"]:
        table.add_row(*map(str, _run_cells(run)))
    console.print(table)


def _users(counts: Mapping[str, int]) -> str:
    shadowed = counted(counts["shadowed_rows"], "shadowed row")
    return (
        f"{counts['live']} live, {counts['with_image']} with an image;"
        f" {counts['retired']} retired, {shadowed}"
    )


def _objects(counts: Mapping[str, int]) -> str:
    return (
        f"{counts['known']} known = {counts['csv']} csv + {counts['image']} image"
        f" + {counts['other']} other; {counts['quarantined']} quarantined"
    )


def _images(counts: Mapping[str, int]) -> str:
    return (
        f"{counts['ready']} ready, {counts['corrupt']} corrupt, {counts['too_large']} too large,"
        f" {counts['unsupported']} unsupported, {counts['waiting']} waiting"
    )


def _open(by_code: Mapping[str, int]) -> str:
    if not by_code:
        return "none"
    each = ", ".join(f"{count} {code}" for code, count in by_code.items())
    return f"{sum(by_code.values())} open (`{program()} problems` explains each): {each}"


def _published(output: Mapping[str, Any] | None) -> str:
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
        counts.get("rows_read", ""),
        counts.get("rows_loaded", ""),
        counts.get("rows_rejected", ""),
    )


def problems(console: Console, found: Sequence[Mapping[str, Any]]) -> None:
    """Open problems, each with its place, value and remedy; at most SHOWN_PROBLEMS of them."""
    for problem in found[:SHOWN_PROBLEMS]:
        style = "red" if problem["severity"] == "error" else "yellow"
        console.print(_problem_line(problem), style=style, markup=False, soft_wrap=True)
        console.print(f"  {named(problem['note'])}", markup=False, soft_wrap=True)
    if len(found) > SHOWN_PROBLEMS:
        console.print("There are more; --key and --code choose, --json prints all.")


def no_problem(console: Console, *, key: str | None, code: str | None, others: int) -> None:
    """That none is open of what was asked for, and how many there are besides."""
    asked = "" if code is None else f" {code}"
    asked += "" if key is None else f" of '{printable(key)}'"
    console.print(f"No problem{asked} is open.", style="green", markup=False, soft_wrap=True)
    if others:
        verb = "is" if others == 1 else "are"
        console.print(f"{counted(others, 'other')} {verb}: `{program()} problems`.", markup=False)


def _problem_line(problem: Mapping[str, Any]) -> str:
    place = [printable(problem["key"])]
    if problem["line"] is not None:
        place.append(f"line {problem['line']}")
    if problem["column"] is not None:
        place.append(f"column {printable(problem['column'])}")
    # The value is safe to show as it was stored.
    value = "" if problem["value"] is None else f": {problem['value']}"
    return f"{', '.join(place)}: {problem['severity']} {problem['code']}{value}"


def printable(text: str) -> str:
    """The text with an escape for whatever could forge a line or move the cursor."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def differences(
    console: Console, found: Sequence[Difference], *, is_output_compared: bool = True
) -> None:
    """Each difference between the bucket and what we hold; or that there is none."""
    if not found:
        level = "tables and output.csv" if is_output_compared else "the tables"
        rest = "" if is_output_compared else " output.csv was not compared."
        line = f"No difference: {level} are level with the bucket.{rest}"
        console.print(line, style="green", soft_wrap=True)
        return
    for difference in found[:SHOWN_DIFFERENCES]:
        for line in _difference_lines(difference):
            console.print(line, markup=False, soft_wrap=True)
    console.print(
        f"{counted(len(found), 'difference')}."
        f" Did the bucket change since the last run? Then `{program()} run`.",
        style="red",
    )


def _difference_lines(difference: Difference) -> list[str]:
    """What differs, and under it the two sides, where they have anything to say."""
    first = printable(f"{difference.what} {difference.name}: {difference.note}")
    if difference.expected is None and difference.found is None:
        return [first]
    where = "in the output" if difference.what.startswith("output-") else "in the table"
    return [
        first,
        f"  {'in the bucket':14}{_in_words(difference.expected)}",
        f"  {where:14}{_in_words(difference.found)}",
    ]


def _in_words(value: object) -> str:
    """One side of a difference: the columns by name, or the parts of a row in a line."""
    match value:
        case None:
            return "nothing"
        case dict():
            return ", ".join(f"{name} {_cell(cell)}" for name, cell in value.items())
        case tuple() | list():
            return ", ".join(map(_cell, value))
        case str():
            return printable(value)
        case _:
            return _cell(value)


def _cell(value: object) -> str:
    """One value as it is to be read: texts in quotes, so that blanks show; times in UTC."""
    if isinstance(value, datetime):
        return iso(value)
    if value is None:
        return "none"
    return printable(json.dumps(value, default=str, ensure_ascii=False))


def subscriptions(console: Console, found: Sequence[Subscription], *, event_listen: bool) -> None:
    """Each target that is told of changes, of which, and whether we subscribed it; and who asks."""
    if not found:
        console.print("Nobody is subscribed.")
    for one in found:
        keys = f"{one.prefix}*{one.suffix}"
        whose = "" if one.is_ours else f" (not ours: {one.id or 'no id'})"
        line = f"{one.arn}: {', '.join(one.events)} of {keys}{whose}"
        console.print(printable(line), markup=False, soft_wrap=True)
    if event_listen:
        console.print("The scheduler listens, while it is up (EVENT_LISTEN).", markup=False)


def environment(settings: Settings, api_url: str | None) -> dict[str, str]:
    """The variables with which psql, the aws CLI, curl and our own commands reach this stack."""
    url, parts = for_libpq(settings.database_url)
    values = {
        "API_URL": api_url,
        "S3_ENDPOINT": settings.s3_endpoint,
        "S3_ACCESS_KEY": settings.s3_access_key,
        "S3_SECRET_KEY": settings.s3_secret_key and settings.s3_secret_key.get_secret_value(),
        "AWS_ACCESS_KEY_ID": settings.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": settings.s3_secret_key
        and settings.s3_secret_key.get_secret_value(),
        "AWS_DEFAULT_REGION": settings.s3_region,
        "DATABASE_URL": url,
        "PGHOST": parts.get("host"),
        "PGPORT": parts.get("port", "5432"),
        "PGUSER": parts.get("user"),
        "PGPASSWORD": parts.get("password"),
        "PGDATABASE": parts.get("dbname"),
    }
    return {name: value for name, value in values.items() if value}
