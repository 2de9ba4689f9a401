"""What the command line prints: errors, reports, status, differences, the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from sqlalchemy import make_url

from etl.model import RunReport, RunState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from etl.errors import EtlError
    from etl.model import Counts
    from etl.settings import Settings
    from etl.verify import Difference

SHOWN_DIFFERENCES = 100


def error(console: Console, failure: EtlError) -> None:
    """The failure in one sentence, and what to do about it."""
    console.print(f"{failure.code}: {failure.message}", style="red", markup=False, soft_wrap=True)
    if failure.advice:
        console.print(failure.advice, markup=False, soft_wrap=True)


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
        f" {counts.objects_quarantined} quarantined",
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
    if counts.problems:
        console.print(
            f"  problems {counts.problems} (`GET /runs/{run.id}/problems` explains each)",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
    if run.error is not None:
        console.print(
            f"  {run.error['message']} {run.error['hint']}",
            style="red",
            markup=False,
            soft_wrap=True,
        )


def _lost(counts: Counts) -> str:
    """Objects that could not be had; told only when there are any."""
    fates = {"unreadable": counts.objects_unreadable, "vanished": counts.objects_vanished}
    return "".join(f" + {count} {fate}" for fate, count in fates.items() if count)


def _duration(run: RunReport) -> str:
    if run.started_at is None or run.finished_at is None:
        return "no time"
    return f"{(run.finished_at - run.started_at).total_seconds():.2f} s"


def welcome(console: Console, settings: Settings, url: str) -> None:
    """Five lines to try."""
    console.print(f"\nBucketline is up at {url}. Try, in another terminal:", style="bold")
    for line in (
        f"curl '{url}/data?min_age=30&is_image_exists=true&limit=3'",
        f"curl -X POST '{url}/data?wait=10'",
        "eval \"$(./run.sh env)\"; psql -c 'SELECT * FROM users LIMIT 3'",
        f'aws --endpoint-url "$S3_ENDPOINT" s3 cp my.csv s3://{settings.source_bucket}/my.csv',
        f"open {url}/docs",
    ):
        console.print(f"  {line}", markup=False, soft_wrap=True)
    console.print("Ctrl-C ends everything; the data stay in LOCAL_DIR.")


def status(console: Console, facts: Mapping[str, Any]) -> None:
    """What `etl.status` found, as a few lines and a table of runs."""
    for noun in ("users", "objects", "problems"):
        line = ", ".join(f"{count} {name}" for name, count in facts[noun].items()) or "none"
        console.print(f"{noun:9}{line}", markup=False, soft_wrap=True)
    output = facts["output"]
    console.print(f"output   {_published(output)}")
    columns = ("run", "trigger", "state", "started (UTC)", "read", "loaded", "rejected")
    table = Table(*columns, box=None)
    for run in facts["runs"]:
        table.add_row(*map(str, _run_cells(run)))
    console.print(table)


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


def differences(console: Console, found: Sequence[Difference]) -> None:
    """Each difference between the bucket and what we hold; or that there is none."""
    if not found:
        console.print(
            "No difference: tables and output.csv are level with the bucket.", style="green"
        )
        return
    for difference in found[:SHOWN_DIFFERENCES]:
        console.print(
            f"{difference.what} {difference.name}: expected {difference.expected!r},"
            f" found {difference.found!r}. {difference.note}",
            markup=False,
            soft_wrap=True,
        )
    console.print(
        f"{len(found)} differences. Did the bucket change since the last run? Then `./run.sh run`.",
        style="red",
    )


def environment(settings: Settings) -> dict[str, str]:
    """What psql, the aws CLI and our own commands read to reach this stack."""
    url = make_url(settings.sqlalchemy_url).set(drivername="postgresql")
    values = {
        "S3_ENDPOINT": settings.s3_endpoint,
        "S3_ACCESS_KEY": settings.s3_access_key,
        "S3_SECRET_KEY": settings.s3_secret_key and settings.s3_secret_key.get_secret_value(),
        "AWS_ACCESS_KEY_ID": settings.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": settings.s3_secret_key
        and settings.s3_secret_key.get_secret_value(),
        "AWS_DEFAULT_REGION": settings.s3_region,
        "DATABASE_URL": url.render_as_string(hide_password=False),
        "PGHOST": url.host,
        "PGPORT": str(url.port or 5432),
        "PGUSER": url.username,
        "PGPASSWORD": url.password,
        "PGDATABASE": url.database,
    }
    return {name: value for name, value in values.items() if value}
